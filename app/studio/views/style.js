// Style: a photo or a clip painted like other pictures, or a photo in a style that a StarGAN reads off one or draws.

import { html, useEffect } from "../vendor/preact-htm.js";
import { Calls } from "../parts/calls.js";
import { Choice, Trouble } from "../parts/widgets.js";
import { refreshModels, server, useFiles } from "../state.js";
import { useStore } from "../store.js";
import { Example } from "./style/example.js";
import { acceptFiles, change } from "./style/orders.js";
import { Actions, Stage, Variations } from "./style/stage.js";
import { Stargan } from "./style/stargan.js";
import { callOf, hasExample, stargans, store } from "./style/state.js";

export function View() {
  const state = useStore(store);
  const { models } = useStore(server);
  const { mode, error, variations } = state;
  useFiles(acceptFiles);
  useEffect(() => void refreshModels(), []);
  const modes = [
    hasExample() && ["example", "Like a picture"],
    stargans().length > 0 && ["stargan", "StarGAN"],
  ].filter(Boolean);
  useEffect(() => {
    if (models && !mode) store.set({ mode: modes[0]?.[0] ?? null });
  }, [models]);
  const call = callOf(state);
  return html`
    <h1 class="unseen">Style</h1>
    <div class="translate">
      <section class="stage-column" aria-label="Picture">
        <${Stage} ...${state} />
        <${Trouble} error=${error}>
          ${error?.code === "no_face" &&
          html`<button type="button" class="small" onClick=${() => change({ align: "none" })}>
            Take the picture as it is
          </button>`}
        <//>
        <${Actions} ...${state} />
        ${variations.length > 0 && html`<${Variations} ...${state} />`}
      </section>
      <section class="into" aria-label="How">
        ${models && !modes.length && html`<p>No model for this is ready. <a href="#models">Fetch one</a></p>`}
        ${modes.length > 1 &&
        html`<${Choice} label="Mode" value=${mode} options=${modes} onChange=${(one) => change({ mode: one })} />`}
        ${mode === "example" && html`<${Example} ...${state} />`}
        ${mode === "stargan" && html`<${Stargan} ...${state} />`}
      </section>
    </div>
    ${call && html`<${Calls} call=${call} />`}`;
}
