// What a grid or a video is made of: its photos along one side, its styles along the other.

import { html } from "../../vendor/preact-htm.js";
import { Calls } from "../../parts/calls.js";
import { address } from "../../parts/pictures.js";
import { plural } from "../../parts/units.js";
import { FilePicker, Range } from "../../parts/widgets.js";
import { acceptOthers } from "./orders.js";
import { MOST, drawnSeed, severalCall, store } from "./state.js";

export function Builder(state) {
  const { source, others, seed, styles } = state;
  const call = severalCall("grid", state);
  return html`
    <details data-drop="others">
      <summary>Grid and video</summary>
      <div class="builder">
        <h3>${plural((source ? 1 : 0) + others.length, "photo")}</h3>
        <${Photos} source=${source} others=${others} />
        <h3>${plural(seed === null ? styles.length : state.seeds.length + 1, "style")}</h3>
        ${seed === null
          ? html`<p class="muted">Those of the pictures above. A video takes at least two.</p>`
          : html`<${Seeds} ...${state} />`}
        <p class="muted">
          A grid takes up to ${MOST.grid.sources} photos, a video the first ${MOST.video.sources}; both up to${" "}
          ${MOST.grid.styles} styles.
        </p>
        ${call && html`<${Calls} call=${call} title="Call the grid from a program" />`}
      </div>
    </details>`;
}

function Photos({ source, others }) {
  const remove = (file) => store.set({ others: others.filter((one) => one !== file) });
  return html`
    <ul class="strip thumbnails" aria-label="Photos of the grid">
      ${source && html`<li><img src=${address(source)} alt=${`${source.name}, the photo on the stage`} /></li>`}
      ${others.map(
        (file) => html`
          <li key=${address(file)}>
            <img src=${address(file)} alt=${file.name} />
            <button type="button" class="drop" aria-label=${`Remove ${file.name}`} onClick=${() => remove(file)}>
              ×
            </button>
          </li>`,
      )}
    </ul>
    ${others.length < MOST.grid.sources - 1 &&
    html`<div><${FilePicker} onFiles=${acceptOthers} multiple label="Choose other photos">Add photos<//></div>`}`;
}

// The style on the stage, and others that are drawn.
function Seeds({ seed, seeds }) {
  const setCount = (count) =>
    store.set({ seeds: Array.from({ length: count - 1 }, (_, n) => seeds[n] ?? drawnSeed()) });
  return html`
    <label class="field">
      How many styles
      <${Range} min="2" max=${MOST.grid.styles} value=${seeds.length + 1} onCommit=${setCount} />
    </label>
    <p class="muted">Seeds: ${[seed, ...seeds].join(", ")}</p>
    <div>
      <button type="button" class="small" onClick=${() => store.set({ seeds: seeds.map(drawnSeed) })}>
        Draw other styles
      </button>
    </div>`;
}
