// The data sets on the server: a preview, counts, and what was left out and why.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { json, remove } from "../../api.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { ServerPicture } from "../../parts/server_files.js";
import { fileSize, plural } from "../../parts/units.js";

// version: another value reads them anew.
export function Datasets({ version }) {
  const [datasets, setDatasets] = useState(null);
  const { attempt, busy, error, waiting, fail } = useAttempt();
  const load = () => json("datasets").then(setDatasets, fail);
  useEffect(() => void load(), [version]);
  const drop = async ({ name }) => {
    if (!confirm(`Delete the data set ${name}?`)) return;
    await attempt(() => remove(`datasets/${name}`));
    load();
  };
  return html`
    <${Outcome} error=${error} waiting=${waiting} />
    ${datasets?.length === 0 &&
    html`<p class="muted">None yet. Drop two folders of photos, or a zip, anywhere on this page.</p>`}
    <ul class="models">
      ${datasets?.map(
        (dataset) => html`
          <li key=${dataset.name} class="model">
            <div class="body">
              <h3>${dataset.name}</h3>
              <${DatasetDetails} dataset=${dataset} />
              <div class="row">
                <a class="button small" href=${`#train/new/${dataset.name}`}>Train on it</a>
                ${!dataset.used_by.length &&
                html`
                  <button type="button" class="small danger" disabled=${busy} onClick=${() => drop(dataset)}>
                    Delete
                  </button>`}
              </div>
            </div>
          </li>`,
      )}
    </ul>`;
}

export function DatasetDetails({ dataset }) {
  const { name, pictures, domains, nbytes, duplicates, rejected, rejected_count } = dataset;
  const counts = Object.entries(domains).map(
    ([domain, { train, held_out }]) => `${domain} ${train}${held_out ? ` (${held_out} held out)` : ""}`,
  );
  const facts = [
    plural(pictures, "picture"),
    ...counts,
    fileSize(nbytes),
    duplicates.length && plural(duplicates.length, "group") + " of duplicates",
  ];
  return html`
    <${ServerPicture} class="preview" src=${`datasets/${name}/preview`} alt=${`Pictures of ${name}`} loading="lazy" />
    <p class="muted">${facts.filter(Boolean).join(" · ")}</p>
    ${rejected_count > 0 &&
    html`
      <details>
        <summary>Left out: ${plural(rejected_count, "file")}</summary>
        <ul>${rejected.map(({ file, why }) => html`<li key=${file}>${file}: ${why}</li>`)}</ul>
      </details>`}`;
}
