// Status: the processes, the queues, memory and disk, and the newest jobs. It refreshes by itself.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { json } from "../api.js";
import { server, useStore } from "../state.js";
import { duration, megabytes } from "../parts/widgets.js";

const QUEUES = [["pictures", "Pictures"], ["uploads", "Uploads"], ["training", "Training"]];
const JOBS = 12;
const JOBS_EVERY_MS = 15_000;

export function View() {
  const { status, lost, problem } = useStore(server);
  const [jobs, setJobs] = useState([]);
  useEffect(() => {
    const load = () => document.hidden || json(`jobs?limit=${JOBS}`).then(setJobs, () => {});
    load();
    const timer = setInterval(load, JOBS_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  if (!status) return html`<div class="page"><h1>Status</h1><p class="muted">${lost ? "The server can't be reached." : problem || "Asking the server…"}</p></div>`;
  const { machine, disk, queues } = status;
  return html`<div class="page">
    <h1>Status <span class="muted">Doppel ${status.version}</span></h1>
    ${problem && html`<p class="trouble" role="alert">${problem}</p>`}
    <div class="tiles">
      <${Tile} name="Service" value=${status.ready ? "Ready" : "Not ready"} more=${status.offline ? "offline: downloads nothing" : ""} good=${status.ready} />
      <${Tile} name="Waiting" value=${queues.pictures.waiting} more=${queues.pictures.oldest_waiting_s === null ? `of ${status.queue_limit} at most` : `the oldest for ${duration(queues.pictures.oldest_waiting_s)}`} />
      <${Tile} name="Memory free" value=${megabytes(machine.memory_free_mb)} more=${`of ${megabytes(machine.memory_mb)}`} />
      <${Tile} name="Disk free" value=${megabytes(disk.free_mb)} more=${`of ${megabytes(disk.total_mb)}`} />
      <${Tile} name="Load" value=${machine.load.toFixed(1)} more=${`on ${machine.cores} cores`} />
      <${Tile} name="Queue's memory" value=${megabytes(queues.redis_used_mb)} more=${queues.redis_limit_mb ? `of ${megabytes(queues.redis_limit_mb)}` : "no limit"} />
    </div>
    <${Table} title="Workers" head=${["Name", "Device", "Memory", "Last seen", "Models in memory"]} none="No worker is alive. Start one with: doppel worker"
      rows=${status.workers.map((worker) => [worker.name, worker.device, megabytes(worker.memory_mb), `${duration(worker.seen_s)} ago`, worker.loaded.join(", ") || "none yet"])} />
    <${Table} title="Queues" head=${["Queue", "Waiting", "Running", "Oldest has waited"]}
      rows=${QUEUES.map(([key, name]) => [name, queues[key].waiting, queues[key].running, duration(queues[key].oldest_waiting_s)])} />
    <${Table} title="Trainers" head=${["Name", "Cores", "Memory", "GPUs"]} none="No trainer is alive, so no run can start."
      rows=${status.trainers.map((trainer) => [trainer.name, trainer.cores, megabytes(trainer.memory_mb), trainer.gpu_memory_mb.map(megabytes).join(", ") || "none"])} />
    <${Table} title="Preparers" head=${["Name", "Host", "Takes", "Torch"]} none="No preparer is alive, so nothing is taken in, fetched or sized."
      rows=${status.preparers.map((preparer) => [preparer.name, preparer.host, preparer.queue, preparer.torch ? "installed" : "not installed"])} />
    ${status.runs_running.length + status.runs_queued.length > 0 && html`<p>Training: ${[...status.runs_running, ...status.runs_queued].map((run) => html`<a key=${run} href=${`#train/${run}`}>${run}</a> `)}</p>`}
    <${Table} title="Your newest jobs" head=${["When", "What", "Model", "Status", "Took"]} none="Nothing was asked for yet."
      rows=${jobs.map((job) => [new Date(job.created_at).toLocaleTimeString(), job.kind, job.model || job.dataset, job.error ? job.error.detail : job.status, job.finished_at ? duration((new Date(job.finished_at) - new Date(job.created_at)) / 1000) : "–"])} />
  </div>`;
}

const Tile = ({ name, value, more, good }) => html`<div class="tile" data-good=${good}><span class="muted">${name}</span><strong>${value}</strong><span class="muted">${more}</span></div>`;

const Table = ({ title, head, rows, none }) => html`<section>
  <h2>${title}</h2>
  ${rows.length || !none
    ? html`<div class="scroll" tabindex="0" role="region" aria-label=${title}><table><thead><tr>${head.map((cell) => html`<th scope="col" key=${cell}>${cell}</th>`)}</tr></thead>
        <tbody>${rows.map((row, n) => html`<tr key=${n}>${row.map((cell, m) => html`<td key=${m}>${cell}</td>`)}</tr>`)}</tbody></table></div>`
    : html`<p class="muted">${none}</p>`}
</section>`;
