// What can be done with a picture that was made: download it in three formats, copy it, share it.

import { html } from "../vendor/preact-htm.js";
import { picture } from "./painting.js";
import { FORMATS, baseName, converted, save } from "./pictures.js";
import { Doing } from "./widgets.js";

async function download({ name, result, job }, ending) {
  const type = FORMATS[ending];
  let file = result;
  // The server's own file says in its metadata that it was generated. The server keeps it for a while.
  if (type !== file.type) file = await picture(job, type).catch(() => converted(result, type));
  save(file, `${baseName(name)}-${job.model}.${ending}`);
}

const asFile = ({ name, result }) => new File([result], `${baseName(name)}.png`, { type: result.type });

const share = (made) => navigator.share({ files: [asFile(made)] }).catch(() => {}); // the person may change their mind

const copy = ({ result }) =>
  navigator.clipboard.write([new ClipboardItem({ "image/png": converted(result, "image/png") })]);

// made: { name of the photo, result, job }.
export const ResultActions = ({ made }) => html`
  <button type="button" class="primary" onClick=${() => download(made, "png")}>Download</button>
  <span class="joined">
    ${["jpg", "webp"].map(
      (ending) => html`
        <button
          type="button" key=${ending} aria-label=${`Download as ${ending}`} onClick=${() => download(made, ending)}
        >
          ${ending.toUpperCase()}
        </button>`,
    )}
  </span>
  ${navigator.clipboard?.write && html`<${Doing} act=${() => copy(made)} done="Copied">Copy<//>`}
  ${navigator.canShare?.({ files: [asFile(made)] }) &&
  html`<button type="button" onClick=${() => share(made)}>Share</button>`}`;
