// Style: a photo or a clip painted like other pictures, or a photo in a style that a StarGAN v2 reads off one or draws.

import { html, useEffect } from "../vendor/preact-htm.js";
import { Problem } from "../api.js";
import { createStore, refreshModels, server, useFiles, useStore } from "../state.js";
import * as history from "../parts/history.js";
import { needsExample } from "../parts/models.js";
import { order } from "../parts/painting.js";
import { address, baseName, prepared, refusal, save, sizeOf } from "../parts/pictures.js";
import { BeforeAfter } from "../parts/slider.js";
import { Calls, Choice, FilePicker, Range, TextField, Trouble } from "../parts/widgets.js";
import { Working } from "../parts/working.js";

const MOST_STYLES = 4;
const VARIATIONS = 6;
const MOST_SEED = 2 ** 32;
const MOST = { grid: { sources: 8, styles: 8 }, video: { sources: 4, styles: 8 } };
const drawn = () => Math.floor(Math.random() * MOST_SEED);
const isClip = (file) => file.type.startsWith("video/") || /\.(mp4|mov|webm)$/i.test(file.name);

// styles: [{ file, weight }]. seed: null while a reference picture gives the style. source: a photo, or a clip to paint.
// result: { picture, source, job, seconds, width, height } or { film }.
const store = createStore({
  mode: null, source: null, styles: [], strength: 1, stroke: 1, preserve_color: false,
  model: "", domain: "", seed: 1, locked: false, psi: 1, align: "auto", others: [], count: 4,
  stage: null, error: null, result: null, variations: [],
});
let underWay = null; // the newest order, grid, video or row of variations; it cancels the one before

const stargans = () => (server.get().models ?? []).filter((model) => model.family === "stargan_v2" && model.runs_as);
const chosenModel = ({ model }) => (stargans().find((one) => one.name === model) ?? stargans()[0])?.name;

// The call that the form stands for: [path, fields, ending]; null while something is missing.
function call(state) {
  const { mode, source, styles, seed } = state;
  if (!source || !mode) return null;
  if (mode === "example") {
    if (!styles.length) return null;
    const { strength, stroke, preserve_color } = state;
    const weights = styles.length > 1 ? JSON.stringify(styles.map((style) => style.weight)) : "";
    const look = { style: styles.map((style) => style.file), weights, strength, stroke, preserve_color: String(preserve_color) };
    return isClip(source) ? ["style/video", { video: source, ...look }, "mp4"] : ["style", { image: source, ...look }, "png"];
  }
  if (isClip(source)) return null;
  const { domain, psi, align } = state;
  const shared = { image: source, model: chosenModel(state), domain, align };
  if (seed === null) return styles.length ? ["stargan/reference", { ...shared, reference: styles[0].file }, "png"] : null;
  return ["stargan/latent", { ...shared, seed: String(seed), psi: String(psi) }, "png"];
}

async function go() {
  const asked = call(store.get());
  cancel();
  if (!asked) return;
  const { source } = store.get();
  await run(asked, source);
}

// Pictures travel no larger than they are needed; clips travel as they are.
async function shrunk(fields) {
  const sent = { ...fields };
  for (const name of ["image", "reference", "style", "sources", "references"]) {
    const one = sent[name];
    if (one) sent[name] = Array.isArray(one) ? await Promise.all(one.map((file) => prepared(file, ""))) : await prepared(one, "");
  }
  return sent;
}

// source: what the result is compared with; null: nothing.
async function run([path, fields, ending], source) {
  cancel();
  const mine = (underWay = new AbortController());
  const set = (what) => underWay === mine && store.set(what);
  set({ error: null, stage: { stage: "uploading", share: 0 } });
  try {
    const film = ending === "mp4";
    const options = { signal: mine.signal, onStage: (stage) => set({ stage }), type: film ? "video/mp4" : "image/png" };
    const { result, job, seconds } = await order(path, await shrunk(fields), options);
    if (film) return set({ stage: null, result: { film: result, job, seconds } });
    const size = await sizeOf(result);
    set({ stage: null, result: { picture: result, source, job, seconds, ...size } });
    if (source) keep(source, result, job, seconds, size);
  } catch (error) {
    set({ stage: null, error: error.name === "AbortError" ? null : error });
  }
}

// It joins the pictures that Translate shows below.
function keep(source, result, { id, model, seeds }, seconds, size) {
  const entry = { source, name: source.name, result, settings: { view: "style" }, job: { id, model, seeds }, seconds, ...size, at: Date.now() };
  history.add(entry).catch(() => {}); // the browser may store nothing
}

function cancel() {
  underWay?.abort();
  underWay = null;
  store.set({ stage: null });
}

function change(what) {
  store.set(what);
  go();
}

// Six other seeds to walk on from.
async function vary() {
  cancel();
  const mine = (underWay = new AbortController());
  const seeds = Array.from({ length: VARIATIONS }, drawn);
  store.set({ error: null, variations: seeds.map((seed) => ({ seed, result: null })) });
  const state = { ...store.get() };
  const show = (n) => (stage) => underWay === mine && store.set({ stage: { ...stage, stage: "waiting", why: `Variation ${n + 1} of ${VARIATIONS}` } });
  try {
    for (const [n, seed] of seeds.entries()) {
      const [path, fields] = call({ ...state, seed });
      const { result } = await order(path, await shrunk(fields), { signal: mine.signal, onStage: show(n) });
      store.set(({ variations }) => ({ variations: variations.map((one) => (one.seed === seed ? { seed, result } : one)) }));
    }
  } catch (error) {
    if (error.name !== "AbortError") store.set({ error });
  }
  if (underWay === mine) store.set({ stage: null });
}

// A grid or a video of the source and the pictures added to it, in the reference's style and drawn ones.
function several(kind) {
  const { source, others, styles, seed, domain, align, psi, count } = store.get();
  const sources = [source, ...others].slice(0, MOST[kind].sources);
  const references = styles.map((style) => style.file).slice(0, MOST[kind].styles);
  const byPicture = seed === null && references.length >= (kind === "video" ? 2 : 1);
  const seeds = [seed ?? drawn(), ...Array.from({ length: count - 1 }, drawn)];
  const look = byPicture ? { references } : { seeds: JSON.stringify(seeds), psi: String(psi) };
  run([`stargan/${kind}`, { sources, domain, model: chosenModel(store.get()), align, ...look }, kind === "video" ? "mp4" : "png"], null);
}

const maxMb = () => server.get().status?.max_upload_mb;

function acceptSource([file]) {
  const wrong = file && !isClip(file) && refusal(file, maxMb());
  if (wrong) store.set({ error: new Problem(wrong) });
  else if (file) change({ source: file, variations: [], result: null, error: null });
}

function acceptStyles(files) {
  const { styles, mode, seed } = store.get();
  const wrong = files.map((file) => refusal(file, maxMb())).filter(Boolean);
  const good = files.filter((file) => !refusal(file, maxMb())).map((file) => ({ file, weight: 1 }));
  const most = mode === "example" ? MOST_STYLES : MOST.grid.styles;
  if (good.length) change({ styles: [...(mode === "example" ? styles : []), ...good].slice(-most), seed: mode === "stargan" ? null : seed });
  if (wrong.length) store.set({ error: new Problem(wrong.join(" ")) });
}

export function View() {
  const state = useStore(store);
  const { models } = useStore(server);
  // Dropped anywhere: first the photo, then a style; with both there, beside the styles another style, else another photo.
  useFiles((files, _, target) => {
    const style = state.source && (target?.closest?.(".into") || !call({ ...state, source: state.source }));
    return style ? acceptStyles(files) : acceptSource(files);
  });
  useEffect(() => void refreshModels(), []);
  const example = models?.some((model) => needsExample(model) && model.runs_as);
  useEffect(() => {
    if (models && !state.mode) store.set({ mode: example ? "example" : stargans().length ? "stargan" : null });
  }, [models]);
  const modes = [example && ["example", "Like a picture"], stargans().length && ["stargan", "StarGAN"]].filter(Boolean);
  const asked = call(state);
  return html`<h1 class="unseen">Style</h1>
    <div class="translate">
      <section class="stage-column" aria-label="Picture">
        <${Stage} ...${state} />
        <${Trouble} error=${state.error}>${state.error?.code === "no_face" && html`<button type="button" class="small" onClick=${() => change({ align: "none" })}>Take the picture as it is</button>`}<//>
        <${Actions} ...${state} />
        ${state.variations.length > 0 && html`<ul class="strip" aria-label="Variations">${state.variations.map(({ seed, result }) => html`<li key=${seed}><button type="button" class="picture variation" disabled=${!result}
            onClick=${() => change({ seed })} aria-label=${`Seed ${seed}`} aria-current=${seed === state.seed ? "true" : null}>${result && html`<img src=${address(result)} alt="" />`}</button></li>`)}</ul>`}
      </section>
      <section class="into" aria-label="How">
        ${models && !modes.length && html`<p>No model for this is ready. <a href="#models">Fetch one</a></p>`}
        ${modes.length > 1 && html`<${Choice} label="Mode" value=${state.mode} options=${modes} onChange=${(mode) => change({ mode })} />`}
        ${state.mode === "example" && html`<${Example} ...${state} />`}
        ${state.mode === "stargan" && html`<${Stargan} ...${state} models=${stargans()} />`}
      </section>
    </div>
    ${asked && html`<${Calls} call=${asked} />`}`;
}

function Stage({ source, result, stage }) {
  if (result && !stage) {
    if (result.film) return html`<div class="stage"><video class="whole" src=${address(result.film)} controls autoplay loop muted playsinline></video></div>`;
    const { picture, source: photo, width, height } = result;
    return html`<div class="stage">${photo
      ? html`<${BeforeAfter} before=${address(photo)} after=${address(picture)} width=${width} height=${height} label="Result" />`
      : html`<img class="whole" style=${{ "--aspect": width / height }} src=${address(picture)} alt="The grid" />`}</div>`;
  }
  if (source)
    return html`<div class="stage">${isClip(source)
      ? html`<video class="whole" src=${address(source)} controls muted playsinline aria-label=${source.name}></video>`
      : html`<img class=${`whole ${stage ? "waiting" : ""}`} src=${address(source)} alt=${source.name} />`}${stage && html`<${Working} stage=${stage} onCancel=${cancel} />`}</div>`;
  return html`<div class="stage empty"><p class="lead">Drop the photo or the clip</p><p class="muted">then a picture whose style it is to take.</p>
    <div><${FilePicker} onFiles=${acceptSource} accept="image/*,video/*" className="primary" label="Choose the photo or the clip">Choose the photo or the clip<//></div></div>`;
}

function Actions({ source, result, stage, mode }) {
  if (!source) return null;
  const film = result?.film;
  const saved = () => save(film ?? result.picture, `${baseName(source.name)}-styled.${film ? "mp4" : "png"}`);
  return html`<div class="row actions">
    ${result && html`<button type="button" class="primary" onClick=${saved}>Download</button>`}
    ${mode === "stargan" && !isClip(source) && !stage && html`<button type="button" onClick=${vary}>Six variations</button>
      <button type="button" onClick=${() => several("grid")}>Grid</button><button type="button" onClick=${() => several("video")}>Video</button>`}
    <${FilePicker} onFiles=${acceptSource} accept="image/*,video/*" label="Choose another photo">New photo<//>
    ${!result && !stage && call(store.get()) && html`<button type="button" class="primary" onClick=${go}>Paint ${source.name}</button>`}
    ${result && html`<span class="muted outcome">${result.seconds.toFixed(1)} s by ${result.job.model}</span>`}
  </div>`;
}

const Slider = ({ label, name, min, max, step = 0.05, value, ends }) => html`<label class="field">${label}
  <${Range} min=${min} max=${max} step=${step} value=${value} onCommit=${(set) => change({ [name]: set })} />
  ${ends && html`<span class="row spread">${ends.map((end) => html`<span key=${end}>${end}</span>`)}</span>`}</label>`;

function Styles({ styles, most }) {
  const set = (n, weight) => change({ styles: styles.map((style, m) => (m === n ? { ...style, weight } : style)) });
  const drop = (n) => change({ styles: styles.filter((_, m) => m !== n) });
  return html`<ul class="style-pictures">${styles.map(
    ({ file, weight }, n) => html`<li key=${address(file)}><img src=${address(file)} alt=${file.name} />
      ${most > 1 && styles.length > 1 && html`<${Range} min="0.1" max="3" step="0.1" value=${weight} aria-label=${`How much of ${file.name}`} onCommit=${(to) => set(n, to)} />`}
      <button type="button" class="drop" onClick=${() => drop(n)} aria-label=${`Remove ${file.name}`}>×</button></li>`,
  )}</ul>
  ${(styles.length < most || most === 1) && html`<div><${FilePicker} onFiles=${acceptStyles} multiple label="Choose style pictures">${styles.length ? (most > 1 ? "Add another" : "Another picture") : "Choose a style picture"}<//></div>`}`;
}

function Example({ styles, strength, stroke, preserve_color }) {
  return html`<h2>Like</h2><${Styles} styles=${styles} most=${MOST_STYLES} />
    <${Slider} label="Strength" name="strength" min="0" max="1" value=${strength} ends=${["the photo's own", "all of it"]} />
    <${Slider} label="Strokes" name="stroke" min="0.5" max="2" step="0.25" value=${stroke} ends=${["fine", "coarse"]} />
    <label class="row"><input type="checkbox" checked=${preserve_color} onChange=${() => change({ preserve_color: !preserve_color })} /> Keep the photo's colours</label>`;
}

function Stargan({ models, model, domain, styles, seed, locked, psi, others, count }) {
  const chosen = models.find((one) => one.name === model) ?? models[0];
  const domains = chosen?.domains ?? [];
  return html`${models.length > 1 && html`<label class="field">Model<select value=${model} onChange=${(event) => change({ model: event.target.value, domain: "" })}>${models.map((one) => html`<option key=${one.name}>${one.name}</option>`)}</select></label>`}
    <h2>Into</h2>
    <${Choice} label="Domain" value=${domain || domains[0]} options=${domains.map((one) => [one, one])} onChange=${(one) => change({ domain: one })} />
    <${Choice} label="Style" value=${seed === null ? "reference" : "seed"} options=${[["seed", "A random style"], ["reference", "That of a picture"]]} onChange=${(one) => change({ seed: one === "seed" ? drawn() : null })} />
    ${seed === null
      ? html`<${Styles} styles=${styles} most=${1} />`
      : html`<div class="row"><div class="grow"><${TextField} key=${seed} label="Seed" type="number" min="0" value=${seed} onChange=${(event) => /^\d+$/.test(event.target.value) && change({ seed: Number(event.target.value) })} /></div>
            <button type="button" disabled=${locked} onClick=${() => change({ seed: drawn() })}>Roll the dice</button>
            <label class="row"><input type="checkbox" checked=${locked} onChange=${() => store.set({ locked: !locked })} /> Lock</label></div>
          <${Slider} label="psi: how far from the domain's mean style" name="psi" min="0" max="1" value=${psi} ends=${["typical", "daring"]} />`}
    <details><summary>Grid and video</summary><p class="muted">Of the photo and up to ${MOST.grid.sources - 1} others (a video: ${MOST.video.sources - 1}), in the style that is set and drawn ones.</p>
      <label class="field">Styles: ${count}<${Range} min="2" max=${MOST.grid.styles} value=${count} onCommit=${(to) => store.set({ count: to })} /></label>
      <div class="row"><${FilePicker} onFiles=${(files) => store.set({ others: files.slice(0, MOST.grid.sources - 1) })} multiple label="Choose other photos">Other photos<//>
        <span class="muted">${others.length || ""}</span>${others.length > 0 && html`<button type="button" class="small" onClick=${() => store.set({ others: [] })}>Remove them</button>`}</div></details>`;
}
