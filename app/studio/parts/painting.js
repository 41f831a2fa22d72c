// One order of the API from its fields to its picture: sent, queued, run, fetched, every stage told.

import { blob, upload } from "../api.js";
import { completed, ended } from "../jobs.js";
import { randomName } from "../key.js";
import { patiently } from "../retrying.js";
import { prepared } from "./pictures.js";

const PICTURES = ["image", "reference", "style", "sources", "references"]; // fields that hold some

// Send the fields to a call that makes a picture or a video. onStage({ stage, ... }): uploading (share), queued
// (position), running (progress), waiting (why). Returns { result, job, seconds }. Aborting the signal cancels the job
// on the server, too.
export async function order(path, fields, { onStage, signal, type = "image/png" }) {
  const begun = performance.now();
  signal.throwIfAborted();
  const onWait = (why) => onStage({ stage: "waiting", why });
  const onState = (job) => !ended(job) && onStage({ stage: job.status, ...job });
  const onSent = (share) => onStage({ stage: "uploading", share });
  const sent = { ...(await shrunk(fields)), wait: "0" };
  const once = randomName(); // an upload whose answer was lost is sent again, and must not be painted twice
  const begin = () => {
    onSent(0);
    return upload(path, sent, { onSent, signal, once });
  };
  const job = await patiently(begin, { signal, onWait });
  onState(job);
  const last = await completed(job, { signal, onState, onWait });
  const result = await patiently(() => picture(last, type, signal), { signal, onWait });
  return { result, job: last, seconds: (performance.now() - begun) / 1000 };
}

export const picture = (job, type, signal) => blob(`jobs/${job.id}/image`, { headers: { Accept: type }, signal });

// Pictures travel no larger than they are needed.
async function shrunk(fields) {
  const sent = { ...fields };
  const shrink = (file) => prepared(file, fields.resolution);
  for (const name of PICTURES.filter((one) => fields[one])) {
    sent[name] = await (Array.isArray(fields[name]) ? Promise.all(fields[name].map(shrink)) : shrink(fields[name]));
  }
  return sent;
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
