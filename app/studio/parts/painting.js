// One order of the API from its fields to its picture: sent, queued, run, fetched, every stage told. Waits where it helps.

import { Problem, blob, ended, follow, pause, remove, upload } from "../api.js";
import { prepared } from "./pictures.js";

const MOST_PATIENCE_S = 30; // a server that asks for more is not waited for
const LOST_PAUSE_MS = 2000;
const LOST = "The connection is lost. Trying again…";

// settings: the fields of POST /translate, without the picture.
export async function paint(file, settings, hooks) {
  return order("translate", { image: await prepared(file, settings.resolution), ...settings }, hooks);
}

// path, fields: a call that makes a picture or a video. onStage({stage, ...}): uploading (share), queued (position),
// running (progress), waiting (why). Returns { result, job, seconds }. Aborting the signal cancels the job on the
// server, too.
export async function order(path, fields, { onStage, signal, type = "image/png" }) {
  const begun = performance.now();
  signal.throwIfAborted();
  const job = await patiently(() => begin(path, fields, onStage, signal), onStage, signal);
  const cancel = () => remove(`jobs/${job.id}`).catch(() => {}); // it may have ended
  if (signal.aborted) cancel();
  else signal.addEventListener("abort", cancel, { once: true });
  try {
    signal.throwIfAborted();
    const tell = (state) => !ended(state) && onStage({ stage: state.status, ...state });
    tell(job);
    const onLost = () => onStage({ stage: "waiting", why: LOST });
    const last = await follow(job, tell, { signal, onLost });
    if (last.status === "canceled") throw new DOMException("canceled", "AbortError");
    if (last.status === "failed") throw new Problem(last.error.detail, { status: 500, code: last.error.code });
    const result = await patiently(() => picture(last, type, signal), onStage, signal);
    return { result, job: last, seconds: (performance.now() - begun) / 1000 };
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

function begin(path, fields, onStage, signal) {
  onStage({ stage: "uploading", share: 0 });
  const onSent = (share) => onStage({ stage: "uploading", share });
  return upload(path, { ...fields, wait: "0" }, { onSent, signal });
}

export const picture = (job, type, signal) => blob(`jobs/${job.id}/image`, { headers: { Accept: type }, signal });

// Try again when the server says when, or when it can't be reached; whoever waits is told for how long.
async function patiently(attempt, onStage, signal) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const unwilling = error.status === 503 && !error.retryAfterS; // no worker, say: waiting doesn't help
      if (!error.passing || unwilling || error.retryAfterS > MOST_PATIENCE_S) throw error;
      if (!error.retryAfterS) {
        onStage({ stage: "waiting", why: error.status === 429 ? "The server asks to be called less often. Trying again…" : LOST });
        await pause(LOST_PAUSE_MS, signal);
      }
      for (let left = error.retryAfterS; left > 0; left--) {
        onStage({ stage: "waiting", why: `${error.message} Trying again in ${left} s.` });
        await pause(1000, signal);
      }
    }
  }
}

// What a stage is called.
export function words(stage) {
  switch (stage?.stage) {
    case "uploading":
      return stage.share > 0 && stage.share < 1 ? `Uploading ${Math.round(stage.share * 100)} %` : "Sending";
    case "queued":
      return stage.position > 0 ? `${stage.position} before you` : "Next in line";
    case "running":
      return stage.progress > 0 ? `Painting ${Math.round(stage.progress * 100)} %` : "Painting";
    case "waiting":
      return stage.why;
    default:
      return "";
  }
}
