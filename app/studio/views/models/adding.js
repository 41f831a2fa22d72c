// A model to add: its file, and what the file doesn't tell.

import { html, useState } from "../../vendor/preact-htm.js";
import { upload } from "../../api.js";
import { completed } from "../../jobs.js";
import { randomName } from "../../key.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { baseName } from "../../parts/pictures.js";
import { fileSize } from "../../parts/units.js";
import { NameField, Progress, TextField, nameOf } from "../../parts/widgets.js";
import { refreshModels } from "../../state.js";

export function Adding({ file, onEnd }) {
  const [progress, setProgress] = useState(null); // { what, share }
  const { attempt, busy, error, waiting } = useAttempt();
  const add = async (event) => {
    event.preventDefault();
    const fields = { file, ...Object.fromEntries(new FormData(event.target)), wait: "0" };
    const once = randomName();
    const onSent = (share) => setProgress({ what: "Sending", share });
    const succeeded = await attempt(async ({ signal, patient }) => {
      onSent(0);
      const job = await patient(() => upload("models", fields, { onSent, signal, once }));
      setProgress({ what: "Checking it", share: 0 });
      await completed(job, { signal });
    });
    setProgress(null);
    if (!succeeded) return;
    await refreshModels();
    onEnd();
  };
  return html`
    <form class="panel" onSubmit=${add}>
      <h2>Add ${file.name} <span class="muted">${fileSize(file.size)}</span></h2>
      <${Fields} name=${nameOf(baseName(file.name))} />
      <${Outcome} error=${error} waiting=${waiting} />
      ${progress && busy &&
      html`
        <div class="row">
          <span role="status">${progress.what}</span>
          <${Progress} share=${progress.share < 1 ? progress.share : 0} label=${progress.what} />
        </div>`}
      <div class="row">
        <button class="primary" disabled=${busy}>Add</button>
        <button type="button" onClick=${onEnd}>Cancel</button>
      </div>
    </form>`;
}

const Fields = ({ name }) => html`
  <div class="fields">
    <${NameField} value=${name} />
    <${TextField} label="What it does" name="description" />
    <${TextField} label="Licence" name="licence" placeholder="CC BY 4.0" />
    <${TextField} label="Source" name="source" placeholder="https://…" />
    <${TextField} label="Domains, of a StarGAN v2" name="domains" placeholder="cat, dog" />
  </div>
  <details>
    <summary>What the file doesn't tell</summary>
    <div class="fields">
      <${TextField} label="Network, of a file that holds several" name="network" placeholder="netG_A" />
      <${TextField}
        label="Side of the pictures it was trained on, px" name="image_size" inputmode="numeric" placeholder="256"
      />
      <label class="field">
        Padding, of a CycleGAN
        <select name="padding"><option value="">reflect</option><option value="replicate">replicate</option></select>
      </label>
      <${TextField}
        label="w_hpf, of a StarGAN v2 with a high-pass path" name="w_hpf" inputmode="decimal" placeholder="1"
      />
    </div>
  </details>`;
