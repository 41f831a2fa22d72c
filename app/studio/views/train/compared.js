// Several runs over one another, live: a curve of each, and what each makes of the same inputs at one step.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { Outcome } from "../../parts/attempt.js";
import { Choice } from "../../parts/widgets.js";
import { Chart } from "./chart.js";
import { Samples } from "./samples.js";
import { lossesOf, useRun } from "./watch.js";

const label = (run) => `${run.dataset} ${run.id.slice(0, 8)}`;

export function Compared({ ids }) {
  const [watched, setWatched] = useState({}); // by id: { run, records }
  const [chosenLoss, chooseLoss] = useState("");
  const [place, setPlace] = useState(1); // 0 to 1, of all steps that have samples
  const onState = (id, state) => setWatched((known) => ({ ...known, [id]: state }));
  const found = ids.map((id) => watched[id]).filter((one) => one?.run);
  const names = [...new Set(found.flatMap(({ records }) => lossesOf(records).map((one) => one.name)))];
  const loss = chosenLoss || names[0];
  const curveOf = ({ run, records }) => ({
    name: label(run),
    points: records.map((record) => [record.step, record[loss]]),
  });
  const steps = [...new Set(found.flatMap(({ run }) => run.samples))].sort((a, b) => a - b);
  const n = Math.round(place * (steps.length - 1));
  return html`
    <div class="page">
      ${ids.map((id) => html`<${Watched} key=${id} id=${id} onState=${onState} />`)}
      <p><a href="#train">All runs</a></p>
      <h1>Compare ${ids.length} runs</h1>
      ${names.length > 0 &&
      html`
        <${Choice} label="Loss" value=${loss} onChange=${chooseLoss} options=${names.map((one) => [one, one])} />
        <${Chart} label=${loss} series=${found.map(curveOf)} />`}
      ${steps.length > 1 &&
      html`
        <div class="row">
          <label class="row grow">
            <span>Samples up to</span>
            <input
              type="range" min="0" max=${steps.length - 1} value=${n}
              aria-label="Step of all samples" aria-valuetext=${`step ${steps[n]}`}
              onInput=${(event) => setPlace(Number(event.target.value) / (steps.length - 1))}
            />
          </label>
          <output>step ${steps[n]}</output>
        </div>`}
      ${found.map(
        ({ run }) => html`
          <section key=${run.id}>
            <h2><a href=${`#train/${run.id}`}>${label(run)}</a> <span class="muted">${run.status}</span></h2>
            <${Samples} run=${run} upTo=${steps[n]} name=${label(run)} />
          </section>`,
      )}
    </div>`;
}

// Follows one run for the comparison. Several event streams would use up the connections that a browser allows.
function Watched({ id, onState }) {
  const { run, records, error, waiting } = useRun(id, { live: false });
  useEffect(() => onState(id, { run, records }), [run, records]);
  return html`<${Outcome} error=${error && `${id}: ${error.message}`} waiting=${waiting} />`;
}
