// Train: data sets and runs; #train/new/DATASET starts a run, #train/ID shows one, #train/ID,ID compares several.

import { html, useState } from "../vendor/preact-htm.js";
import { FilePicker, Trouble } from "../parts/widgets.js";
import { useFiles } from "../state.js";
import { Compared } from "./train/compared.js";
import { Datasets } from "./train/datasets.js";
import { datasetOf } from "./train/folders.js";
import { NewDataset } from "./train/new_dataset.js";
import { NewRun } from "./train/new_run.js";
import { Run } from "./train/run.js";
import { Runs } from "./train/runs.js";

export function View({ path: [what, dataset] }) {
  if (what === "new") return html`<${NewRun} key=${dataset} dataset=${dataset} />`;
  if (what?.includes(",")) return html`<${Compared} key=${what} ids=${what.split(",")} />`;
  return what ? html`<${Run} key=${what} id=${what} />` : html`<${Overview} />`;
}

function Overview() {
  const [dropped, setDropped] = useState(null); // what is to become a data set
  const [error, setError] = useState(null);
  const [uploads, setUploads] = useState(0); // so far
  const accept = async (files, entries = []) => {
    try {
      setDropped(await datasetOf(files, entries));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  useFiles(accept);
  return html`
    <div class="page">
      <div class="row spread">
        <h1>Train</h1>
        <div class="row">
          <${FilePicker} onFiles=${(files) => accept(files)} webkitdirectory label="Choose a folder of pictures">
            Choose folders
          <//>
          <${FilePicker} onFiles=${(files) => accept(files)} accept=".zip" label="Choose a zip of pictures">
            Choose a zip
          <//>
        </div>
      </div>
      <p class="muted">
        Drop two folders of photos, or a zip, anywhere on this page: a model learns to turn one kind into the other.
      </p>
      <${Trouble} error=${error} />
      ${dropped &&
      html`
        <${NewDataset}
          key=${dropped.name} dropped=${dropped} onEnd=${() => setDropped(null)}
          onUploaded=${() => setUploads(uploads + 1)}
        />`}
      <${Runs} />
      <h2>Data sets</h2>
      <${Datasets} version=${uploads} />
    </div>`;
}
