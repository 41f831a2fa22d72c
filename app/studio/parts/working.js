// What happens to an order now, for how long, and the way out.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { spoken } from "../retrying.js";
import { words } from "./painting.js";
import { Progress } from "./widgets.js";

// What a screen reader says: not every percent and second.
const SPOKEN = { uploading: "Sending", queued: "Waiting in the queue", running: "Being painted" };

export function Working({ stage, onCancel }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const begun = Date.now();
    const timer = setInterval(() => setSeconds(Math.round((Date.now() - begun) / 1000)), 500);
    return () => clearInterval(timer);
  }, []);
  return html`
    <div class="working">
      <div class="row spread">
        <span>${words(stage)}</span>
        <span class="unseen" role="status">${SPOKEN[stage.stage] ?? spoken(stage.why ?? "")}</span>
        <span class="muted" aria-hidden="true">${seconds ? `${seconds} s` : ""}</span>
        <button type="button" class="small" onClick=${onCancel}>Cancel</button>
      </div>
      <${Progress} share=${stage.stage === "uploading" ? stage.share : stage.progress} label="How far it is" />
    </div>`;
}
