// Jobs of the API: followed to their end.

import { Problem, aborted, events, remove } from "./api.js";
import { pause, waitOut } from "./retrying.js";

export const ended = (job) => !["queued", "running"].includes(job.status);

// Follow a job to its end, over lost connections too. onState(job) at every change; onWait(sentence) while the server
// is away. Returns the job.
export async function follow(job, { signal, onState = () => {}, onWait = () => {} }) {
  while (!ended(job)) {
    try {
      await events(`jobs/${job.id}/events`, (_, state) => onState((job = state)), { signal });
      if (!ended(job)) await pause(500, signal); // the server is ending
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing) throw error;
      await waitOut(error, { signal, onWait });
    }
  }
  return job;
}

// The same, for whoever ordered the job: it must succeed, and aborting the signal cancels it on the server, too.
export async function completed(job, { signal, ...hooks }) {
  const cancel = () => remove(`jobs/${job.id}`).catch(() => {}); // it may have ended
  if (signal.aborted) cancel();
  else signal.addEventListener("abort", cancel, { once: true });
  try {
    signal.throwIfAborted();
    const last = await follow(job, { signal, ...hooks });
    if (last.status === "canceled") throw aborted();
    if (last.error) throw new Problem(last.error.detail, { status: 500, code: last.error.code });
    return last;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}
