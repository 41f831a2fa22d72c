// Translate: a photo in, a painting out, at once. Also many photos, many models, and what was made before.

import { html, useEffect, useRef } from "../vendor/preact-htm.js";
import { blob, Problem } from "../api.js";
import { createStore, refreshModels, remember, remembered, server, useFiles, useStore } from "../state.js";
import { Camera } from "../parts/camera.js";
import * as history from "../parts/history.js";
import { badge, choices, runner, thumbnail, title } from "../parts/models.js";
import { paint, picture } from "../parts/painting.js";
import { FORMATS, address, baseName, converted, refusal, release, save, sizeOf } from "../parts/pictures.js";
import { Sheet, createSheet } from "../parts/sheet.js";
import { BeforeAfter } from "../parts/slider.js";
import { Calls, Choice, Doing, FilePicker, Trouble } from "../parts/widgets.js";
import { Working } from "../parts/working.js";

const SIZES = [["256", "256 px"], ["", "512 px"], ["1024", "1024 px"], ["native", "As uploaded"]];
const MANY = 6; // models whose cards are shown as pictures with names alone
const DEFAULTS = { model: "style_monet", resolution: "", domain: "" };

// file: the photo on the stage. stage: what happens to it now. entry: what became of it. sheet: a contact sheet.
// notice: what a person should know about files that were left out, or about storage.
const store = createStore({
  file: null, stage: null, error: null, notice: "", entry: null, sheet: null, camera: false, past: [],
  settings: { ...DEFAULTS, ...remembered("settings", {}) },
});
let underWay = null; // the newest order; it cancels the one before

// The fields of POST /translate.
function fields({ model, resolution, domain }) {
  const stargan = (server.get().models ?? []).find((one) => one.name === model)?.domains.length;
  return { model, resolution, ...(stargan && domain ? { domain } : {}) };
}

// Stop what is under way, for something else that is to be on the stage.
function leave() {
  underWay?.abort();
  underWay = null;
  store.get().sheet?.cancel();
  store.set({ stage: null, error: null, notice: "", entry: null, sheet: null });
}

async function go() {
  const { file, settings } = store.get();
  if (!file) return;
  leave();
  const order = (underWay = new AbortController());
  store.set({ stage: { stage: "uploading", share: 0 } });
  const set = (what) => underWay === order && store.set(what);
  try {
    const outcome = await paint(file, fields(settings), { signal: order.signal, onStage: (stage) => set({ stage }) });
    const entry = await entryOf(file, settings, outcome);
    set({ entry, stage: null });
    await keep(entry);
  } catch (error) {
    if (error.name === "AbortError") set({ stage: null });
    else set({ error, stage: null });
    if (!(error instanceof Problem) && error.name !== "AbortError") throw error;
  } finally {
    if (underWay === order) underWay = null;
  }
}

async function entryOf(file, settings, { result, job, seconds }) {
  const { width, height } = await sizeOf(result);
  const { id, model, seeds } = job;
  return { source: file, name: file.name, result, settings, job: { id, model, seeds }, seconds, width, height, at: Date.now() };
}

async function keep(entry) {
  try {
    const kept = await history.add(entry);
    const past = [kept, ...store.get().past];
    discard(past.slice(history.KEPT));
    store.set({ past: past.slice(0, history.KEPT) });
  } catch (error) {
    const why = error?.name === "QuotaExceededError" ? "The browser's storage is full" : "This browser stores nothing here";
    store.set({ notice: `${why}, so this picture will not be in the history. Download it to keep it.` });
  }
}

// Those that the history no longer has, and that are not on the stage.
function discard(entries) {
  const { entry, file } = store.get();
  for (const { source, result } of entries) release(...[source, result].filter((blob) => ![file, entry?.source, entry?.result].includes(blob)));
}

async function recall() {
  const known = new Map(store.get().past.map((entry) => [entry.id, entry]));
  const past = (await history.entries()).map((entry) => known.get(entry.id) ?? entry); // the same pictures, not new copies
  store.set({ past });
}

const forget = async (entries, act) => {
  try {
    await act();
    const gone = new Set(entries.map((entry) => entry.id));
    store.set({ past: store.get().past.filter((entry) => !gone.has(entry.id)) });
    discard(entries);
  } catch (error) {
    store.set({ error: new Problem(`The history could not be changed: ${error?.message ?? "the browser refused"}.`) });
  }
};

function change(what) {
  const settings = { ...store.get().settings, ...what };
  remember("settings", settings);
  store.set({ settings });
  showInAddress(settings);
  go();
}

// The address says which model and size, so that it can be kept or sent; a picture is never in it.
function showInAddress({ model, resolution }) {
  const asked = new URLSearchParams({ model, ...(resolution && { resolution }) });
  window.history.replaceState(null, "", `#translate?${asked}`);
}

function accept(files) {
  const maxMb = server.get().status?.max_upload_mb;
  const wrong = files.map((file) => refusal(file, maxMb)).filter(Boolean);
  const good = files.filter((file) => !refusal(file, maxMb));
  if (!good.length) {
    const error = wrong.join(" ") || "No file came with that. Save the picture first, then drop its file.";
    store.set({ error: new Problem(error) });
    return;
  }
  leave();
  if (good.length > 1) showSheet(good.map((file) => ({ file, settings: store.get().settings, label: file.name })), "photos");
  else {
    store.set({ file: good[0] });
    go();
  }
  if (wrong.length) store.set({ notice: `Left out: ${wrong.join(" ")}` });
}

function showSheet(items, what) {
  const jobs = items.map((item) => ({ ...item, settings: fields(item.settings) }));
  const onDone = async (job, outcome) => keep(await entryOf(job.file, { ...DEFAULTS, ...job.settings }, outcome));
  store.set({ sheet: createSheet(jobs, `${jobs.length} ${what}`, onDone) });
}

function cancel() {
  underWay?.abort();
  underWay = null;
  store.set({ stage: null });
}

function compare() {
  const { file, settings } = store.get();
  leave();
  const models = choices(server.get().models ?? []);
  showSheet(models.map((model) => ({ file, label: title(model), settings: { ...settings, model: model.name, domain: "" } })), "models");
}

async function open(item) {
  const settings = { ...DEFAULTS, ...item.settings };
  const entry = await entryOf(item.file, settings, item.outcome);
  leave();
  store.set({ file: item.file, settings, entry });
  showInAddress(settings);
}

function show(entry) {
  leave();
  if (entry.settings.view) return store.set({ file: entry.source, entry }); // the settings are of another form
  const settings = { ...DEFAULTS, ...entry.settings };
  store.set({ file: entry.source, settings, entry });
  showInAddress(settings);
}

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
  accept([new File([photo], "valley.jpg", { type: "image/jpeg" })]);
}

export function View({ of: [asked] }) {
  const state = useStore(store);
  const { models } = useStore(server);
  useFiles(accept);
  useEffect(() => {
    refreshModels();
    recall().catch(() => {});
    const escape = (event) => event.key === "Escape" && cancel();
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, []);
  useEffect(() => {
    const wanted = Object.fromEntries(new URLSearchParams(asked)); // of a link such as #translate?model=mine
    const { settings } = store.get();
    const { model = settings.model, resolution = wanted.model ? "" : settings.resolution } = wanted;
    if (model !== settings.model) change({ model, resolution, domain: "" });
    else if (resolution !== settings.resolution) change({ resolution });
  }, [asked]);
  useEffect(() => {
    // A model that is gone paints nothing; whoever chose it finds another one chosen.
    if (models?.length && !models.some((model) => model.name === state.settings.model)) {
      const [first] = choices(models);
      if (first) store.set({ settings: { ...state.settings, model: first.name, domain: "" } });
    }
  }, [models]);
  const { file, sheet } = state;
  return html`<h1 class="unseen">Translate a picture</h1>
    ${state.notice && html`<p class="note" role="status">${state.notice}</p>`}
    ${sheet
      ? html`<${Sheet} sheet=${sheet} onOpen=${open} onClose=${leave} />`
      : html`<div class="translate">
          <section class="stage-column" aria-label="Picture">
            ${file || state.camera ? html`<${Stage} ...${state} />` : html`<${Empty} sample=${shownSample(models, state.settings)} />`}
            <${Trouble} error=${state.error}>${state.error?.code === "no_face" && html`<a class="button small" href="#style">Style can take it as it is</a>`}${file && html`<button type="button" class="small" onClick=${go}>Try again</button>`}<//>
            ${file && html`<${Actions} ...${state} />`}
          </section>
          <${Into} models=${models} settings=${state.settings} />
        </div>`}
    <${Past} past=${state.past} entry=${state.entry} />
    <${Calls} call=${["translate", { image: file ?? new File([], "photo.jpg"), ...fields(state.settings) }]} />`;
}

function Empty({ sample }) {
  return html`<div class="stage empty">
    <svg viewBox="0 0 48 48" width="56" height="56" aria-hidden="true"><rect x="5" y="9" width="38" height="30" rx="4" /><circle cx="16" cy="19" r="3.500" /><path d="m6 35 11-10 7 6 9-11 10 11" /></svg>
    <p class="lead">Drop a photo anywhere</p>
    <p class="muted">or paste one. It is painted at once. Several make a contact sheet.</p>
    <div class="row center">
      <${FilePicker} onFiles=${accept} multiple className="primary" label="Choose photos">Choose a photo<//>
      ${navigator.mediaDevices && html`<button type="button" onClick=${() => store.set({ camera: true })}>Camera</button>`}
    </div>
    ${sample && html`<button type="button" class="picture try" onClick=${trySample}><img src=${sample} alt="" /><span>or try it with this one</span></button>`}
  </div>`;
}

function Stage({ file, stage, entry, camera }) {
  if (camera) return html`<${Camera} onPhoto=${(photo) => (store.set({ camera: false }), accept([photo]))} onClose=${() => store.set({ camera: false })} />`;
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
    <${FilePicker} onFiles=${accept} multiple label="Choose other photos">New photo<//>
    ${navigator.mediaDevices && html`<button type="button" onClick=${() => (leave(), store.set({ camera: true }))}>Camera</button>`}
    ${!stage && !entry && html`<button type="button" class="primary" onClick=${go}>Paint ${file.name}</button>`}
    ${entry && html`<span class="muted outcome">${entry.seconds.toFixed(1)} s by ${entry.job.model}</span>`}
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
  const drop = (old) => forget([old], () => history.forget(old.id));
  const dropAll = () =>
    confirm(`Delete these ${past.length} pictures from this browser?`) && forget(past, history.forgetAll);
  return html`<section class="past" aria-label="History">
    <div class="row spread"><h2>Earlier <span class="muted">kept in this browser only</span></h2>
      <button type="button" class="small" onClick=${dropAll}>Delete all</button></div>
    <ul class="strip">
      ${past.map(
        (old) => html`<li key=${old.id}>
          <button type="button" class="picture" aria-current=${old.at === entry?.at ? "true" : null} onClick=${() => show(old)}
            aria-label=${`${old.name} by ${old.job.model}`} title=${`${old.name} by ${old.job.model}`}><img src=${address(old.result)} alt="" loading="lazy" /></button>
          <button type="button" class="drop" onClick=${() => drop(old)} aria-label=${`Delete ${old.name}`}>×</button>
        </li>`,
      )}
    </ul>
  </section>`;
}
