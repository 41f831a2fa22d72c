// Small pieces that several views use.

import { html, useRef, useState } from "../vendor/preact-htm.js";
import { LANGUAGES, recipe } from "./recipes.js";

// What went wrong, where it went wrong.
export const Trouble = ({ error, children }) =>
  error && html`<div class="trouble" role="alert"><p>${error.message ?? error}</p>${children}</div>`;

export const Progress = ({ share, label }) =>
  share > 0 ? html`<progress max="1" value=${share} aria-label=${label}></progress>` : html`<progress aria-label=${label}></progress>`;

// A button that says for a moment that it has done its work.
export function Doing({ act, done = "Done", className = "", children, ...rest }) {
  const [said, say] = useState("");
  const press = async () => {
    try {
      await act();
      say(done);
    } catch (error) {
      say(error.message);
    }
    setTimeout(() => say(""), 2000);
  };
  return html`<button type="button" class=${className} onClick=${press} ...${rest}><span aria-live="polite">${said || children}</span></button>`;
}

export function CopiedText({ text }) {
  return html`<div class="code"><pre tabindex="0">${text}</pre>
    <${Doing} act=${() => navigator.clipboard.writeText(text)} done="Copied" className="small">Copy<//></div>`;
}

export function FilePicker({ onFiles, multiple, directory, accept = "image/*", className = "button", label, children }) {
  const input = useRef(null);
  const chosen = (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // so that the same file can be chosen again
    if (files.length) onFiles(files);
  };
  return html`<button type="button" class=${className} onClick=${() => input.current.click()}>${children}</button>
    <input ref=${input} type="file" class="hidden" tabindex="-1" aria-label=${label} accept=${accept} multiple=${multiple} webkitdirectory=${directory} onChange=${chosen} />`;
}

// A text that a person types. The page redraws itself now and then, and must not take back what is typed meanwhile.
export function TextField({ label, value = "", ...rest }) {
  const [typed, setTyped] = useState(value);
  return html`<label class="field">${label}<input value=${typed} onInput=${(event) => setTyped(event.target.value)} ...${rest} /></label>`;
}

// A slider that follows the hand at once and reports where it was let go. Another value from outside moves it, too.
export function Range({ value, onCommit, ...rest }) {
  const [moving, setMoving] = useState(null);
  return html`<input type="range" value=${moving ?? value} onInput=${(event) => setMoving(Number(event.target.value))}
    onChange=${(event) => (setMoving(null), onCommit(Number(event.target.value)))} ...${rest} />`;
}

// One of a few, as a row of buttons.
export const Choice = ({ label, options, value, onChange }) => html`<div class="choice" role="group" aria-label=${label}>
  ${options.map(
    ([key, text]) =>
      html`<button type="button" key=${key} aria-pressed=${String(key === value)} onClick=${() => onChange(key)}>${text}</button>`,
  )}
</div>`;

export function megabytes(mb) {
  if (mb === null || mb === undefined) return "–";
  return mb >= 1024 ? `${(mb / 1024).toFixed(1)} GB` : `${Math.round(mb)} MB`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} days`;
}

// A call of the API in several languages, to be copied. call: [path, fields, ending of the result's file].
export function Calls({ call }) {
  const [language, setLanguage] = useState(LANGUAGES[0]);
  return html`<details class="calls">
    <summary>Call it from a program</summary>
    <${Choice} label="Language" value=${language} onChange=${setLanguage} options=${LANGUAGES.map((one) => [one, one])} />
    <${CopiedText} text=${recipe(language, ...call)} />
    <p class="muted">All calls are in <a href="docs">the documentation</a>.</p>
  </details>`;
}
