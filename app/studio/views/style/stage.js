// The stage of Style: what is painted, what becomes of it, and what can be done with that.

import { html } from "../../vendor/preact-htm.js";
import { address, baseName, isClip, save } from "../../parts/pictures.js";
import { ResultActions } from "../../parts/result_actions.js";
import { BeforeAfter } from "../../parts/slider.js";
import { FilePicker } from "../../parts/widgets.js";
import { Working } from "../../parts/working.js";
import { acceptSource, cancel, change, makeSeveral, paint, vary } from "./orders.js";
import { callOf, severalCall, store } from "./state.js";

const SOURCES = "image/*,video/*";

export function Stage({ source, result, stage }) {
  if (result && !stage) return html`<div class="stage"><${Result} ...${result} /></div>`;
  if (!source) return html`<${Empty} />`;
  const shown = isClip(source)
    ? html`<video class="whole" src=${address(source)} controls muted playsinline aria-label=${source.name}></video>`
    : html`<img class=${`whole ${stage ? "waiting" : ""}`} src=${address(source)} alt=${source.name} />`;
  return html`
    <div class="stage">${shown}${stage && html`<${Working} stage=${stage} onCancel=${cancel} />`}</div>`;
}

function Result({ film, picture, source, width, height }) {
  if (film) return html`<video class="whole" src=${address(film)} controls autoplay loop muted playsinline></video>`;
  if (!source)
    return html`<img class="whole" style=${{ "--aspect": width / height }} src=${address(picture)} alt="The grid" />`;
  const pictures = { before: address(source), after: address(picture) };
  return html`<${BeforeAfter} ...${pictures} width=${width} height=${height} label="Result" />`;
}

const Empty = () => html`
  <div class="stage empty">
    <p class="lead">Drop a photo or a clip</p>
    <p class="muted">then a picture whose style it is to take.</p>
    <div>
      <${FilePicker} onFiles=${acceptSource} accept=${SOURCES} className="primary" label="Choose the photo or the clip">
        Choose a photo or a clip
      <//>
    </div>
  </div>`;

export function Actions({ source, result, stage, mode }) {
  if (!source) return null;
  const idle = !stage;
  return html`
    <div class="row actions">
      ${result?.film && html`<${FilmActions} film=${result.film} name=${source.name} />`}
      ${result?.picture &&
      html`<${ResultActions} name=${source.name} outcome=${{ result: result.picture, job: result.job }} />`}
      ${idle && mode === "stargan" && !isClip(source) && html`<${StarganActions} />`}
      <${FilePicker} onFiles=${acceptSource} accept=${SOURCES} label="Choose another photo">New photo<//>
      ${idle && !result && callOf(store.get()) &&
      html`<button type="button" class="primary" onClick=${paint}>Paint ${source.name}</button>`}
      ${result && html`<span class="muted outcome">${result.seconds.toFixed(1)} s by ${result.job.model}</span>`}
    </div>`;
}

function FilmActions({ film, name }) {
  const download = () => save(film, `${baseName(name)}-styled.mp4`);
  return html`<button type="button" class="primary" onClick=${download}>Download</button>`;
}

function StarganActions() {
  const can = (kind) => severalCall(kind, store.get());
  const make = (kind, label) => html`
    <button type="button" disabled=${!can(kind)} onClick=${() => makeSeveral(kind)}>${label}</button>`;
  return html`
    <button type="button" onClick=${vary}>Six variations</button>
    ${make("grid", "Grid")}${make("video", "Video")}`;
}

export const Variations = ({ variations, seed: shown }) => html`
  <ul class="strip" aria-label="Variations">
    ${variations.map(
      ({ seed, result }) => html`
        <li key=${seed}>
          <button
            type="button" class="picture variation" disabled=${!result} aria-label=${`Seed ${seed}`}
            aria-current=${seed === shown ? "true" : null} onClick=${() => change({ seed })}
          >
            ${result && html`<img src=${address(result)} alt="" />`}
          </button>
        </li>`,
    )}
  </ul>`;
