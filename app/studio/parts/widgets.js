// Small pieces that several views use.

import { html, useRef, useState } from "../vendor/preact-htm.js";

const SAID_MS = 2000;

// What went wrong, where it went wrong, and what can be done about it (children).
export const Trouble = ({ error, children }) =>
  error && html`<div class="trouble" role="alert"><p>${error.message ?? error}</p>${children}</div>`;

// share: 0 to 1; nothing: how far it is is not known.
export const Progress = ({ share, label }) =>
  share > 0
    ? html`<progress max="1" value=${share} aria-label=${label}></progress>`
    : html`<progress aria-label=${label}></progress>`;

// A button that says for a moment that it has done its work.
export function ActionButton({ act, done = "Done", className = "", children, ...rest }) {
  const [said, say] = useState("");
  const press = async () => {
    try {
      await act();
      say(done);
    } catch (error) {
      say(error.message);
    }
    setTimeout(() => say(""), SAID_MS);
  };
  return html`
    <button type="button" class=${className} onClick=${press} ...${rest}>
      <span aria-live="polite">${said || children}</span>
    </button>`;
}

export function FilePicker({ onFiles, accept = "image/*", className = "", label, children, ...rest }) {
  const input = useRef(null);
  const choose = (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // so that the same file can be chosen again
    if (files.length) onFiles(files);
  };
  return html`
    <button type="button" class=${className} onClick=${() => input.current.click()}>${children}</button>
    <input
      ref=${input} type="file" class="hidden" tabindex="-1" aria-label=${label}
      accept=${accept} onChange=${choose} ...${rest}
    />`;
}

// A text that a person types. The page redraws itself now and then, and must not take back what is typed meanwhile.
export function TextField({ label, value = "", ...rest }) {
  const [typed, setTyped] = useState(value);
  return html`
    <label class="field">
      ${label}
      <input value=${typed} onInput=${(event) => setTyped(event.target.value)} ...${rest} />
    </label>`;
}

const NAME_LENGTH = 64;

// A text as a name that the server accepts.
export const nameOf = (text) => text.replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, NAME_LENGTH);

// The name of a data set or a model.
export const NameField = ({ value }) => html`
  <${TextField}
    label="Name" name="name" required maxlength=${NAME_LENGTH} pattern="[A-Za-z0-9._\\-]+" value=${value}
  />`;

// A slider that follows the hand at once and reports where it was let go. Another value from outside moves it, too.
export function Range({ value, onCommit, ...rest }) {
  const [moving, setMoving] = useState(null);
  const commit = (event) => {
    setMoving(null);
    onCommit(Number(event.target.value));
  };
  return html`
    <input
      type="range" value=${moving ?? value} onChange=${commit}
      onInput=${(event) => setMoving(Number(event.target.value))} ...${rest}
    />`;
}

// One of a few, as a row of buttons. options: [[key, text], ...].
export const Choice = ({ label, options, value, onChange }) => html`
  <div class="choice" role="group" aria-label=${label}>
    ${options.map(
      ([key, text]) => html`
        <button type="button" key=${key} aria-pressed=${String(key === value)} onClick=${() => onChange(key)}>
          ${text}
        </button>`,
    )}
  </div>`;

export const Tile = ({ name, value, more, good }) => html`
  <div class="tile" data-good=${good}>
    <span class="muted">${name}</span><strong>${value}</strong><span class="muted">${more}</span>
  </div>`;
