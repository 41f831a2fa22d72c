// Style: a photo painted like other pictures (POST /style), or in a style that a StarGAN v2 reads off one or draws.

import { html, useEffect } from "../vendor/preact-htm.js";
import { Problem } from "../api.js";
import { createStore, refreshModels, server, useFiles, useStore } from "../state.js";
import { needsExample } from "../parts/models.js";
import { order } from "../parts/painting.js";
import { address, baseName, isPicture, prepared, refusal, save } from "../parts/pictures.js";
import { BeforeAfter } from "../parts/slider.js";
import { Choice, FilePicker, Trouble } from "../parts/widgets.js";
import { Working } from "../parts/working.js";

const MOST_STYLES = 4;
const VARIATIONS = 6;
const MOST_SEED = 2 ** 32;
const GRID = { sources: 3, seeds: 4 };
const drawn = () => Math.floor(Math.random() * MOST_SEED);

// styles: [{ file, weight }]. seed: null while a reference picture gives the style. film: a video's blob.
const store = createStore({
  way: null, source: null, styles: [], strength: 1, stroke: 1, preserve_color: false,
  model: "", domain: "", seed: 1, locked: false, psi: 1, align: "auto", others: [],
  stage: null, error: null, made: null, film: null, variations: [],
});
let underWay = null;

const stargans = () => (server.get().models ?? []).filter((model) => model.family === "stargan_v2" && model.runs_as);
const chosenModel = ({ model }) => model || stargans()[0]?.name;

// The call that the form stands for: [path, fields]; null while something is missing.
function call(state) {
  const { way, source, styles, seed } = state;
  if (!source || !way) return null;
  if (way === "example") {
    if (!styles.length) return null;
    const { strength, stroke, preserve_color } = state;
    const weights = styles.length > 1 ? JSON.stringify(styles.map((style) => style.weight)) : "";
    return ["style", { image: source, style: styles.map((style) => style.file), weights, strength, stroke, preserve_color: String(preserve_color) }];
  }
  const { domain, psi, align } = state;
  const shared = { image: source, model: chosenModel(state), domain, align };
  if (seed === null) return styles.length ? ["stargan/reference", { ...shared, reference: styles[0].file }] : null;
  return ["stargan/latent", { ...shared, seed: String(seed), psi: String(psi) }];
}

async function go() {
  const asked = call(store.get());
  if (!asked) return;
  const { source } = store.get();
  await run(asked, {}, async ({ result, job, seconds }) => {
    const { width, height } = await createImageBitmap(result);
    store.set({ made: { result, job, seconds, source, width, height }, film: null });
  });
}

async function run([path, fields], options, take) {
  underWay?.abort();
  const mine = (underWay = new AbortController());
  const set = (what) => underWay === mine && store.set(what);
  set({ error: null, stage: { stage: "uploading", share: 0 } });
  try {
    const sent = { ...fields };
    for (const name of ["image", "reference"]) if (sent[name]) sent[name] = await prepared(sent[name], "");
    const outcome = await order(path, sent, { signal: mine.signal, onStage: (stage) => set({ stage }), ...options });
    if (underWay === mine) await take(outcome);
    set({ stage: null });
  } catch (error) {
    set({ stage: null, error: error.name === "AbortError" ? null : error });
  }
}

const cancel = () => underWay?.abort();

function change(what) {
  store.set(what);
  go();
}

// Six other seeds, small, to walk on from.
async function vary() {
  const seeds = Array.from({ length: VARIATIONS }, drawn);
  store.set({ variations: seeds.map((seed) => ({ seed, result: null })) });
  const state = store.get();
  const signal = new AbortController().signal;
  for (const seed of seeds) {
    const [path, fields] = call({ ...state, seed });
    const outcome = await order(path, { ...fields, image: await prepared(state.source, "") }, { signal, onStage() {} }).catch((error) => store.set({ error }));
    if (outcome) store.set(({ variations }) => ({ variations: variations.map((one) => (one.seed === seed ? { seed, result: outcome.result } : one)) }));
  }
}

// A grid or a video of the source, and of the pictures added to it, in the references' styles or in drawn ones.
function many(kind) {
  const { source, others, styles, seed, locked, domain, align } = store.get();
  const model = chosenModel(store.get());
  const sources = [source, ...others].slice(0, GRID.sources);
  const seeds = [...(seed !== null ? [seed] : []), ...Array.from({ length: GRID.seeds }, drawn)].slice(0, GRID.seeds);
  const look = seed === null && styles.length > (kind === "video" ? 1 : 0) ? { references: styles.map((style) => style.file) } : { seeds: JSON.stringify(locked ? seeds : seeds.slice(1).concat(drawn())) };
  const film = kind === "video";
  run([`stargan/${kind}`, { sources, domain, model, align, ...look }], { type: film ? "video/mp4" : "image/png" }, async ({ result, job, seconds }) => {
    if (film) return store.set({ film: result, made: null });
    const { width, height } = await createImageBitmap(result);
    store.set({ film: null, made: { result, job, seconds, source: result, width, height, grid: true } });
  });
}

function takeSource([file]) {
  const wrong = file && refusal(file);
  if (wrong) store.set({ error: new Problem(wrong) });
  else if (file) change({ source: file, variations: [] });
}

function takeStyles(files) {
  const { styles, way, seed } = store.get();
  const good = files.filter(isPicture).map((file) => ({ file, weight: 1 }));
  if (!good.length) return;
  const most = way === "example" ? MOST_STYLES : 1;
  change({ styles: [...(most > 1 ? styles : []), ...good].slice(-most), seed: way === "stargan" ? null : seed });
}

export function View() {
  const state = useStore(store);
  const { models } = useStore(server);
  // Dropped anywhere: first the photo, then the styles.
  useFiles((files) => (state.source ? takeStyles(files) : takeSource(files)));
  useEffect(() => void refreshModels(), []);
  const example = models?.some((model) => needsExample(model) && model.runs_as);
  useEffect(() => {
    if (models && !state.way) store.set({ way: example ? "example" : stargans().length ? "stargan" : null });
  }, [models]);
  const ways = [example && ["example", "Like a picture"], stargans().length && ["stargan", "StarGAN"]].filter(Boolean);
  return html`<h1 class="unseen">Style</h1>
    <div class="translate">
      <section class="stage-column" aria-label="Picture">
        <${Stage} ...${state} />
        <${Trouble} error=${state.error}>${/face/i.test(state.error?.message ?? "") && html`<button type="button" class="small" onClick=${() => change({ align: "none" })}>Take the picture as it is</button>`}<//>
        <${Actions} ...${state} />
        ${state.variations.length > 0 && html`<ul class="strip" aria-label="Variations">${state.variations.map(({ seed, result }) => html`<li key=${seed}><button type="button" class="picture variation" disabled=${!result}
            onClick=${() => change({ seed })} aria-label=${`Seed ${seed}`} aria-current=${seed === state.seed ? "true" : null}>${result && html`<img src=${address(result)} alt="" />`}</button></li>`)}</ul>`}
      </section>
      <section class="into" aria-label="How">
        ${models && !ways.length && html`<p>No model for this is ready. <a href="#models">Fetch one</a></p>`}
        ${ways.length > 1 && html`<${Choice} label="Way" value=${state.way} options=${ways} onChange=${(way) => change({ way })} />`}
        ${state.way === "example" && html`<${Example} ...${state} />`}
        ${state.way === "stargan" && html`<${Stargan} ...${state} models=${stargans()} />`}
      </section>
    </div>`;
}

function Stage({ source, made, stage, film }) {
  if (film && !stage) return html`<div class="stage"><video class="whole" src=${address(film)} controls autoplay loop muted playsinline></video></div>`;
  if (made && !stage)
    return html`<div class="stage">${made.grid
      ? html`<img class="whole" style=${{ "--aspect": made.width / made.height }} src=${address(made.result)} alt="The grid" />`
      : html`<${BeforeAfter} before=${address(made.source)} after=${address(made.result)} width=${made.width} height=${made.height} label="Result" />`}</div>`;
  if (source) return html`<div class="stage"><img class=${`whole ${stage ? "waiting" : ""}`} src=${address(source)} alt=${source.name} />${stage && html`<${Working} stage=${stage} onCancel=${cancel} />`}</div>`;
  return html`<div class="stage empty"><p class="lead">Drop the photo</p><p class="muted">then a picture whose style it is to take.</p>
    <div><${FilePicker} onFiles=${takeSource} className="primary" label="Choose the photo">Choose the photo<//></div></div>`;
}

function Actions({ source, made, film, stage, way }) {
  if (!source) return null;
  const name = `${baseName(source.name)}-styled`;
  return html`<div class="row actions">
    ${made && html`<button type="button" class="primary" onClick=${() => save(made.result, `${name}.png`)}>Download</button>`}
    ${film && html`<button type="button" class="primary" onClick=${() => save(film, `${name}.mp4`)}>Download</button>`}
    ${way === "stargan" && !stage && html`<button type="button" onClick=${vary}>Six variations</button>
      <button type="button" onClick=${() => many("grid")}>Grid</button><button type="button" onClick=${() => many("video")}>Video</button>`}
    <${FilePicker} onFiles=${takeSource} label="Choose another photo">New photo<//>
    ${made && html`<span class="muted made">${made.seconds.toFixed(1)} s by ${made.job.model}</span>`}
  </div>`;
}

const Slider = ({ label, name, min, max, step = 0.05, value, ends }) => html`<label class="field">${label}
  <input type="range" min=${min} max=${max} step=${step} value=${value} onChange=${(event) => change({ [name]: Number(event.target.value) })} />
  ${ends && html`<span class="row spread">${ends.map((end) => html`<span key=${end}>${end}</span>`)}</span>`}</label>`;

function Styles({ styles, most }) {
  const set = (n, weight) => change({ styles: styles.map((style, m) => (m === n ? { ...style, weight } : style)) });
  const drop = (n) => change({ styles: styles.filter((_, m) => m !== n) });
  return html`<ul class="style-pictures">${styles.map(
    ({ file, weight }, n) => html`<li key=${address(file)}><img src=${address(file)} alt=${file.name} />
      ${styles.length > 1 && html`<input type="range" min="0.1" max="3" step="0.1" value=${weight} aria-label=${`How much of ${file.name}`} onChange=${(event) => set(n, Number(event.target.value))} />`}
      <button type="button" class="drop" onClick=${() => drop(n)} aria-label=${`Remove ${file.name}`}>×</button></li>`,
  )}</ul>
  ${(styles.length < most || most === 1) && html`<div><${FilePicker} onFiles=${takeStyles} multiple=${most > 1} label="Choose style pictures">${styles.length ? (most > 1 ? "Add another" : "Another picture") : "Choose a style picture"}<//></div>`}`;
}

function Example({ styles, strength, stroke, preserve_color }) {
  return html`<h2>Like</h2><${Styles} styles=${styles} most=${MOST_STYLES} />
    <${Slider} label="Strength" name="strength" min="0" max="1" value=${strength} ends=${["the photo's own", "all of it"]} />
    <${Slider} label="Strokes" name="stroke" min="0.5" max="2" step="0.25" value=${stroke} ends=${["fine", "coarse"]} />
    <label class="row"><input type="checkbox" checked=${preserve_color} onChange=${() => change({ preserve_color: !preserve_color })} /> Keep the photo's colours</label>`;
}

function Stargan({ models, model, domain, styles, seed, locked, psi, others }) {
  const chosen = models.find((one) => one.name === model) ?? models[0];
  const domains = chosen?.domains ?? [];
  return html`${models.length > 1 && html`<label class="field">Model<select value=${model} onChange=${(event) => change({ model: event.target.value, domain: "" })}>${models.map((one) => html`<option key=${one.name}>${one.name}</option>`)}</select></label>`}
    <h2>Into</h2>
    <${Choice} label="Domain" value=${domain || domains[0]} options=${domains.map((one) => [one, one])} onChange=${(one) => change({ domain: one })} />
    <${Choice} label="Style" value=${seed === null ? "reference" : "seed"} options=${[["seed", "A random style"], ["reference", "That of a picture"]]} onChange=${(one) => change({ seed: one === "seed" ? drawn() : null })} />
    ${seed === null
      ? html`<${Styles} styles=${styles.slice(0, 1)} most=${1} />`
      : html`<div class="row"><label class="field grow">Seed<input type="number" min="0" value=${seed} onChange=${(event) => change({ seed: Number(event.target.value) })} /></label>
            <button type="button" disabled=${locked} onClick=${() => change({ seed: drawn() })}>Roll the dice</button>
            <label class="row"><input type="checkbox" checked=${locked} onChange=${() => store.set({ locked: !locked })} /> Lock</label></div>
          <${Slider} label="psi: how far from the domain's mean style" name="psi" min="0" max="1" value=${psi} ends=${["typical", "daring"]} />`}
    <details><summary>Grid and video</summary><p class="muted">Of the photo and up to ${GRID.sources - 1} others, in ${GRID.seeds} styles.</p>
      <div class="row"><${FilePicker} onFiles=${(files) => store.set({ others: files.slice(0, GRID.sources - 1) })} multiple label="Choose other photos">Other photos<//><span class="muted">${others.length || ""}</span></div></details>`;
}
