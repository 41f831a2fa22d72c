// One model, and what can be done with it.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { Problem, json, post, remove } from "../../api.js";
import { follow } from "../../jobs.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { FAMILIES, badge } from "../../parts/catalog.js";
import { DownloadLink, ServerPicture } from "../../parts/server_files.js";
import { fileSize, plural } from "../../parts/units.js";
import { Progress, Trouble } from "../../parts/widgets.js";
import { refreshModels } from "../../state.js";

// The job that fetches the model's weights, whoever began it, and what to call to begin it. Leaving the view ends the
// watching alone.
function useFetch(model, { attempt, busy }) {
  const [job, setJob] = useState(null);
  const watch = async (begin) => {
    await attempt(async ({ signal, patient }) => {
      const first = await patient(() => begin(signal));
      setJob(first);
      const last = await follow(first, { signal, onState: setJob });
      if (last.error) throw new Problem(last.error.detail);
    });
    setJob(null);
    await refreshModels();
  };
  useEffect(() => {
    if (model.fetch_job && !busy) watch((signal) => json(`jobs/${model.fetch_job}`, { signal }));
  }, [model.fetch_job]);
  return [job, () => watch((signal) => post(`models/${model.name}/fetch`, undefined, { signal }))];
}

export function Card({ model }) {
  const { name, description, domains, sample, why } = model;
  const work = useAttempt();
  const [fetching, begin] = useFetch(model, work);
  const mark = badge(model);
  return html`
    <li class="model" id=${`model-${name}`}>
      ${sample &&
      html`<${ServerPicture} class="sample" src=${sample} alt=${`A picture made by ${name}`} loading="lazy" />`}
      <div class="body">
        <h3>${name}${mark && html` <span class="badge">${mark}</span>`}</h3>
        <p>${description}</p>
        <${Facts} model=${model} />
        ${domains.length > 0 && html`<p class="muted">Domains: ${domains.join(", ")}</p>`}
        <${Licence} model=${model} />
        <${Trouble} error=${why && `It could not be fetched: ${why}.`} />
        <${Outcome} error=${work.error} waiting=${work.waiting} />
        ${fetching && html`<${Fetching} job=${fetching} />`}
        <${Actions} model=${model} work=${work} onFetch=${begin} />
      </div>
    </li>`;
}

function Facts({ model }) {
  const { family, image_size, weights_bytes, version, loaded_on } = model;
  const facts = [
    FAMILIES[family],
    `${image_size} px`,
    weights_bytes && fileSize(weights_bytes),
    version && `version ${version}`,
    loaded_on.length && `loaded on ${plural(loaded_on.length, "worker")}`,
  ];
  return html`<p class="muted">${facts.filter(Boolean).join(" · ")}</p>`;
}

const Licence = ({ model: { licence, source, training } }) => html`
  <details>
    <summary>Licence and source</summary>
    <dl>
      <dt>Licence</dt><dd>${licence}</dd>
      <dt>Source</dt><dd>${source}</dd>
      ${training?.dataset && html`<dt>Trained on</dt><dd>${training.dataset}, ${training.steps} steps</dd>`}
    </dl>
  </details>`;

function Fetching({ job }) {
  const [error, setError] = useState(null);
  const cancel = () => remove(`jobs/${job.id}`).catch(setError);
  return html`
    <div class="row">
      <${Progress} share=${job.progress} label=${`Fetching ${job.model}`} />
      <span class="muted">${job.status === "queued" ? "waiting" : `${Math.round(job.progress * 100)} %`}</span>
      <button type="button" class="small" onClick=${cancel}>Cancel</button>
    </div>
    <${Trouble} error=${error} />`;
}

function Actions({ model, work, onFetch }) {
  const { name, availability, version, can_be_removed } = model;
  const { attempt, busy } = work;
  const change = async (act) => {
    await attempt(act);
    await refreshModels();
  };
  const rollBack = () => change(({ signal }) => post(`models/${name}/rollback`, undefined, { signal }));
  const drop = () =>
    confirm(`Remove ${name} with all its versions from this server?`) && change(() => remove(`models/${name}`));
  const button = (label, onClick, danger) => html`
    <button type="button" class=${danger ? "small danger" : "small"} disabled=${busy} onClick=${onClick}>
      ${label}
    </button>`;
  return html`
    <div class="row">
      ${availability === "ready"
        ? html`<${DownloadLink} path=${`models/${name}/archive`} name=${`${name}.zip`}>Export<//>`
        : button("Fetch", onFetch)}
      ${version > 1 && button("Roll back", rollBack)}
      ${can_be_removed && button("Remove", drop, true)}
    </div>`;
}
