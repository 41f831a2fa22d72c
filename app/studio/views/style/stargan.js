// The form for a StarGAN: its domain, and a style that is random or that of a picture.

import { html } from "../../vendor/preact-htm.js";
import { Choice, TextField } from "../../parts/widgets.js";
import { Builder } from "./builder.js";
import { Setting, StylePictures } from "./example.js";
import { change } from "./orders.js";
import { MOST, chosenStargan, drawnSeed, stargans, store } from "./state.js";

const STYLES = [["seed", "A random style"], ["reference", "That of a picture"]];

export function Stargan(state) {
  const { domain, seed } = state;
  const models = stargans();
  const chosen = chosenStargan(state);
  const domains = chosen?.domains ?? [];
  const setStyle = (how) => change({ seed: how === "seed" ? drawnSeed() : null });
  return html`
    ${models.length > 1 && html`<${ModelField} models=${models} chosen=${chosen} />`}
    <h2>Into</h2>
    <${Choice}
      label="Domain" value=${domain || domains[0]} options=${domains.map((one) => [one, one])}
      onChange=${(one) => change({ domain: one })}
    />
    <${Choice} label="Style" value=${seed === null ? "reference" : "seed"} options=${STYLES} onChange=${setStyle} />
    ${seed === null ? html`<${References} ...${state} />` : html`<${Seed} ...${state} />`}
    <${Builder} ...${state} />`;
}

const ModelField = ({ models, chosen }) => html`
  <label class="field">
    Model
    <select value=${chosen.name} onChange=${(event) => change({ model: event.target.value, domain: "" })}>
      ${models.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select>
  </label>`;

// All of them are the styles of a grid or a video; one is that of the photo on the stage.
function References({ styles, picked }) {
  const used = styles.find(({ file }) => file === picked)?.file ?? styles.at(-1)?.file;
  const use = ({ file }) =>
    styles.length > 1 &&
    html`
      <button
        type="button" class="small" aria-pressed=${String(file === used)} onClick=${() => change({ picked: file })}
      >
        ${file === used ? "On the stage" : "Use"}
      </button>`;
  return html`<${StylePictures} styles=${styles} most=${MOST.grid.styles} under=${use} />`;
}

function Seed({ seed, locked, psi }) {
  const type = (event) => /^\d+$/.test(event.target.value) && change({ seed: Number(event.target.value) });
  return html`
    <div class="row">
      <div class="grow">
        <${TextField} key=${seed} label="Seed" type="number" min="0" value=${seed} onChange=${type} />
      </div>
      <button type="button" disabled=${locked} onClick=${() => change({ seed: drawnSeed() })}>Roll the dice</button>
      <label class="row">
        <input type="checkbox" checked=${locked} onChange=${() => store.set({ locked: !locked })} /> Lock
      </label>
    </div>
    <${Setting}
      label="psi: how far from the domain's mean style" name="psi" min="0" max="1" value=${psi}
      ends=${["typical", "daring"]}
    />`;
}
