// Publish a run's generator as a model. The direction is chosen by what it does: two pictures, before and after.

import { html, useState } from "../../vendor/preact-htm.js";
import { post } from "../../api.js";
import { randomName } from "../../key.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { NameField, TextField } from "../../parts/widgets.js";
import { Cut, sheetPath, useRows } from "./samples.js";

export function Publish({ run, onClose }) {
  const [direction, setDirection] = useState("AtoB");
  const [published, setPublished] = useState(null);
  const { attempt, busy, error, waiting } = useAttempt();
  const hasDirections = run.family === "cyclegan";
  const publish = (event) => {
    event.preventDefault();
    const { name, description, licence, step } = Object.fromEntries(new FormData(event.target));
    const texts = { ...(description && { description }), ...(licence && { licence }) };
    const body = { name, step, ...texts, ...(hasDirections && { direction }) };
    const once = randomName();
    attempt(async ({ signal, patient }) => {
      setPublished(await patient(() => post(`training/${run.id}/publish`, body, { once, signal })));
    });
  };
  if (published) return html`<${Published} ...${published} onClose=${onClose} />`;
  return html`
    <form class="panel" onSubmit=${publish}>
      <h2>Publish as a model</h2>
      ${hasDirections && html`<${Directions} run=${run} direction=${direction} onChange=${setDirection} />`}
      <div class="fields">
        <${NameField} />
        <label class="field">
          Checkpoint
          <select name="step">
            <option value="last">the last</option>
            ${run.best_checkpoint && html`<option value="best">the best</option>`}
          </select>
        </label>
        <${TextField} label="What it does" name="description" />
        <${TextField} label="Licence" name="licence" />
      </div>
      <${Outcome} error=${error} waiting=${waiting} />
      <div class="row">
        <button class="primary" disabled=${busy}>Publish</button>
        <button type="button" onClick=${onClose}>Cancel</button>
      </div>
    </form>`;
}

const Published = ({ name, version, onClose }) => html`
  <div class="panel" role="status">
    <p>${name}, version ${version}, is in service.</p>
    <div class="row">
      <a class="button primary" href=${`#translate?model=${name}`}>Try it</a>
      <button type="button" onClick=${onClose}>Close</button>
    </div>
  </div>`;

function Directions({ run, direction, onChange }) {
  const rows = useRows(run) ?? [];
  const outputs = rows.filter((row) => row.role === "output");
  const src = sheetPath(run, run.samples.at(-1));
  return html`
    <fieldset class="directions">
      <legend>Which direction</legend>
      ${["AtoB", "BtoA"].map((one, n) => {
        const output = outputs[n];
        const pair = output ? [rows.find((row) => row.label === output.source), output].filter(Boolean) : [];
        return html`
          <label key=${one} class="card">
            <input type="radio" name="direction" checked=${direction === one} onChange=${() => onChange(one)} />
            <span class="pair">
              ${pair.map(({ cells, label }) => html`<${Cut} key=${label} src=${src} box=${cells[0]} label=${label} />`)}
            </span>
            <span class="name">${output?.label ?? one}</span>
          </label>`;
      })}
    </fieldset>`;
}
