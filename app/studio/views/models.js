// Models: what each does, under which licence, where it is loaded; fetch, add, export, roll back, remove.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { ended, follow, json, post, remove, upload } from "../api.js";
import { refreshModels, server, useFiles, useStore } from "../state.js";
import { FAMILIES, badge } from "../parts/models.js";
import { baseName } from "../parts/pictures.js";
import { FilePicker, Progress, TextField, Trouble, megabytes } from "../parts/widgets.js";

const ADDED = ".pth,.pt,.safetensors,.ckpt,.zip";

export function View() {
  const { models } = useStore(server);
  const [file, setFile] = useState(null);
  const [fetches, setFetches] = useState([]); // that this browser asked for and that go on, also after the view was left
  useFiles((files) => files.length && setFile(files[0]));
  useEffect(() => {
    refreshModels();
    json("jobs?limit=100").then((jobs) => setFetches(jobs.filter((job) => job.kind === "fetch" && !ended(job))), () => {});
  }, []);
  const fetching = (model) => fetches.find((job) => job.model === model.name);
  const ready = models?.filter((model) => model.availability === "ready") ?? [];
  const others = models?.filter((model) => model.availability !== "ready") ?? [];
  return html`<div class="page">
    <div class="row spread"><h1>Models</h1>
      <${FilePicker} onFiles=${([first]) => setFile(first)} accept=${ADDED} label="Choose a weights file">Add a model<//></div>
    <p class="muted">Drop a <code>.pth</code> or <code>.safetensors</code> file, or an exported model, to add it.</p>
    ${file && html`<${Adding} key=${file.name + file.size} file=${file} onEnd=${() => setFile(null)} />`}
    ${!models && html`<p class="muted">Asking the server…</p>`}
    <h2>On this server</h2>
    <ul class="models">${ready.map((model) => html`<${Card} key=${model.name} model=${model} begun=${fetching(model)} />`)}</ul>
    ${others.length > 0 && html`<h2>Not on this server <span class="muted">weights come from the models' authors</span></h2>
      <ul class="models">${others.map((model) => html`<${Card} key=${model.name} model=${model} begun=${fetching(model)} />`)}</ul>`}
  </div>`;
}

function Card({ model, begun }) {
  const [error, setError] = useState(null);
  const [job, setJob] = useState(null);
  const [busy, setBusy] = useState(false);
  const left = useRef(null); // aborted when the card goes; what the server does goes on
  useEffect(() => {
    left.current = new AbortController();
    return () => left.current.abort();
  }, []);
  const attempt = async (act) => {
    const { signal } = left.current;
    setError(null);
    setBusy(true);
    try {
      await act(signal);
    } catch (problem) {
      if (!signal.aborted) setError(problem);
    }
    if (signal.aborted) return;
    setJob(null);
    setBusy(false);
    await refreshModels();
  };
  const watch = async (first, signal) => {
    setJob(first);
    const last = await follow(first, setJob, { signal });
    if (last.error) throw new Error(last.error.detail);
  };
  const fetchIt = () => attempt(async (signal) => watch(await post(`models/${model.name}/fetch`), signal));
  useEffect(() => {
    if (begun && !busy) attempt((signal) => watch(begun, signal));
  }, [begun]);
  const removeIt = () =>
    confirm(`Remove ${model.name} with all its versions from this server?`) && attempt(() => remove(`models/${model.name}`));
  const loaded = model.loaded_on.length ? `loaded on ${model.loaded_on.length} worker${model.loaded_on.length > 1 ? "s" : ""}` : "";
  const facts = [
    FAMILIES[model.family],
    `${model.image_size} px`,
    model.weights_bytes ? megabytes(model.weights_bytes / 2 ** 20) : "",
    model.version ? `version ${model.version}` : "",
    loaded,
  ];
  const mark = badge(model);
  return html`<li class="model" id=${`model-${model.name}`}>
    ${model.sample && html`<img class="sample" src=${model.sample} alt=${`A picture made by ${model.name}`} loading="lazy" />`}
    <div class="body">
      <h3>${model.name} ${mark && html`<span class="badge">${mark}</span>`}</h3>
      <p>${model.description}</p>
      <p class="muted">${facts.filter(Boolean).join(" · ")}</p>
      ${model.domains.length > 0 && html`<p class="muted">Domains: ${model.domains.join(", ")}</p>`}
      <details><summary>Licence and source</summary><dl>
        <dt>Licence</dt><dd>${model.licence}</dd><dt>Source</dt><dd>${model.source}</dd>
        ${model.training?.dataset && html`<dt>Trained on</dt><dd>${model.training.dataset}, ${model.training.steps} steps</dd>`}
      </dl></details>
      ${model.why && html`<${Trouble} error=${`It could not be fetched: ${model.why}.`} />`}
      <${Trouble} error=${error} />
      ${job && html`<div class="row"><${Progress} share=${job.progress} label=${`Fetching ${model.name}`} />
        <span class="muted">${job.status === "queued" ? "waits" : `${Math.round(job.progress * 100)} %`}</span>
        <button type="button" class="small" onClick=${() => remove(`jobs/${job.id}`).catch(setError)}>Cancel</button></div>`}
      <div class="row">
        ${model.availability === "ready"
          ? html`<a class="button small" href=${`models/${model.name}/archive`} download>Export</a>`
          : !job && html`<button type="button" class="small" disabled=${busy} onClick=${fetchIt}>Fetch</button>`}
        ${model.version > 1 && html`<button type="button" class="small" disabled=${busy} onClick=${() => attempt(() => post(`models/${model.name}/rollback`))}>Roll back</button>`}
        ${model.can_be_removed && html`<button type="button" class="small danger" onClick=${removeIt}>Remove</button>`}
      </div>
    </div>
  </li>`;
}

function Adding({ file, onEnd }) {
  const [doing, setDoing] = useState(null); // { what, share }
  const [error, setError] = useState(null);
  const canceled = useRef(null);
  useEffect(() => () => canceled.current?.abort(), []);
  const add = async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.target));
    const { signal } = (canceled.current = new AbortController());
    let job = null;
    signal.addEventListener("abort", () => job && !ended(job) && remove(`jobs/${job.id}`).catch(() => {}));
    setError(null);
    try {
      setDoing({ what: "Sending", share: 0 });
      job = await upload("models", { file, ...fields, wait: "0" }, { onSent: (share) => setDoing({ what: "Sending", share }), signal });
      setDoing({ what: "Checking it", share: 0 });
      job = await follow(job, () => {}, { signal });
      if (job.error) throw new Error(job.error.detail);
      if (job.status === "canceled") throw new Error("It was canceled.");
      await refreshModels();
      return onEnd();
    } catch (problem) {
      if (problem.name !== "AbortError") setError(problem);
    }
    setDoing(null);
  };
  return html`<form class="panel" onSubmit=${add}>
    <h2>Add ${file.name} <span class="muted">${megabytes(file.size / 2 ** 20)}</span></h2>
    <div class="fields">
      <${TextField} label="Name" name="name" required maxlength="64" pattern="[A-Za-z0-9._\\-]+" value=${baseName(file.name).replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 64)} />
      <${TextField} label="What it does" name="description" />
      <${TextField} label="Licence" name="licence" placeholder="CC BY 4.0" />
      <${TextField} label="Source" name="source" placeholder="https://…" />
      <${TextField} label="Domains, of a StarGAN v2" name="domains" placeholder="cat, dog" />
    </div>
    <details><summary>What the file doesn't tell</summary><div class="fields">
      <${TextField} label="Network, of a file that holds several" name="network" placeholder="netG_A" />
      <${TextField} label="Side of the pictures it was trained on, px" name="image_size" inputmode="numeric" placeholder="256" />
      <label class="field">Padding, of a CycleGAN<select name="padding"><option value="">reflect</option><option value="replicate">replicate</option></select></label>
      <${TextField} label="w_hpf, of a StarGAN v2 with a high-pass path" name="w_hpf" inputmode="decimal" placeholder="1" />
    </div></details>
    <${Trouble} error=${error} />
    ${doing && html`<div class="row"><span role="status">${doing.what}</span><${Progress} share=${doing.share < 1 ? doing.share : 0} label=${doing.what} /></div>`}
    <div class="row"><button class="primary" disabled=${Boolean(doing)}>Add</button><button type="button" onClick=${onEnd}>Cancel</button></div>
  </form>`;
}
