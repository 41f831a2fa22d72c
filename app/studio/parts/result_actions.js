// What can be done with a picture that was made: download it in three formats, copy it, share it.

import { html } from "../vendor/preact-htm.js";
import { picture } from "./painting.js";
import { FORMATS, baseName, converted, save } from "./pictures.js";
import { ActionButton } from "./widgets.js";

async function download(name, { result, job }, ending) {
  const type = FORMATS[ending];
  let file = result;
  // The server's own file says in its metadata that it was generated. The server keeps it for a while.
  if (type !== file.type) file = await picture(job, type).catch(() => converted(result, type));
  save(file, `${baseName(name)}-${job.model}.${ending}`);
}

const share = (file) => navigator.share({ files: [file] }).catch(() => {}); // the person may change their mind

const copy = (picture) =>
  navigator.clipboard.write([new ClipboardItem({ "image/png": converted(picture, "image/png") })]);

// name: of the photo. outcome: { result, job }.
export function ResultActions({ name, outcome }) {
  const { result } = outcome;
  const file = new File([result], `${baseName(name)}.png`, { type: result.type });
  const saveAs = (ending) => download(name, outcome, ending);
  return html`
    <button type="button" class="primary" onClick=${() => saveAs("png")}>Download</button>
    <span class="joined">
      ${["jpg", "webp"].map(
        (ending) => html`
          <button type="button" key=${ending} aria-label=${`Download as ${ending}`} onClick=${() => saveAs(ending)}>
            ${ending.toUpperCase()}
          </button>`,
      )}
    </span>
    ${navigator.clipboard?.write && html`<${ActionButton} act=${() => copy(result)} done="Copied">Copy<//>`}
    ${navigator.canShare?.({ files: [file] }) &&
    html`<button type="button" onClick=${() => share(file)}>Share</button>`}`;
}
