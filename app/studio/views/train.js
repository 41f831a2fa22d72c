// Train: data sets and runs; #train/new/DATASET starts a run, #train/ID shows one, #train/ID,ID compares several.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { json } from "../api.js";
import { useFiles } from "../state.js";
import { Datasets, NewDataset, understood } from "../parts/datasets.js";
import { NewRun } from "../parts/new_run.js";
import { Compared, Run } from "../parts/run.js";
import { sheet } from "../parts/samples.js";
import { FilePicker, Progress, Trouble, duration } from "../parts/widgets.js";

const REFRESH_MS = 3000;

export function View({ of: [what, dataset] }) {
  if (what === "new") return html`<${NewRun} key=${dataset} dataset=${dataset} />`;
  if (what?.includes(",")) return html`<${Compared} key=${what} ids=${what.split(",")} />`;
  return what ? html`<${Run} key=${what} id=${what} />` : html`<${Overview} />`;
}

function Overview() {
  const [runs, setRuns] = useState(null);
  const [dropped, setDropped] = useState(null);
  const [error, setError] = useState(null);
  const [ticked, setTicked] = useState([]);
  const [version, setVersion] = useState(0);
  const accept = (files, entries) =>
    understood(files, entries).then((given) => (setError(null), setDropped(given)), setError);
  useFiles(accept);
  useEffect(() => {
    const load = () => document.hidden || json("training").then(setRuns, () => {});
    load();
    const timer = setInterval(load, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const tick = (id) => setTicked(ticked.includes(id) ? ticked.filter((one) => one !== id) : [...ticked, id]);
  return html`<div class="page">
    <div class="row spread"><h1>Train</h1><div class="row"><${FilePicker} onFiles=${(files) => accept(files, [])} directory label="Choose a folder of pictures">Choose folders<//>
      <${FilePicker} onFiles=${(files) => accept(files, [])} accept=".zip" label="Choose a zip of pictures">Choose a zip<//></div></div>
    <p class="muted">Drop two folders of photos, or a zip, anywhere on this page: a model learns to turn the one kind into the other.</p>
    <${Trouble} error=${error} />
    ${dropped && html`<${NewDataset} dropped=${dropped} onMade=${() => setVersion(version + 1)} onEnd=${() => setDropped(null)} />`}
    <div class="row spread"><h2>Runs</h2>${ticked.length > 1 && html`<a class="button small" href=${`#train/${ticked.join()}`}>Compare ${ticked.length} runs</a>`}</div>
    ${runs?.length === 0 && html`<p class="muted">No runs yet.</p>`}
    <ul class="runs">${runs?.map((run) => html`<li key=${run.id}>
      <input type="checkbox" aria-label=${`Compare ${run.id}`} checked=${ticked.includes(run.id)} onChange=${() => tick(run.id)} />
      <a href=${`#train/${run.id}`}>${run.samples.length ? html`<img src=${sheet(run, run.samples.at(-1))} alt="" loading="lazy" />` : html`<span class="blank"></span>`}
        <span><strong>${run.dataset}</strong> <span class="muted">${run.family} · ${new Date(run.created_at).toLocaleString()}</span></span>
        <span class="muted">step ${run.step}${run.total_steps ? ` of ${run.total_steps}` : ""}${run.status === "running" && run.eta_s ? ` · ${duration(run.eta_s)} left` : ""}</span></a>
      ${run.alarms.length > 0 && html`<span class="badge alarm">${run.alarms.length} alarm${run.alarms.length > 1 ? "s" : ""}</span>`}
      <span class="badge state" data-state=${run.status}>${run.status}</span>
      ${run.status === "running" && html`<${Progress} share=${run.progress} label="Progress" />`}
    </li>`)}</ul>
    <h2>Data sets</h2>
    <${Datasets} version=${version} />
  </div>`;
}
