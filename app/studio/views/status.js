// Status: the processes, the queues, memory and disk, and the newest jobs. It refreshes by itself.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { json } from "../api.js";
import { duration, megabytes } from "../parts/units.js";
import { Tile, Trouble } from "../parts/widgets.js";
import { server } from "../state.js";
import { useStore } from "../store.js";

const QUEUES = { pictures: "Pictures", uploads: "Uploads", fetches: "Fetches", training: "Training" };
const JOBS = 12;
const JOBS_EVERY_MS = 15_000;
const ago = (seconds) => (seconds < 2 ? "now" : `${duration(seconds)} ago`);

// This browser's newest jobs.
function useJobs() {
  const [jobs, setJobs] = useState([]);
  useEffect(() => {
    const load = () => {
      if (!document.hidden) json(`jobs?limit=${JOBS}`).then(setJobs, () => {}); // the next one may succeed
    };
    load();
    const timer = setInterval(load, JOBS_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return jobs;
}

export function View() {
  const { status, lost, problem } = useStore(server);
  const jobs = useJobs();
  if (!status)
    return html`
      <div class="page">
        <h1>Status</h1>
        <p class="muted">${lost ? "The server can't be reached." : problem || "Asking the server…"}</p>
      </div>`;
  return html`
    <div class="page">
      <h1>Status <span class="muted">Doppel ${status.version}</span></h1>
      <${Trouble} error=${problem} />
      <${Tiles} status=${status} />
      <${Processes} status=${status} />
      <${RunLinks} runs=${[...status.runs_running, ...status.runs_queued]} />
      <${Jobs} jobs=${jobs} />
    </div>`;
}

function Tiles({ status: { ready, offline, queues, queue_limit, machine, disk } }) {
  const oldest = queues.pictures.oldest_waiting_s;
  const waited = oldest === null ? `of ${queue_limit} at most` : `the oldest for ${duration(oldest)}`;
  const redisLimit = queues.redis_limit_mb ? `of ${megabytes(queues.redis_limit_mb)}` : "no limit";
  return html`
    <div class="tiles">
      <${Tile}
        name="Service" value=${ready ? "Ready" : "Not ready"} good=${ready}
        more=${offline ? "offline: downloads nothing" : ""}
      />
      <${Tile} name="Waiting" value=${queues.pictures.waiting} more=${waited} />
      <${Tile}
        name="Memory free" value=${megabytes(machine.memory_free_mb)} more=${`of ${megabytes(machine.memory_mb)}`}
      />
      <${Tile} name="Disk free" value=${megabytes(disk.free_mb)} more=${`of ${megabytes(disk.total_mb)}`} />
      <${Tile} name="Load" value=${machine.load.toFixed(1)} more=${`on ${machine.cores} cores`} />
      <${Tile} name="Queue's memory" value=${megabytes(queues.redis_used_mb)} more=${redisLimit} />
    </div>`;
}

const Processes = ({ status: { workers, queues, trainers, preparers } }) => html`
  <${Table}
    title="Workers" head=${["Name", "Device", "Memory", "Last seen", "Models in memory"]}
    none="No worker is alive. Start one with: doppel worker"
    rows=${workers.map(({ name, device, memory_mb, seen_s, loaded }) => [
      name, device, megabytes(memory_mb), ago(seen_s), loaded.join(", ") || "none yet",
    ])}
  />
  <${Table}
    title="Queues" head=${["Queue", "Waiting", "Running", "Oldest has waited"]}
    rows=${Object.entries(QUEUES)
      .filter(([key]) => queues[key])
      .map(([key, name]) => [name, queues[key].waiting, queues[key].running, duration(queues[key].oldest_waiting_s)])}
  />
  <${Table}
    title="Trainers" head=${["Name", "Cores", "Memory", "GPUs", "Last seen"]}
    none="No trainer is alive, so no run can start. Start one with: doppel trainer"
    rows=${trainers.map(({ name, cores, memory_mb, gpu_memory_mb, seen_s }) => [
      name, cores, megabytes(memory_mb), gpu_memory_mb.map(megabytes).join(", ") || "none", ago(seen_s),
    ])}
  />
  <${Table}
    title="Preparers" head=${["Name", "Host", "Queue", "torch", "Last seen"]}
    none="No preparer is alive, so uploads and downloads wait. Start one with: doppel preparer"
    rows=${preparers.map(({ name, host, queue, torch, seen_s }) => [
      name, host, queue, torch ? "installed" : "not installed", ago(seen_s),
    ])}
  />`;

const RunLinks = ({ runs }) =>
  runs.length > 0 &&
  html`<p>Training: ${runs.map((run) => html`<a key=${run} href=${`#train/${run}`}>${run}</a>${" "}`)}</p>`;

function Jobs({ jobs }) {
  const took = ({ created_at, finished_at }) =>
    finished_at ? duration((new Date(finished_at) - new Date(created_at)) / 1000) : "–";
  const rows = jobs.map((job) => [
    new Date(job.created_at).toLocaleTimeString(),
    job.kind,
    job.model || job.dataset,
    job.error ? job.error.detail : job.status,
    took(job),
  ]);
  const head = ["When", "What", "Model", "Status", "Took"];
  return html`
    <${Table} title="Your newest jobs" head=${head} none="Nothing was asked for yet." rows=${rows} />`;
}

const Table = ({ title, head, rows, none }) => html`
  <section>
    <h2>${title}</h2>
    ${rows.length || !none
      ? html`
        <div class="scroll" tabindex="0" role="region" aria-label=${title}>
          <table>
            <thead><tr>${head.map((cell) => html`<th scope="col" key=${cell}>${cell}</th>`)}</tr></thead>
            <tbody>
              ${rows.map(
                (row, n) => html`<tr key=${n}>${row.map((cell, m) => html`<td key=${m}>${cell}</td>`)}</tr>`,
              )}
            </tbody>
          </table>
        </div>`
      : html`<p class="muted">${none}</p>`}
  </section>`;
