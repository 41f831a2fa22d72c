// Translate: a photo in, a painting out, at once. Also many photos, many models, and what was made before.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { blob, Problem } from "../api.js";
import { createStore, refreshModels, remember, remembered, server, useFiles, useStore } from "../state.js";
import { Camera } from "../parts/camera.js";
import * as history from "../parts/history.js";
import { badge, choices, runner, thumbnail, title } from "../parts/models.js";
import { paint, picture } from "../parts/painting.js";
import { FORMATS, address, baseName, converted, refusal, save } from "../parts/pictures.js";
import { LANGUAGES, recipe } from "../parts/recipes.js";
import { Sheet } from "../parts/sheet.js";
import { BeforeAfter } from "../parts/slider.js";
import { Choice, CopiedText, Doing, FilePicker, Trouble } from "../parts/widgets.js";
import { Working } from "../parts/working.js";

const SIZES = [["256", "256 px"], ["", "512 px"], ["1024", "1024 px"], ["native", "As uploaded"]];
const MANY = 6; // models whose cards are shown as pictures with names alone
const DEFAULTS = { model: "style_monet", resolution: "", domain: "" };

// file: the photo on the stage. stage: what happens to it now. entry: what became of it. many: a contact sheet.
const store = createStore({
  file: null, stage: null, error: null, entry: null, many: null, past: [],
  settings: { ...DEFAULTS, ...remembered("settings", {}) },
});
let underWay = null; // the newest order; it cancels the one before

// The fields of POST /translate.
function fields({ model, resolution, domain }) {
  const stargan = (server.get().models ?? []).find((one) => one.name === model)?.domains.length;
  return { model, resolution, ...(stargan && domain ? { domain } : {}) };
}

async function go() {
  const { file, settings } = store.get();
  if (!file) return;
  underWay?.abort();
  const order = (underWay = new AbortController());
  store.set({ error: null, entry: null, stage: { stage: "uploading", share: 0 } });
  const set = (what) => underWay === order && store.set(what);
  try {
    const outcome = await paint(file, fields(settings), { signal: order.signal, onStage: (stage) => set({ stage }) });
    const entry = await made(file, settings, outcome);
    if (underWay === order) store.set({ entry, stage: null });
    await keep(entry);
  } catch (error) {
    if (error.name === "AbortError") set({ stage: null });
    else set({ error, stage: null });
    if (!(error instanceof Problem) && error.name !== "AbortError") throw error;
  }
}

async function made(file, settings, { result, job, seconds }) {
  const { width, height } = await createImageBitmap(result);
  const { id, model, seeds } = job;
  return { source: file, name: file.name, result, settings, job: { id, model, seeds }, seconds, width, height, at: Date.now() };
}

async function keep(entry) {
  try {
    await history.add(entry);
    await recall();
  } catch {
    // no storage in a private window: the page works without
  }
}

const recall = async () => store.set({ past: await history.entries() });

function change(what) {
  const settings = { ...store.get().settings, ...what };
  remember("settings", settings);
  store.set({ settings });
  go();
}

function take(files) {
  if (!files.length) {
    store.set({ error: new Problem("No file came with that. Save the picture first, then drop its file.") });
    return;
  }
  const wrong = files.map((file) => refusal(file)).find(Boolean);
  if (wrong && files.length === 1) {
    store.set({ error: new Problem(wrong) });
    return;
  }
  const good = files.filter((file) => !refusal(file));
  const { settings } = store.get();
  if (good.length > 1) {
    const jobs = good.map((file) => ({ file, settings: fields(settings), label: file.name }));
    store.set({ many: { jobs, title: `${jobs.length} photos`, key: Date.now() } });
    return;
  }
  store.set({ file: good[0], many: null });
  go();
}

function cancel() {
  underWay?.abort();
  store.set({ stage: null });
}

function compare() {
  const { file, settings } = store.get();
  const jobs = choices(server.get().models ?? []).map((model) => ({
    file, label: title(model), settings: fields({ ...settings, model: model.name, domain: "" }),
  }));
  store.set({ many: { jobs, title: `${jobs.length} models`, key: Date.now() } });
}

async function open(item, outcome) {
  const settings = { ...DEFAULTS, ...item.settings };
  store.set({ file: item.file, settings, entry: await made(item.file, settings, outcome), many: null, error: null });
}

const show = (entry) => store.set({ file: entry.source, settings: { ...DEFAULTS, ...entry.settings }, entry, error: null, stage: null, many: null });

async function download(entry, ending) {
  const type = FORMATS[ending];
  let file = entry.result;
  // The server's own file says in its metadata that it was generated. It is kept for a while.
  if (type !== entry.result.type) file = await picture(entry.job, type).catch(() => converted(entry.result, type));
  save(file, `${baseName(entry.name)}-${entry.job.model}.${ending}`);
}

const share = (entry) => {
  const picture = new File([entry.result], `${baseName(entry.name)}.png`, { type: entry.result.type });
  navigator.share({ files: [picture] }).catch(() => {}); // the person may change their mind
};

const copy = (entry) => navigator.clipboard.write([new ClipboardItem({ "image/png": converted(entry.result, "image/png") })]);

// What the chosen model makes of the sample photo.
function shownSample(models, settings) {
  const chosen = models?.find((model) => model.name === settings.model);
  return chosen && (chosen.sample ?? runner(chosen, models).sample);
}

async function trySample() {
  const photo = await blob(new URL("../sample.jpg", import.meta.url).href);
  take([new File([photo], "valley.jpg", { type: "image/jpeg" })]);
}

export function View({ of: [asked] }) {
  const state = useStore(store);
  const { models } = useStore(server);
  useFiles(take);
  useEffect(() => {
    refreshModels();
    recall().catch(() => {});
    const escape = (event) => event.key === "Escape" && underWay && cancel();
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, []);
  useEffect(() => {
    const model = new URLSearchParams(asked).get("model"); // from a link such as #translate?model=mine
    if (model) change({ model, domain: "" });
  }, [asked]);
  const { file, many } = state;
  return html`<h1 class="unseen">Translate a picture</h1>
    ${many
      ? html`<${Sheet} key=${many.key} ...${many} onOpen=${open} onClose=${() => store.set({ many: null })} />`
      : html`<div class="translate">
          <section class="stage-column" aria-label="Picture">
            ${file ? html`<${Stage} ...${state} />` : html`<${Empty} sample=${shownSample(models, state.settings)} />`}
            <${Trouble} error=${state.error}>${file && html`<button type="button" class="small" onClick=${go}>Try again</button>`}<//>
            ${file && html`<${Actions} ...${state} />`}
          </section>
          <${Into} models=${models} settings=${state.settings} />
        </div>`}
    <${Past} past=${state.past} entry=${state.entry} />
    <${Calls} settings=${state.settings} name=${file?.name} />`;
}

function Empty({ sample }) {
  const [camera, setCamera] = useState(false);
  if (camera) return html`<${Camera} onPhoto=${(photo) => take([photo])} onClose=${() => setCamera(false)} />`;
  return html`<div class="stage empty">
    <svg viewBox="0 0 48 48" width="56" height="56" aria-hidden="true"><rect x="5" y="9" width="38" height="30" rx="4" /><circle cx="16" cy="19" r="3.500" /><path d="m6 35 11-10 7 6 9-11 10 11" /></svg>
    <p class="lead">Drop a photo anywhere</p>
    <p class="muted">or paste one. It is painted at once. Several make a contact sheet.</p>
    <div class="row center">
      <${FilePicker} onFiles=${take} multiple className="primary" label="Choose photos">Choose a photo<//>
      ${navigator.mediaDevices && html`<button type="button" onClick=${() => setCamera(true)}>Camera</button>`}
    </div>
    ${sample && html`<button type="button" class="picture try" onClick=${trySample}><img src=${sample} alt="" /><span>or try it with this one</span></button>`}
  </div>`;
}

function Stage({ file, stage, entry }) {
  if (entry) {
    const { source, result, width, height, name } = entry;
    return html`<div class="stage"><${BeforeAfter} before=${address(source)} after=${address(result)} width=${width} height=${height} label=${name} /></div>`;
  }
  return html`<div class="stage">
    <img class=${`whole ${stage ? "waiting" : ""}`} src=${address(file)} alt=${file.name} onLoad=${fit} />
    ${stage && html`<${Working} stage=${stage} onCancel=${cancel} />`}
  </div>`;
}

// As large as the result will be.
const fit = ({ target }) => target.style.setProperty("--aspect", target.naturalWidth / target.naturalHeight);

function Actions({ file, entry, stage }) {
  const full = () => document.querySelector(".stage").requestFullscreen();
  const again = () => {
    const name = `${baseName(entry.name)}-${entry.job.model}.png`;
    store.set({ file: new File([entry.result], name, { type: "image/png" }) });
    go();
  };
  return html`<div class="row actions">
    ${entry && html`<button type="button" class="primary" onClick=${() => download(entry, "png")}>Download</button>
      <span class="joined">${["jpg", "webp"].map((ending) => html`<button type="button" key=${ending} aria-label=${`Download as ${ending}`} onClick=${() => download(entry, ending)}>${ending.toUpperCase()}</button>`)}</span>
      ${navigator.clipboard?.write && html`<${Doing} act=${() => copy(entry)} done="Copied">Copy<//>`}
      ${navigator.canShare?.({ files: [file] }) && html`<button type="button" onClick=${() => share(entry)}>Share</button>`}
      <button type="button" onClick=${again}>Use as input</button>
      <button type="button" onClick=${full} class="wide-only">Full screen</button>`}
    ${!stage && html`<button type="button" onClick=${compare}>All models</button>`}
    <${FilePicker} onFiles=${take} multiple label="Choose other photos">New photo<//>
    ${!stage && !entry && html`<button type="button" class="primary" onClick=${go}>Paint ${file.name}</button>`}
    ${entry && html`<span class="muted made">${entry.seconds.toFixed(1)} s by ${entry.job.model}</span>`}
  </div>`;
}

function Into({ models, settings }) {
  const ready = models && choices(models).sort((a, b) => (b.name === DEFAULTS.model) - (a.name === DEFAULTS.model));
  const chosen = models?.find((model) => model.name === settings.model);
  const others = models && models.filter((model) => !model.runs_as).length;
  return html`<section class="into" aria-label="Model">
    <h2>Into</h2>
    ${!models && html`<p class="muted">Asking the server…</p>`}
    ${models && !ready.length && html`<p>No model is ready. <a href="#models">Fetch one</a></p>`}
    <div class=${`cards ${ready?.length > MANY ? "many" : ""}`} role="radiogroup" aria-label="Model">
      ${ready?.map((model) => html`<${Card} key=${model.name} model=${model} models=${models} checked=${model.name === settings.model} />`)}
    </div>
    ${chosen?.domains.length > 0 && html`<${Choice} label="Domain" value=${settings.domain || chosen.domains[0]}
      options=${chosen.domains.map((domain) => [domain, domain])} onChange=${(domain) => change({ domain })} />`}
    <label class="field">Size
      <select value=${settings.resolution} onChange=${(event) => change({ resolution: event.target.value })}>
        ${SIZES.map(([value, label]) => html`<option key=${value} value=${value} selected=${value === settings.resolution}>${label}</option>`)}
      </select>
    </label>
    ${others > 0 && html`<p class="muted"><a href="#models">${others} more models</a> can be fetched.</p>`}
  </section>`;
}

// Among many, the chosen one is in sight.
const reveal = (card) => {
  const list = card?.querySelector(":checked") && card.parentNode;
  if (list) list.scrollTo({ top: card.offsetTop - list.offsetTop - 20, left: card.offsetLeft - list.offsetLeft - 20 });
};

function Card({ model, models, checked }) {
  const card = useRef(null);
  useEffect(() => reveal(card.current), []);
  const picture = thumbnail(model, models);
  const mark = badge(model);
  return html`<label class="card" ref=${card}>
    <input type="radio" name="model" value=${model.name} checked=${checked} onChange=${() => change({ model: model.name, domain: "" })} />
    ${picture ? html`<img src=${picture} alt="" loading="lazy" />` : html`<span class="blank" aria-hidden="true"></span>`}
    <span class="name">${title(model)}${mark && html` <span class="badge">${mark}</span>`}</span>
    <span class="about">${model.description}</span>
  </label>`;
}

function Past({ past, entry }) {
  if (!past.length) return null;
  const drop = async (id) => {
    await history.forget(id);
    await recall();
  };
  const dropAll = async () => {
    if (!confirm(`Delete these ${past.length} pictures from this browser?`)) return;
    await history.forgetAll();
    await recall();
  };
  return html`<section class="past" aria-label="History">
    <div class="row spread"><h2>Earlier <span class="muted">kept in this browser only</span></h2>
      <button type="button" class="small" onClick=${dropAll}>Delete all</button></div>
    <ul class="strip">
      ${past.map(
        (old) => html`<li key=${old.id}>
          <button type="button" class="picture" aria-current=${old.at === entry?.at ? "true" : null} onClick=${() => show(old)}
            aria-label=${`${old.name} by ${old.job.model}`} title=${`${old.name} by ${old.job.model}`}><img src=${address(old.result)} alt="" loading="lazy" /></button>
          <button type="button" class="drop" onClick=${() => drop(old.id)} aria-label=${`Delete ${old.name}`}>×</button>
        </li>`,
      )}
    </ul>
  </section>`;
}

function Calls({ settings, name }) {
  const [language, setLanguage] = useState("curl");
  return html`<details class="calls">
    <summary>The same from a program</summary>
    <${Choice} label="Language" value=${language} onChange=${setLanguage} options=${LANGUAGES.map((one) => [one, one])} />
    <${CopiedText} text=${recipe(language, fields(settings), name)} />
    <p class="muted">All calls are in <a href="docs">the documentation</a>.</p>
  </details>`;
}
