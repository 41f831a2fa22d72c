// Models: what each does, under which licence, where it is loaded; fetch, add, export, roll back, remove.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { follow, post, remove, upload } from "../api.js";
import { refreshModels, server, useFiles, useStore } from "../state.js";
import { FAMILIES } from "../parts/models.js";
import { baseName } from "../parts/pictures.js";
import { FilePicker, Progress, Trouble, megabytes } from "../parts/widgets.js";

const ADDED = ".pth,.pt,.safetensors,.ckpt,.zip";

export function View() {
  const { models } = useStore(server);
  const [file, setFile] = useState(null);
  useFiles((files) => files.length && setFile(files[0]));
  useEffect(() => void refreshModels(), []);
  const ready = models?.filter((model) => model.availability === "ready") ?? [];
  const others = models?.filter((model) => model.availability !== "ready") ?? [];
  return html`<div class="page">
    <div class="row spread"><h1>Models</h1>
      <${FilePicker} onFiles=${([first]) => setFile(first)} accept=${ADDED} label="Choose a weights file">Add a model<//></div>
    <p class="muted">Drop a <code>.pth</code> or <code>.safetensors</code> file, or an exported model, to add it.</p>
    ${file && html`<${Adding} key=${file.name + file.size} file=${file} onEnd=${() => setFile(null)} />`}
    ${!models && html`<p class="muted">Asking the server…</p>`}
    <h2>On this server</h2>
    <ul class="models">${ready.map((model) => html`<${Card} key=${model.name} model=${model} />`)}</ul>
    ${others.length > 0 && html`<h2>Not on this server <span class="muted">weights come from the models' authors</span></h2>
      <ul class="models">${others.map((model) => html`<${Card} key=${model.name} model=${model} />`)}</ul>`}
  </div>`;
}

function Card({ model }) {
  const [error, setError] = useState(null);
  const [job, setJob] = useState(null);
  const attempt = async (act) => {
    setError(null);
    try {
      await act();
    } catch (problem) {
      setError(problem);
    }
    setJob(null);
    await refreshModels();
  };
  const fetchIt = () =>
    attempt(async () => {
      const begun = await post(`models/${model.name}/fetch`);
      setJob(begun);
      const last = await follow(begun, setJob);
      if (last.error) throw new Error(last.error.detail);
    });
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
  return html`<li class="model" id=${`model-${model.name}`}>
    ${model.sample && html`<img class="sample" src=${model.sample} alt=${`A picture made by ${model.name}`} loading="lazy" />`}
    <div class="body">
      <h3>${model.name} ${model.availability !== "ready" && html`<span class="badge">${model.runs_as ? "small twin" : model.availability}</span>`}</h3>
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
          : !job && html`<button type="button" class="small" onClick=${fetchIt}>Fetch</button>`}
        ${model.version > 1 && html`<button type="button" class="small" onClick=${() => attempt(() => post(`models/${model.name}/rollback`))}>Roll back</button>`}
        ${model.can_be_removed && html`<button type="button" class="small danger" onClick=${removeIt}>Remove</button>`}
      </div>
    </div>
  </li>`;
}

function Adding({ file, onEnd }) {
  const [share, setShare] = useState(null);
  const [error, setError] = useState(null);
  const add = async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    setError(null);
    try {
      setShare(0.001);
      await upload("models", { file, ...given }, { onSent: setShare });
      await refreshModels();
      onEnd();
    } catch (problem) {
      setError(problem);
    }
    setShare(null);
  };
  return html`<form class="panel" onSubmit=${add}>
    <h2>Add ${file.name} <span class="muted">${megabytes(file.size / 2 ** 20)}</span></h2>
    <div class="fields">
      <label class="field">Name<input name="name" required maxlength="64" pattern="[A-Za-z0-9._\\-]+" value=${baseName(file.name)} /></label>
      <label class="field">What it does<input name="description" /></label>
      <label class="field">Licence<input name="licence" placeholder="CC BY 4.0" /></label>
      <label class="field">Domains, of a StarGAN v2<input name="domains" placeholder="cat, dog" /></label>
    </div>
    <${Trouble} error=${error} />
    ${share && html`<${Progress} share=${share < 1 ? share : 0} label="Adding" />`}
    <div class="row"><button class="primary" disabled=${share}>Add</button><button type="button" onClick=${onEnd}>Cancel</button></div>
  </form>`;
}
