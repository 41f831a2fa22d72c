// What can be done with the picture on the stage.

import { html } from "../../vendor/preact-htm.js";
import { picture } from "../../parts/painting.js";
import { FORMATS, baseName, converted, save } from "../../parts/pictures.js";
import { Doing, FilePicker } from "../../parts/widgets.js";
import { acceptFiles, compareModels, paint, startFrom } from "./orders.js";
import { hasCamera, openCamera } from "./stage.js";

async function download(entry, ending) {
  const type = FORMATS[ending];
  let file = entry.result;
  // The server's own file says in its metadata that it was generated. The server keeps it for a while.
  if (type !== file.type) file = await picture(entry.job, type).catch(() => converted(entry.result, type));
  save(file, `${baseName(entry.name)}-${entry.job.model}.${ending}`);
}

function share({ name, result }) {
  const file = new File([result], `${baseName(name)}.png`, { type: result.type });
  navigator.share({ files: [file] }).catch(() => {}); // the person may change their mind
}

const copy = ({ result }) =>
  navigator.clipboard.write([new ClipboardItem({ "image/png": converted(result, "image/png") })]);

export const Actions = ({ file, entry, stage }) => html`
  <div class="row actions">
    ${entry && html`<${ResultActions} entry=${entry} file=${file} />`}
    ${!stage && html`<button type="button" onClick=${compareModels}>All models</button>`}
    <${FilePicker} onFiles=${acceptFiles} multiple label="Choose other photos">New photo<//>
    ${hasCamera && html`<button type="button" onClick=${openCamera}>Camera</button>`}
    ${!stage && !entry && html`<button type="button" class="primary" onClick=${paint}>Paint ${file.name}</button>`}
    ${entry && html`<span class="muted outcome">${entry.seconds.toFixed(1)} s by ${entry.job.model}</span>`}
  </div>`;

function ResultActions({ entry, file }) {
  const fullScreen = () => document.querySelector(".stage").requestFullscreen();
  return html`
    <button type="button" class="primary" onClick=${() => download(entry, "png")}>Download</button>
    <span class="joined">
      ${["jpg", "webp"].map(
        (ending) => html`
          <button
            type="button" key=${ending} aria-label=${`Download as ${ending}`} onClick=${() => download(entry, ending)}
          >
            ${ending.toUpperCase()}
          </button>`,
      )}
    </span>
    ${navigator.clipboard?.write && html`<${Doing} act=${() => copy(entry)} done="Copied">Copy<//>`}
    ${navigator.canShare?.({ files: [file] }) &&
    html`<button type="button" onClick=${() => share(entry)}>Share</button>`}
    <button type="button" onClick=${() => startFrom(entry)}>Use as input</button>
    <button type="button" onClick=${fullScreen} class="wide-only">Full screen</button>`;
}
