// Many pictures at once: several photos through one model, or one photo through several models.

import { html } from "../vendor/preact-htm.js";
import { isAbort } from "../api.js";
import { createStore, useStore } from "../store.js";
import { order, words } from "./painting.js";
import { address, baseName, save } from "./pictures.js";
import { ActionButton, Trouble } from "./widgets.js";
import { unique, zipped } from "./zip.js";

const AT_ONCE = 2; // each holds a connection to the server, of which browsers allow six for all their tabs

// requests: [{ file, label, call: [path, fields], settings }]. onDone(request, outcome) as each ends well. The sheet
// goes on while other views are shown.
export function createSheet(requests, title, onDone) {
  const waiting = requests.map((request) => ({ ...request, stage: null, error: null, outcome: null }));
  const store = createStore({ items: waiting });
  const canceled = new AbortController();
  const { signal } = canceled;
  const change = (n, what) =>
    store.set(({ items }) => ({ items: items.map((item, m) => (m === n ? { ...item, ...what } : item)) }));
  const run = async (n) => {
    change(n, { error: null, stage: { stage: "uploading", share: 0 } });
    try {
      const outcome = await order(...requests[n].call, { signal, onStage: (stage) => change(n, { stage }) });
      change(n, { outcome, stage: null });
      await onDone(requests[n], outcome);
    } catch (error) {
      if (!isAbort(error)) change(n, { error, stage: null });
    }
  };
  const left = requests.map((_, n) => n);
  const lane = async () => {
    while (left.length && !signal.aborted) await run(left.shift());
  };
  for (let n = 0; n < AT_ONCE; n++) lane();
  return { store, title, run, cancel: () => canceled.abort() };
}

async function saveAll(items) {
  const taken = new Set();
  const name = (item) => unique(`${baseName(item.file.name)}-${item.outcome.job.model}.png`, taken);
  save(await zipped(items.map((item) => [name(item), item.outcome.result])), "doppel.zip");
}

// onOpen(item): somebody wants to see one large.
export function Sheet({ sheet, onOpen, onClose }) {
  const { items } = useStore(sheet.store);
  const done = items.filter((item) => item.outcome);
  const complete = done.length === items.length;
  return html`
    <section class="sheet" aria-label=${sheet.title}>
      <div class="row spread">
        <h2>${sheet.title} <span class="muted" role="status">${done.length} of ${items.length}</span></h2>
        <div class="row">
          <${ActionButton} disabled=${!done.length} act=${() => saveAll(done)} done="Saved">
            Download ${complete ? "all" : "these"} as zip
          <//>
          <button type="button" onClick=${onClose}>${complete ? "Close" : "Cancel"}</button>
        </div>
      </div>
      <ul class="cells">
        ${items.map(
          (item, n) =>
            html`<${Cell} key=${n} item=${item} onOpen=${() => onOpen(item)} onRetry=${() => sheet.run(n)} />`,
        )}
      </ul>
    </section>`;
}

function Cell({ item, onOpen, onRetry }) {
  const { file, label, stage, error, outcome } = item;
  const state = outcome ? `${outcome.seconds.toFixed(1)} s` : words(stage) || (error ? "" : "waiting");
  return html`
    <li>
      <button type="button" class="picture" disabled=${!outcome} onClick=${onOpen} aria-label=${`Open ${label}`}>
        <img src=${address(outcome?.result ?? file)} class=${outcome ? "" : "waiting"} alt="" />
      </button>
      <p><strong>${label}</strong> <span class="muted">${state}</span></p>
      <${Trouble} error=${error}><button type="button" class="small" onClick=${onRetry}>Try again</button><//>
    </li>`;
}
