// What can be done with the picture on the stage.

import { html } from "../../vendor/preact-htm.js";
import { ResultActions } from "../../parts/result_actions.js";
import { FilePicker } from "../../parts/widgets.js";
import { acceptFiles, compareModels, paint, startFrom } from "./orders.js";
import { hasCamera, openCamera } from "./stage.js";

const showFullScreen = () => document.querySelector(".stage").requestFullscreen();

export const Actions = ({ file, entry, stage }) => html`
  <div class="row actions">
    ${entry &&
    html`
      <${ResultActions} name=${entry.name} outcome=${entry} />
      <button type="button" onClick=${() => startFrom(entry)}>Use as input</button>
      <button type="button" onClick=${showFullScreen} class="wide-only">Full screen</button>`}
    ${!stage && html`<button type="button" onClick=${compareModels}>All models</button>`}
    <${FilePicker} onFiles=${acceptFiles} multiple label="Choose other photos">New photo<//>
    ${hasCamera && html`<button type="button" onClick=${openCamera}>Camera</button>`}
    ${!stage && !entry && html`<button type="button" class="primary" onClick=${paint}>Paint ${file.name}</button>`}
    ${entry && html`<span class="muted outcome">${entry.seconds.toFixed(1)} s by ${entry.job.model}</span>`}
  </div>`;
