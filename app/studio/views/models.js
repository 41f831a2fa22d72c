// Models: what each does, under which licence, where it is loaded; fetch, add, export, roll back, remove.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { FilePicker } from "../parts/widgets.js";
import { refreshModels, server, useFiles } from "../state.js";
import { useStore } from "../store.js";
import { Adding } from "./models/adding.js";
import { Card } from "./models/card.js";

const REFRESH_MS = 10_000;
const ADDED = ".pth,.pt,.safetensors,.ckpt,.zip";

export function View() {
  const { models, problem } = useStore(server);
  const [file, setFile] = useState(null); // what is to be added
  const accept = ([first]) => first && setFile(first);
  useFiles(accept);
  useEffect(() => {
    const look = () => document.hidden || refreshModels(); // others fetch and publish models, too
    look();
    const timer = setInterval(look, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const isReady = (model) => model.availability === "ready";
  const others = models?.filter((model) => !isReady(model)) ?? [];
  const list = (shown) => html`
    <ul class="models">${shown.map((model) => html`<${Card} key=${model.name} model=${model} />`)}</ul>`;
  return html`
    <div class="page">
      <div class="row spread">
        <h1>Models</h1>
        <${FilePicker} onFiles=${accept} accept=${ADDED} label="Choose a weights file">Add a model<//>
      </div>
      <p class="muted">
        Drop a <code>.pth</code> or <code>.safetensors</code> file, or an exported model, to add it.
      </p>
      ${file && html`<${Adding} key=${file.name + file.size} file=${file} onEnd=${() => setFile(null)} />`}
      ${!models && html`<p class="muted">${problem || "Asking the server…"}</p>`}
      <h2>On this server</h2>
      ${list(models?.filter(isReady) ?? [])}
      ${others.length > 0 &&
      html`
        <h2>Not on this server <span class="muted">weights come from the models' authors</span></h2>
        ${list(others)}`}
    </div>`;
}
