// The list of runs, page by page; ticked ones can be compared.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { page } from "../../api.js";
import { ended } from "../../jobs.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { ServerPicture } from "../../parts/server_files.js";
import { duration, plural } from "../../parts/units.js";
import { Progress } from "../../parts/widgets.js";
import { sheetPath } from "./samples.js";

const ON_A_PAGE = 20;
const BUSY_MS = 3000; // between two looks while a run goes on
const QUIET_MS = 15_000;

// The newest page is kept up to date. { newest: { items, next }, or null until it is read }
function useNewest() {
  const [newest, setNewest] = useState(null);
  useEffect(() => {
    let timer;
    const left = new AbortController();
    const load = async () => {
      clearTimeout(timer);
      if (document.hidden) return;
      const read = await page(`training?limit=${ON_A_PAGE}`, { signal: left.signal }).catch(() => null);
      if (left.signal.aborted) return;
      if (read) setNewest(read);
      timer = setTimeout(load, read?.items.every(ended) ? QUIET_MS : BUSY_MS);
    };
    document.addEventListener("visibilitychange", load, { signal: left.signal });
    load();
    return () => {
      left.abort();
      clearTimeout(timer);
    };
  }, []);
  return newest;
}

export function Runs() {
  const newest = useNewest();
  const [older, setOlder] = useState(null); // the pages after it that a person asked for, as one
  const [ticked, setTicked] = useState([]);
  const { attempt, busy, error, waiting } = useAttempt();
  const seen = new Set(newest?.items.map((run) => run.id));
  const runs = newest && [...newest.items, ...(older?.items ?? []).filter((run) => !seen.has(run.id))];
  const next = (older ?? newest)?.next;
  const more = () =>
    attempt(async ({ signal, patient }) => {
      const read = await patient(() => page(next, { signal }));
      setOlder({ items: [...(older?.items ?? []), ...read.items], next: read.next });
    });
  const tick = (id) => setTicked(ticked.includes(id) ? ticked.filter((one) => one !== id) : [...ticked, id]);
  return html`
    <div class="row spread">
      <h2>Runs</h2>
      ${ticked.length > 1 &&
      html`<a class="button small" href=${`#train/${ticked.join()}`}>Compare ${ticked.length} runs</a>`}
    </div>
    ${runs?.length === 0 && html`<p class="muted">No runs yet.</p>`}
    <ul class="runs">
      ${runs?.map(
        (run) => html`
          <${RunRow} key=${run.id} run=${run} isTicked=${ticked.includes(run.id)} onTick=${() => tick(run.id)} />`,
      )}
    </ul>
    <${Outcome} error=${error} waiting=${waiting} />
    ${next && html`<div><button type="button" disabled=${busy} onClick=${more}>Older runs</button></div>`}`;
}

function RunRow({ run, isTicked, onTick }) {
  const { id, dataset, family, status, step, total_steps, eta_s, alarms, samples, progress } = run;
  const isRunning = status === "running";
  const left = isRunning && eta_s ? ` · ${duration(eta_s)} left` : "";
  const stand = `step ${step}${total_steps ? ` of ${total_steps}` : ""}${left}`;
  return html`
    <li>
      <input type="checkbox" aria-label=${`Compare ${id}`} checked=${isTicked} onChange=${onTick} />
      <a href=${`#train/${id}`}>
        ${samples.length
          ? html`<${ServerPicture} src=${sheetPath(run, samples.at(-1))} alt="" loading="lazy" />`
          : html`<span class="blank"></span>`}
        <span>
          <strong>${dataset}</strong>${" "}
          <span class="muted">${family} · ${new Date(run.created_at).toLocaleString()}</span>
        </span>
        <span class="muted">${stand}</span>
      </a>
      ${alarms.length > 0 && html`<span class="badge alarm">${plural(alarms.length, "alarm")}</span>`}
      <span class="badge state" data-state=${status}>${status}</span>
      ${isRunning && html`<${Progress} share=${progress} label="Progress" />`}
    </li>`;
}
