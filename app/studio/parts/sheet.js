// Many pictures at once: several photos through one model, or one photo through several models.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { paint, words } from "./painting.js";
import { address, baseName, save } from "./pictures.js";
import { Trouble } from "./widgets.js";
import { unique, zipped } from "./zip.js";

const AT_ONCE = 4; // under way at a time; the server computes them one after the other anyway

// jobs: [{ file, settings, label }]. onOpen(job, outcome): somebody wants to see one large.
export function Sheet({ jobs, title, onOpen, onClose }) {
  const [items, setItems] = useState(() => jobs.map((job) => ({ ...job, stage: null, error: null, outcome: null })));
  const canceled = useRef(null);
  const change = (n, what) => setItems((old) => old.map((item, m) => (m === n ? { ...item, ...what } : item)));

  const run = async (n) => {
    const { file, settings } = jobs[n];
    change(n, { error: null, stage: { stage: "uploading", share: 0 } });
    try {
      const outcome = await paint(file, settings, { signal: canceled.current.signal, onStage: (stage) => change(n, { stage }) });
      change(n, { outcome, stage: null });
    } catch (error) {
      if (error.name !== "AbortError") change(n, { error, stage: null });
    }
  };
  useEffect(() => {
    canceled.current = new AbortController();
    const left = jobs.map((_, n) => n);
    const lane = async () => {
      while (left.length && !canceled.current.signal.aborted) await run(left.shift());
    };
    for (let n = 0; n < AT_ONCE; n++) lane();
    return () => canceled.current.abort();
  }, []);

  const done = items.filter((item) => item.outcome);
  const saveAll = async () => {
    const taken = new Set();
    const name = (item) => unique(`${baseName(item.file.name)}-${item.outcome.job.model}.png`, taken);
    save(await zipped(done.map((item) => [name(item), item.outcome.result])), "doppel.zip");
  };
  return html`<section class="sheet" aria-label=${title}>
    <div class="row spread">
      <h2>${title} <span class="muted" role="status">${done.length} of ${items.length}</span></h2>
      <div class="row">
        <button type="button" disabled=${!done.length} onClick=${saveAll}>Download ${done.length === items.length ? "all" : "these"} as zip</button>
        <button type="button" onClick=${onClose}>${done.length === items.length ? "Close" : "Cancel"}</button>
      </div>
    </div>
    <ul class="cells">
      ${items.map(
        (item, n) => html`<li key=${n}>
          <button type="button" class="picture" disabled=${!item.outcome} onClick=${() => onOpen(item, item.outcome)} aria-label=${`Open ${item.label}`}>
            <img src=${address(item.outcome?.result ?? item.file)} class=${item.outcome ? "" : "waiting"} alt="" />
          </button>
          <p><strong>${item.label}</strong> <span class="muted">${item.outcome ? `${item.outcome.seconds.toFixed(1)} s` : words(item.stage) || (item.error ? "" : "waits")}</span></p>
          <${Trouble} error=${item.error}><button type="button" class="small" onClick=${() => run(n)}>Try again</button><//>
        </li>`,
      )}
    </ul>
  </section>`;
}
