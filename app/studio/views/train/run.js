// The page of a run: where it stands, its samples and curves as they come, and what can be done with it.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { post, remove, text } from "../../api.js";
import { ended } from "../../jobs.js";
import { randomName } from "../../key.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { duration } from "../../parts/units.js";
import { Progress, Trouble } from "../../parts/widgets.js";
import { Chart } from "./chart.js";
import { Publish } from "./publish.js";
import { Samples } from "./samples.js";
import { lossesOf, useRun } from "./watch.js";

export function Run({ id }) {
  const [again, setAgain] = useState(0);
  const { run, records, error, waiting } = useRun(id, { again });
  const watchAnew = () => setAgain((n) => n + 1);
  if (!run)
    return html`
      <div class="page">
        <h1>Run ${id}</h1>
        <${Outcome} error=${error} waiting=${waiting} />
        ${!error && !waiting && html`<p class="muted">Asking the server…</p>`}
      </div>`;
  return html`
    <div class="page run">
      <p><a href="#train">All runs</a></p>
      <${Head} run=${run} />
      <${Actions} run=${run} onChange=${watchAnew} />
      <${Outcome} error=${error} waiting=${waiting} />
      <${Trouble} error=${run.error?.detail} />
      ${run.alarms.map((alarm) => html`<${Alarm} key=${alarm.detail} ...${alarm} />`)}
      <h2>Samples</h2>
      <${Samples} run=${run} />
      <h2>Losses</h2>
      <${Chart} series=${lossesOf(records)} label="Losses" />
      <${Quality} quality=${run.quality} />
      <${Log} id=${id} step=${run.step} />
      <${Options} options=${run.options} />
    </div>`;
}

function Head({ run }) {
  const over = ended(run);
  const facts = [
    ["Step", `${run.step}${run.total_steps ? ` of ${run.total_steps}` : ""}`],
    !over && ["Left", duration(run.eta_s)],
    run.images_per_s && ["Speed", `${run.images_per_s.toFixed(1)} pictures/s`],
    run.device && ["Device", run.device],
    run.position !== null && ["Runs before it", run.position],
    run.best_checkpoint && ["Best checkpoint", run.best_checkpoint],
  ].filter(Boolean);
  return html`
    <div class="row spread">
      <h1>${run.dataset} <span class="muted">${run.family} · ${run.id}</span></h1>
      <span class="badge state" data-state=${run.status}>${run.stopping && !over ? "stopping" : run.status}</span>
    </div>
    ${!over && html`<${Progress} share=${run.progress} label="Progress of the run" />`}
    <dl class="facts">
      ${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>`;
}

// onChange: the run is in another state now.
function Actions({ run, onChange }) {
  const [panel, setPanel] = useState(""); // the one that is open
  const { attempt, busy, error, waiting } = useAttempt();
  const over = ended(run);
  const hasCheckpoint = run.checkpoints.length > 0;
  const send = async (action, body) => {
    const once = randomName();
    const send = ({ signal, patient }) => patient(() => post(`training/${run.id}/${action}`, body, { once, signal }));
    if (await attempt(send)) {
      setPanel("");
      onChange();
    }
  };
  const drop = async () => {
    const question = "Delete this run with all its checkpoints and pictures? Models published from it stay.";
    if (confirm(question) && (await attempt(() => remove(`training/${run.id}`)))) location.hash = "#train";
  };
  const button = (label, onClick, { primary = false, danger = false, disabled = busy } = {}) => html`
    <button type="button" class=${primary ? "primary" : danger ? "danger" : ""} disabled=${disabled} onClick=${onClick}>
      ${label}
    </button>`;
  return html`
    <div class="row">
      ${!over && button("Stop", () => send("stop"), { disabled: busy || run.stopping })}
      ${over && run.status !== "succeeded" && button("Resume", () => send("resume"), { primary: true })}
      ${hasCheckpoint && button("Publish…", () => setPanel("publish"), { primary: over })}
      ${over && hasCheckpoint && button("Train further…", () => setPanel("further"))}
      ${over && button("Delete", drop, { danger: true })}
    </div>
    <${Outcome} error=${error} waiting=${waiting} />
    ${panel === "publish" && html`<${Publish} run=${run} onClose=${() => setPanel("")} />`}
    ${panel === "further" &&
    html`<${Further} onSend=${(minutes) => send("resume", { minutes })} onClose=${() => setPanel("")} />`}`;
}

function Further({ onSend, onClose }) {
  const [minutes, setMinutes] = useState(30);
  const type = (event) => setMinutes(Number(event.target.value));
  return html`
    <div class="panel">
      <h2>Train further</h2>
      <label class="field">Minutes<input type="number" min="1" value=${minutes} onInput=${type} /></label>
      <div class="row">
        <button type="button" class="primary" disabled=${!(minutes > 0)} onClick=${() => onSend(minutes)}>
          Train on
        </button>
        <button type="button" onClick=${onClose}>Cancel</button>
      </div>
    </div>`;
}

const Alarm = ({ step, kind, detail, help }) =>
  html`<${Trouble} error=${`Step ${step}, ${kind}: ${detail.replace(/\.$/, "")}. ${help}`} />`;

function Quality({ quality }) {
  if (!quality.length) return null;
  const names = Object.keys(quality[0].figures);
  const series = names.map((name) => ({ name, points: quality.map((one) => [one.step, one.figures[name]]) }));
  return html`
    <h2>Quality <span class="muted">on held-out pictures</span></h2>
    <${Chart} label="Quality" series=${series} />`;
}

function Log({ id, step }) {
  const [open, setOpen] = useState(false);
  const [lines, setLines] = useState("");
  useEffect(() => {
    if (open) text(`training/${id}/log?lines=100`).then(setLines, () => {}); // it is asked for at the next step again
  }, [open, step]);
  return html`
    <details onToggle=${(event) => setOpen(event.target.open)}>
      <summary>Log</summary>
      <div class="code"><pre tabindex="0">${lines || "Nothing was printed yet."}</pre></div>
    </details>`;
}

const Options = ({ options }) => html`
  <details>
    <summary>Options</summary>
    <dl>
      ${Object.entries(options).map(
        ([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value === null ? "–" : String(value)}</dd>`,
      )}
    </dl>
  </details>`;
