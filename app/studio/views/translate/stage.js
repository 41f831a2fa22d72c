// The stage of Translate: an invitation, the camera, the photo while it is painted, or before and after.

import { html } from "../../vendor/preact-htm.js";
import { Camera } from "../../parts/camera.js";
import { address } from "../../parts/pictures.js";
import { ServerPicture } from "../../parts/server_files.js";
import { BeforeAfter } from "../../parts/slider.js";
import { FilePicker } from "../../parts/widgets.js";
import { Working } from "../../parts/working.js";
import { acceptFiles, cancel, leave, trySample } from "./orders.js";
import { store } from "./state.js";

export const hasCamera = Boolean(navigator.mediaDevices);

export function openCamera() {
  leave();
  store.set({ camera: true });
}

const closeCamera = () => store.set({ camera: false });

// As large as the result will be.
const fit = ({ target }) => target.style.setProperty("--aspect", target.naturalWidth / target.naturalHeight);

// sample: a picture of what the chosen model makes.
export function Stage({ file, stage, entry, camera, sample }) {
  if (camera) return html`<${Camera} onPhoto=${(photo) => acceptFiles([photo])} onClose=${closeCamera} />`;
  if (!file) return html`<${Empty} sample=${sample} />`;
  if (entry) {
    const { source, result, width, height, name } = entry;
    const pictures = { before: address(source), after: address(result) };
    return html`
      <div class="stage"><${BeforeAfter} ...${pictures} width=${width} height=${height} label=${name} /></div>`;
  }
  return html`
    <div class="stage">
      <img class=${`whole ${stage ? "waiting" : ""}`} src=${address(file)} alt=${file.name} onLoad=${fit} />
      ${stage && html`<${Working} stage=${stage} onCancel=${cancel} />`}
    </div>`;
}

const Empty = ({ sample }) => html`
  <div class="stage empty">
    <svg viewBox="0 0 48 48" width="56" height="56" aria-hidden="true">
      <rect x="5" y="9" width="38" height="30" rx="4" />
      <circle cx="16" cy="19" r="3.5" />
      <path d="m6 35 11-10 7 6 9-11 10 11" />
    </svg>
    <p class="lead">Drop a photo anywhere</p>
    <p class="muted">or paste one. It is painted at once. Several photos make a contact sheet.</p>
    <div class="row center">
      <${FilePicker} onFiles=${acceptFiles} multiple className="primary" label="Choose photos">Choose a photo<//>
      ${hasCamera && html`<button type="button" onClick=${openCamera}>Camera</button>`}
    </div>
    ${sample &&
    html`
      <button type="button" class="picture try" onClick=${trySample}>
        <${ServerPicture} src=${sample} alt="" />
        <span>or try it with this one</span>
      </button>`}
  </div>`;
