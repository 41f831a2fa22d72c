// One training run: where it stands, its samples and curves as they come, and what can be done with it.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { Problem, delayMs, ended, events, json, pause, post, remove, text } from "../api.js";
import { Chart } from "./chart.js";
import { Cut, Samples, sheet } from "./samples.js";
import { Choice, Progress, TextField, Trouble, duration } from "./widgets.js";

const HELP = {
  "not finite": "Start again with a smaller learning rate.",
  "colour inversion": "Give it identity_steps, or a larger lambda_identity; often a new seed is enough.",
  collapse: "Stop it. Try a smaller learning rate, more pictures, or a larger lambda_ds of a StarGAN v2.",
  "discriminator wins": "Stop it. Use more pictures, or a smaller discriminator (ndf).",
  disk: "Free some space on the server, then resume.",
  "unreadable picture": "It was left out; the run goes on.",
};
const DRAWN_EVERY_MS = 500;
const REFRESH_MS = 5000;
const MOST_RECORDS = 1600;

export const series = (records, prefix = "") => {
  const names = Object.keys(records.at(-1) ?? {}).filter((name) => !["step", "seconds", "lr", "learning_rate"].includes(name));
  return names.map((name) => ({ name: prefix + name, points: records.map((record) => [record.step, record[name]]) }));
};

// Every second one of the older records, so that a long run stays drawable.
const thinned = (records) => (records.length <= MOST_RECORDS ? records : records.filter((_, n) => n % 2 === 0 || n > MOST_RECORDS * 0.9));

// The run and its metrics, kept up to date until it has ended. lost: the last request failed, and is tried again.
function useRun(id, again) {
  const [state, setState] = useState({ run: null, records: [], error: null, lost: null });
  useEffect(() => {
    const canceled = new AbortController();
    const { signal } = canceled;
    let run = null;
    let records = [];
    let timer = null;
    let lost = null;
    const draw = () => {
      timer = null;
      if (!signal.aborted) setState({ run, records, error: null, lost });
    };
    const later = () => (timer ??= setTimeout(draw, DRAWN_EVERY_MS));
    const onEvent = (name, data) => {
      lost = null;
      if (name === "status") run = data;
      if (name === "metrics") {
        const from = records.findLastIndex((record) => record.step < data.step) + 1; // a resumed run repeats steps
        records.splice(from, Infinity, data);
        records = thinned(records);
        run = { ...run, step: Math.max(run.step, data.step) };
      }
      if (name === "sample") run = { ...run, samples: [...new Set([...run.samples, data.step])].sort((a, b) => a - b) };
      if (name === "alarm" && !run.alarms.some((alarm) => alarm.detail === data.detail)) run = { ...run, alarms: [...run.alarms, data] };
      later();
    };
    const watch = async () => {
      while (!signal.aborted) {
        let wait = 1000;
        try {
          run = await json(`training/${id}`, { signal });
          records = await json(`training/${id}/metrics?points=800`, { signal });
          lost = null;
          draw();
          if (ended(run)) return clearInterval(refresh);
          await events(`training/${id}/events`, onEvent, { signal, lastId: String(records.at(-1)?.step ?? 0) });
        } catch (error) {
          if (error.name === "AbortError") return;
          if (!(error instanceof Problem) || !error.passing) {
            clearInterval(refresh);
            return setState({ run, records, error, lost: null });
          }
          lost = error;
          wait = delayMs(error);
          draw();
        }
        await pause(wait, signal).catch(() => {});
      }
    };
    // The speed and the time left are no events.
    const refresh = setInterval(async () => {
      if (!run || ended(run) || document.hidden) return;
      const now = await json(`training/${id}`, { signal }).catch(() => null);
      if (now) run = now;
      later();
    }, REFRESH_MS);
    watch();
    return () => {
      canceled.abort();
      clearInterval(refresh);
      clearTimeout(timer);
    };
  }, [id, again]);
  return state;
}

export function Run({ id }) {
  const [again, follow] = useState(0);
  const { run, records, error, lost } = useRun(id, again);
  const [trouble, setTrouble] = useState(null);
  const [open, setOpen] = useState("");
  if (!run) return html`<div class="page"><h1>Run ${id}</h1><${Trouble} error=${error ?? lost} />${!error && html`<p class="muted">Asking the server…</p>`}</div>`;
  const attempt = async (act) => {
    setTrouble(null);
    try {
      await act();
      setOpen("");
      follow((n) => n + 1);
    } catch (problem) {
      setTrouble(problem);
    }
  };
  const drop = () => confirm("Delete this run with all its checkpoints and pictures? Models published from it stay.") &&
    attempt(async () => {
      await remove(`training/${id}`);
      location.hash = "#train";
    });
  const over = ended(run);
  const facts = [
    ["Step", `${run.step}${run.total_steps ? ` of ${run.total_steps}` : ""}`],
    !over && ["Left", duration(run.eta_s)],
    run.images_per_s && ["Speed", `${run.images_per_s.toFixed(1)} pictures/s`],
    run.device && ["Device", run.device],
    run.position !== null && ["Runs before it", run.position],
    run.best_checkpoint && ["Best checkpoint", run.best_checkpoint],
  ].filter(Boolean);
  return html`<div class="page run">
    <p><a href="#train">All runs</a></p>
    <div class="row spread"><h1>${run.dataset} <span class="muted">${run.family} · ${run.id}</span></h1><span class="badge state" data-state=${run.status}>${run.stopping && !over ? "stopping" : run.status}</span></div>
    ${!over && html`<${Progress} share=${run.progress} label="Progress of the run" />`}
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <div class="row">
      ${!over && html`<button type="button" disabled=${run.stopping} onClick=${() => attempt(() => post(`training/${id}/stop`))}>Stop</button>`}
      ${over && run.status !== "succeeded" && html`<button type="button" class="primary" onClick=${() => attempt(() => post(`training/${id}/resume`))}>Resume</button>`}
      ${run.checkpoints.length > 0 && html`<button type="button" class=${over ? "primary" : ""} onClick=${() => setOpen("publish")}>Publish…</button>`}
      ${over && run.checkpoints.length > 0 && html`<button type="button" onClick=${() => setOpen("further")}>Train further…</button>`}
      ${over && html`<button type="button" class="danger" onClick=${drop}>Delete</button>`}
    </div>
    <${Trouble} error=${trouble ?? error} />
    ${lost && html`<p class="note" role="status">${lost.message} Trying again…</p>`}
    ${run.error && html`<${Trouble} error=${run.error.detail} />`}
    ${run.alarms.map((alarm) => html`<${Trouble} key=${alarm.detail} error=${`Step ${alarm.step}, ${alarm.kind}: ${alarm.detail}. ${HELP[alarm.kind] ?? ""}`} />`)}
    ${open === "publish" && html`<${Publish} run=${run} onClose=${() => setOpen("")} />`}
    ${open === "further" && html`<${Further} onResume=${(minutes) => attempt(() => post(`training/${id}/resume`, { minutes }))} onClose=${() => setOpen("")} />`}
    <h2>Samples</h2>
    <${Samples} run=${run} />
    <h2>Losses</h2>
    <${Chart} series=${series(records)} label="Losses" />
    ${run.quality.length > 0 && html`<h2>Quality <span class="muted">on held-out pictures</span></h2><${Chart} label="Quality"
      series=${Object.keys(run.quality[0].figures).map((name) => ({ name, points: run.quality.map((one) => [one.step, one.figures[name]]) }))} />`}
    <${Log} id=${id} step=${run.step} />
    <details><summary>Options</summary><dl>${Object.entries(run.options).map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${String(value)}</dd>`)}</dl></details>
  </div>`;
}

function Log({ id, step }) {
  const [open, setOpen] = useState(false);
  const [lines, setLines] = useState("");
  useEffect(() => {
    if (open) text(`training/${id}/log?lines=100`).then(setLines, () => {});
  }, [open, step]);
  return html`<details onToggle=${(event) => setOpen(event.target.open)}><summary>Log</summary><div class="code"><pre tabindex="0">${lines || "Nothing was printed yet."}</pre></div></details>`;
}

function Further({ onResume, onClose }) {
  const [minutes, setMinutes] = useState(30);
  return html`<div class="panel"><h2>Train further</h2><label class="field">Minutes<input type="number" min="1" value=${minutes} onInput=${(event) => setMinutes(Number(event.target.value))} /></label>
    <div class="row"><button type="button" class="primary" onClick=${() => onResume(minutes)}>Train on</button><button type="button" onClick=${onClose}>Cancel</button></div></div>`;
}

// The direction is chosen by what it does: two pictures, before and after.
function Publish({ run, onClose }) {
  const [rows, setRows] = useState([]);
  const [direction, setDirection] = useState("AtoB");
  const [error, setError] = useState(null);
  const [made, setMade] = useState(null);
  const step = run.samples.at(-1);
  useEffect(() => {
    if (step !== undefined) json(`${sheet(run, step)}/rows`).then(setRows, () => {});
  }, [step]);
  const publish = async (event) => {
    event.preventDefault();
    const { name, description, licence, at } = Object.fromEntries(new FormData(event.target));
    const fields = { name, step: at, ...(description && { description }), ...(licence && { licence }), ...(two && { direction }) };
    try {
      setMade(await post(`training/${run.id}/publish`, fields));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  const two = run.family === "cyclegan";
  const outputs = rows.filter((row) => row.role === "output");
  const pair = (n) => outputs[n] && [rows.find((row) => row.label === outputs[n].source), outputs[n]];
  if (made) return html`<div class="panel" role="status"><p>${made.name}, version ${made.version}, is in service.</p><div class="row"><a class="button primary" href=${`#translate?model=${made.name}`}>Try it</a><button type="button" onClick=${onClose}>Close</button></div></div>`;
  return html`<form class="panel" onSubmit=${publish}>
    <h2>Publish as a model</h2>
    ${two && html`<fieldset class="directions"><legend>Which way</legend>${["AtoB", "BtoA"].map((one, n) => html`<label key=${one} class="card">
        <input type="radio" name="direction" checked=${direction === one} onChange=${() => setDirection(one)} />
        <span class="pair">${pair(n)?.map((row, m) => row && html`<${Cut} key=${m} src=${sheet(run, step)} box=${row.cells[0]} label=${row.label} />`)}</span>
        <span class="name">${outputs[n]?.label ?? one}</span></label>`)}</fieldset>`}
    <div class="fields">
      <${TextField} label="Name" name="name" required maxlength="64" pattern="[A-Za-z0-9._\\-]+" />
      <label class="field">Checkpoint<select name="at"><option value="last">the last</option>${run.best_checkpoint && html`<option value="best">the best</option>`}</select></label>
      <${TextField} label="What it does" name="description" />
      <${TextField} label="Licence" name="licence" />
    </div>
    <${Trouble} error=${error} />
    <div class="row"><button class="primary">Publish</button><button type="button" onClick=${onClose}>Cancel</button></div>
  </form>`;
}

// Several runs over one another, live: a curve of each, and what each makes of the same inputs at one step.
export function Compared({ ids }) {
  const [runs, setRuns] = useState({}); // by id: [run, records]
  const [name, setName] = useState("");
  const [place, setPlace] = useState(1); // 0 to 1, of all steps that have samples
  const tell = (id, run, records) => setRuns((known) => ({ ...known, [id]: [run, records] }));
  const there = ids.map((id) => runs[id]).filter((one) => one?.[0]);
  const names = [...new Set(there.flatMap(([, records]) => series(records).map((one) => one.name)))];
  const shown = name || names[0];
  const label = (run) => `${run.dataset} ${run.id.slice(0, 8)}`;
  const steps = [...new Set(there.flatMap(([run]) => run.samples))].sort((a, b) => a - b);
  const step = steps[Math.round(place * (steps.length - 1))];
  return html`<div class="page">
    ${ids.map((id) => html`<${Watched} key=${id} id=${id} tell=${tell} />`)}
    <p><a href="#train">All runs</a></p><h1>Compare ${ids.length} runs</h1>
    ${names.length > 0 && html`<${Choice} label="Loss" value=${shown} onChange=${setName} options=${names.map((one) => [one, one])} />
      <${Chart} label=${shown} series=${there.map(([run, records]) => ({ name: label(run), points: records.map((record) => [record.step, record[shown]]) }))} />`}
    ${steps.length > 1 && html`<div class="row"><label class="row grow"><span>Samples up to</span><input type="range" min="0" max=${steps.length - 1} value=${Math.round(place * (steps.length - 1))}
      aria-label="Step of all samples" aria-valuetext=${`step ${step}`} onInput=${(event) => setPlace(Number(event.target.value) / (steps.length - 1))} /></label><output>step ${step}</output></div>`}
    ${there.map(([run]) => html`<section key=${run.id}><h2><a href=${`#train/${run.id}`}>${label(run)}</a> <span class="muted">${run.status}</span></h2>
      <${Samples} run=${run} upTo=${step} /></section>`)}
  </div>`;
}

// Follows a run for whoever shows several.
function Watched({ id, tell }) {
  const { run, records, error } = useRun(id, 0);
  useEffect(() => tell(id, run, records), [run, records]);
  return html`<${Trouble} error=${error && `${id}: ${error.message}`} />`;
}
