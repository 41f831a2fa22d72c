// The strip of pictures that were made before.

import { html } from "../../vendor/preact-htm.js";
import { address } from "../../parts/pictures.js";
import { forget, forgetAll } from "./keeping.js";
import { showEntry } from "./orders.js";

export function Past({ past, entry }) {
  if (!past.length) return null;
  const deleteAll = () => confirm(`Delete these ${past.length} pictures from this browser?`) && forgetAll();
  return html`
    <section class="past" aria-label="History">
      <div class="row spread">
        <h2>Earlier <span class="muted">kept in this browser only</span></h2>
        <button type="button" class="small" onClick=${deleteAll}>Delete all</button>
      </div>
      <ul class="strip">
        ${past.map((old) => html`<${Old} key=${old.id} old=${old} shown=${old.at === entry?.at} />`)}
      </ul>
    </section>`;
}

function Old({ old, shown }) {
  const name = `${old.name} by ${old.job.model}`;
  return html`
    <li>
      <button
        type="button" class="picture" aria-current=${shown ? "true" : null} aria-label=${name} title=${name}
        onClick=${() => showEntry(old)}
      >
        <img src=${address(old.result)} alt="" loading="lazy" />
      </button>
      <button type="button" class="drop" onClick=${() => forget(old)} aria-label=${`Delete ${old.name}`}>×</button>
    </li>`;
}
