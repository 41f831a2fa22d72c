// Many pictures at once: several photos through one model, or one photo through several models.

import { html } from "../vendor/preact-htm.js";
import { createStore, useStore } from "../state.js";
import { paint, words } from "./painting.js";
import { address, baseName, save } from "./pictures.js";
import { Doing, Trouble } from "./widgets.js";
import { unique, zipped } from "./zip.js";

const AT_ONCE = 2; // each holds a connection to the server, of which browsers allow six for all their tabs

// jobs: [{ file, settings, label }]. onDone(job, outcome) as each ends well. The sheet outlives the view that shows it.
export function createSheet(jobs, title, onDone) {
  const store = createStore({ items: jobs.map((job) => ({ ...job, stage: null, error: null, outcome: null })) });
  const canceled = new AbortController();
  const { signal } = canceled;
  const change = (n, what) => store.set(({ items }) => ({ items: items.map((item, m) => (m === n ? { ...item, ...what } : item)) }));
  const run = async (n) => {
    change(n, { error: null, stage: { stage: "uploading", share: 0 } });
    try {
      const outcome = await paint(jobs[n].file, jobs[n].settings, { signal, onStage: (stage) => change(n, { stage }) });
      change(n, { outcome, stage: null });
      await onDone(jobs[n], outcome);
    } catch (error) {
      if (error.name !== "AbortError") change(n, { error, stage: null });
    }
  };
  const left = jobs.map((_, n) => n);
  const lane = async () => {
    while (left.length && !signal.aborted) await run(left.shift());
  };
  for (let n = 0; n < AT_ONCE; n++) lane();
  return { store, title, run, cancel: () => canceled.abort() };
}

// onOpen(item): somebody wants to see one large.
export function Sheet({ sheet, onOpen, onClose }) {
  const { items } = useStore(sheet.store);
  const done = items.filter((item) => item.outcome);
  const saveAll = async () => {
    const taken = new Set();
    const name = (item) => unique(`${baseName(item.file.name)}-${item.outcome.job.model}.png`, taken);
    save(await zipped(done.map((item) => [name(item), item.outcome.result])), "doppel.zip");
  };
  const complete = done.length === items.length;
  return html`<section class="sheet" aria-label=${sheet.title}>
    <div class="row spread">
      <h2>${sheet.title} <span class="muted" role="status">${done.length} of ${items.length}</span></h2>
      <div class="row">
        <${Doing} disabled=${!done.length} act=${saveAll} done="Saved">Download ${complete ? "all" : "these"} as zip<//>
        <button type="button" onClick=${onClose}>${complete ? "Close" : "Cancel"}</button>
      </div>
    </div>
    <ul class="cells">
      ${items.map(
        (item, n) => html`<li key=${n}>
          <button type="button" class="picture" disabled=${!item.outcome} onClick=${() => onOpen(item)} aria-label=${`Open ${item.label}`}>
            <img src=${address(item.outcome?.result ?? item.file)} class=${item.outcome ? "" : "waiting"} alt="" />
          </button>
          <p><strong>${item.label}</strong> <span class="muted">${item.outcome ? `${item.outcome.seconds.toFixed(1)} s` : words(item.stage) || (item.error ? "" : "waits")}</span></p>
          <${Trouble} error=${item.error}><button type="button" class="small" onClick=${() => sheet.run(n)}>Try again</button><//>
        </li>`,
      )}
    </ul>
  </section>`;
}
