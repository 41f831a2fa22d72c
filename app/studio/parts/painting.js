// One picture through one model: sent, queued, painted, fetched, with every stage told. Waits where waiting helps.

import { Problem, blob, ended, follow, pause, remove, upload } from "../api.js";
import { prepared } from "./pictures.js";

const MOST_PATIENCE_S = 30; // a server that asks for more is not waited for
const LOST_PAUSE_MS = 2000;

// settings: the fields of POST /translate, without the picture. onStage({stage, ...}): uploading (share), queued
// (position), running (progress), waiting (seconds left, why). Returns { result, job, seconds }.
// Aborting the signal cancels the job on the server, too.
export async function paint(file, settings, { onStage, signal }) {
  const begun = performance.now();
  const image = await prepared(file, settings.resolution);
  const job = await patiently(() => begin(image, settings, onStage, signal), onStage, signal);
  const cancel = () => remove(`jobs/${job.id}`).catch(() => {}); // it may have ended
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const tell = (state) => !ended(state) && onStage({ stage: state.status, ...state });
    tell(job);
    const onLost = () => onStage({ stage: "waiting", why: "The connection is lost. Trying again…" });
    const last = await follow(job, tell, { signal, onLost });
    if (last.status === "canceled") throw new DOMException("canceled", "AbortError");
    if (last.status === "failed") throw new Problem(last.error.detail, { status: 500, title: last.error.title });
    const result = await patiently(() => picture(last, "image/png", signal), onStage, signal);
    return { result, job: last, seconds: (performance.now() - begun) / 1000 };
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

function begin(image, settings, onStage, signal) {
  onStage({ stage: "uploading", share: 0 });
  const onSent = (share) => onStage({ stage: "uploading", share });
  return upload("translate", { image, ...settings, wait: "0" }, { onSent, signal });
}

export const picture = (job, type, signal) => blob(`jobs/${job.id}/image`, { headers: { Accept: type }, signal });

// Try again when the server says when, or when it can't be reached; whoever waits is told for how long.
async function patiently(attempt, onStage, signal) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const seconds = error.status === 503 ? error.retryAfterS : 0;
      if (!error.lost && !(seconds && seconds <= MOST_PATIENCE_S)) throw error;
      if (error.lost) {
        onStage({ stage: "waiting", why: "The connection is lost. Trying again…" });
        await pause(LOST_PAUSE_MS, signal);
      }
      for (let left = seconds; left > 0; left--) {
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
