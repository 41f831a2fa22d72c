// What the photo is to become: the model, its domain, the size.

import { html, useEffect, useRef } from "../../vendor/preact-htm.js";
import { badge, choices, sampleOf, title } from "../../parts/catalog.js";
import { ServerPicture } from "../../parts/server_files.js";
import { Choice } from "../../parts/widgets.js";
import { change } from "./orders.js";
import { DEFAULTS } from "./state.js";

const SIZES = [["256", "256 px"], ["", "512 px"], ["1024", "1024 px"], ["native", "As uploaded"]];
const MOST_WIDE = 6; // more models are shown as small cards without their descriptions

export function Into({ models, problem, settings }) {
  const ready = models && choices(models).sort((a, b) => (b.name === DEFAULTS.model) - (a.name === DEFAULTS.model));
  const domains = models?.find((model) => model.name === settings.model)?.domains ?? [];
  const notFetched = models && models.filter((model) => !model.runs_as).length;
  return html`
    <section class="into" aria-label="Model">
      <h2>Into</h2>
      ${!models && html`<p class="muted">${problem || "Asking the server…"}</p>`}
      ${models && !ready.length && html`<p>No model is ready. <a href="#models">Fetch one</a></p>`}
      <div class=${`cards ${ready?.length > MOST_WIDE ? "small-cards" : ""}`} role="radiogroup" aria-label="Model">
        ${ready?.map(
          (model) => html`
            <${Card} key=${model.name} model=${model} models=${models} checked=${model.name === settings.model} />`,
        )}
      </div>
      ${domains.length > 0 &&
      html`
        <${Choice}
          label="Domain" value=${settings.domain || domains[0]} onChange=${(domain) => change({ domain })}
          options=${domains.map((domain) => [domain, domain])}
        />`}
      <label class="field">
        Size
        <select value=${settings.resolution} onChange=${(event) => change({ resolution: event.target.value })}>
          ${SIZES.map(
            ([value, label]) => html`
              <option key=${value} value=${value} selected=${value === settings.resolution}>${label}</option>`,
          )}
        </select>
      </label>
      ${notFetched > 0 &&
      html`<p class="muted">
        <a href="#models">${notFetched} more model${notFetched > 1 ? "s" : ""}</a> can be fetched.
      </p>`}
    </section>`;
}

// Among many cards, the chosen one is in sight, also when the address or the history chose it.
function reveal(card) {
  const list = card.querySelector(":checked") && card.parentNode;
  if (!list) return;
  const [own, seen] = [card, list].map((element) => element.getBoundingClientRect());
  const inSight = own.top >= seen.top && own.bottom <= seen.bottom && own.left >= seen.left && own.right <= seen.right;
  if (inSight) return;
  list.scrollTo({ top: card.offsetTop - list.offsetTop - 20, left: card.offsetLeft - list.offsetLeft - 20 });
}

function Card({ model, models, checked }) {
  const card = useRef(null);
  useEffect(() => reveal(card.current), [checked]);
  const sample = sampleOf(model, models);
  const mark = badge(model);
  const choose = () => change({ model: model.name });
  return html`
    <label class="card" ref=${card}>
      <input type="radio" name="model" value=${model.name} checked=${checked} onChange=${choose} />
      ${sample
        ? html`<${ServerPicture} src=${sample} alt="" loading="lazy" />`
        : html`<span class="blank" aria-hidden="true"></span>`}
      <span class="name">${title(model)}${mark && html` <span class="badge">${mark}</span>`}</span>
      <span class="about">${model.description}</span>
    </label>`;
}
