// A data set to upload: the pictures that were dropped, packed here, sent, and checked by the server.

import { html, useState } from "../../vendor/preact-htm.js";
import { json, upload } from "../../api.js";
import { completed } from "../../jobs.js";
import { randomName } from "../../key.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { fileSize, plural } from "../../parts/units.js";
import { FilePicker, NameField, Progress, nameOf } from "../../parts/widgets.js";
import { zipped } from "../../parts/zip.js";
import { DatasetDetails } from "./datasets.js";
import { datasetOf, laidOut } from "./folders.js";

// dropped: see datasetOf. onUploaded: there is a new one; onEnd: the form is to go.
export function NewDataset({ dropped, onUploaded, onEnd }) {
  const [dataset, setDataset] = useState(dropped);
  const [progress, setProgress] = useState(null); // { what, share }
  const [uploaded, setUploaded] = useState(null);
  const { attempt, busy, error, waiting, fail } = useAttempt();
  const add = (files) => datasetOf(files, []).then((more) => setDataset(joined(dataset, more)), fail);
  const send = async (event) => {
    event.preventDefault();
    const { name } = Object.fromEntries(new FormData(event.target));
    const show = (what) => (share) => setProgress({ what, share });
    const once = randomName();
    const succeeded = await attempt(async ({ signal, patient }) => {
      show("Packing")(0);
      const archive = dataset.zip ?? new File([await zipped(laidOut(dataset), { signal })], "pictures.zip");
      const fields = { archive, name, wait: "0" };
      const job = await patient(() => upload("datasets", fields, { onSent: show("Uploading"), signal, once }));
      await completed(job, { signal, onState: (state) => show("Checking the pictures")(state.progress) });
      setUploaded(await json(`datasets/${name}`));
    });
    setProgress(null);
    if (succeeded) onUploaded();
  };
  if (uploaded) return html`<${Uploaded} dataset=${uploaded} onEnd=${onEnd} />`;
  const isHalf = dataset.folders?.length === 1;
  return html`
    <form class="panel" onSubmit=${send}>
      <h2>New data set</h2>
      <${Contents} dataset=${dataset} onAdd=${add} onChange=${setDataset} />
      <${NameField} key=${dataset.name} value=${nameOf(dataset.name)} />
      <${Outcome} error=${error} waiting=${waiting} />
      ${progress && busy &&
      html`
        <div class="row">
          <span role="status">${progress.what}</span>
          <${Progress} share=${progress.share} label=${progress.what} />
        </div>`}
      <div class="row">
        <button class="primary" disabled=${busy || isHalf}>Upload</button>
        <button type="button" onClick=${onEnd}>Cancel</button>
      </div>
    </form>`;
}

// Another folder beside those that are there.
function joined(dataset, more) {
  if (!more.folders) return more;
  return { name: `${dataset.name}2${more.name}`, folders: [...dataset.folders, ...more.folders] };
}

function Contents({ dataset, onAdd, onChange }) {
  const { zip, laidOut, folders } = dataset;
  if (zip) return html`<p>${zip.name} <span class="muted">${fileSize(zip.size)}</span></p>`;
  if (laidOut) return html`<p>${plural(laidOut.length, "picture")}</p>`;
  const swap = () => onChange({ ...dataset, folders: folders.toReversed() });
  return html`
    ${folders.map(
      ({ name, pictures }, n) => html`
        <p key=${n}>
          <strong>${folders.length <= 2 ? "AB"[n] : n + 1}</strong> ${name}${" "}
          <span class="muted">${plural(pictures.length, "picture")}</span>
        </p>`,
    )}
    ${folders.length === 1 &&
    html`
      <div>
        <${FilePicker} onFiles=${onAdd} webkitdirectory className="primary" label="Choose the other folder">
          Choose the other folder
        <//>
      </div>`}
    ${folders.length === 2 &&
    html`<div><button type="button" class="small" onClick=${swap}>Swap A and B</button></div>`}`;
}

const Uploaded = ({ dataset, onEnd }) => html`
  <section class="panel" role="status">
    <h2>${dataset.name}</h2>
    <${DatasetDetails} dataset=${dataset} />
    <div class="row">
      <a class="button primary" href=${`#train/new/${dataset.name}`} onClick=${onEnd}>Train on it</a>
      <button type="button" onClick=${onEnd}>Close</button>
    </div>
  </section>`;
