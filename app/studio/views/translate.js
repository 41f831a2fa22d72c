// Translate: a photo in, a painting out, at once. Also many photos, many models, and what was made before.

import { html, useEffect } from "../vendor/preact-htm.js";
import { Calls } from "../parts/calls.js";
import { choices, sampleOf } from "../parts/catalog.js";
import { Sheet } from "../parts/contact_sheet.js";
import { Trouble } from "../parts/widgets.js";
import { refreshModels, server, useFiles } from "../state.js";
import { useStore } from "../store.js";
import { Actions } from "./translate/actions.js";
import { Into } from "./translate/into.js";
import { recall } from "./translate/keeping.js";
import { acceptFiles, cancel, change, leave, openItem, paint } from "./translate/orders.js";
import { Past } from "./translate/past.js";
import { Stage } from "./translate/stage.js";
import { callOf, store } from "./translate/state.js";

// asked: the settings of an address such as #translate?model=mine.
function useAddress(asked) {
  useEffect(() => {
    const wanted = Object.fromEntries(new URLSearchParams(asked));
    const { settings } = store.get();
    const { model = settings.model, resolution = wanted.model ? "" : settings.resolution } = wanted;
    if (model !== settings.model) change({ model, resolution });
    else if (resolution !== settings.resolution) change({ resolution });
  }, [asked]);
}

// A model that is gone paints nothing; whoever chose it finds another one chosen.
function useModelThatIsThere(models, settings) {
  useEffect(() => {
    if (!models?.length || models.some((model) => model.name === settings.model)) return;
    const [first] = choices(models);
    if (first) store.set({ settings: { ...settings, model: first.name, domain: "" } });
  }, [models]);
}

function useEscape() {
  useEffect(() => {
    const escape = (event) => event.key === "Escape" && cancel();
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, []);
}

export function View({ path: [asked] }) {
  const state = useStore(store);
  const { models, problem } = useStore(server);
  const { file, sheet, settings, notice, past, entry } = state;
  useFiles(acceptFiles);
  useEscape();
  useEffect(() => {
    refreshModels();
    recall().catch(() => {}); // the browser may store nothing
  }, []);
  useAddress(asked);
  useModelThatIsThere(models, settings);
  const chosen = models?.find((model) => model.name === settings.model);
  const sample = chosen && sampleOf(chosen, models);
  return html`
    <h1 class="unseen">Translate a picture</h1>
    ${notice && html`<p class="note" role="status">${notice}</p>`}
    ${sheet
      ? html`<${Sheet} sheet=${sheet} onOpen=${openItem} onClose=${leave} />`
      : html`
        <div class="translate">
          <section class="stage-column" aria-label="Picture">
            <${Stage} ...${state} sample=${sample} />
            <${Failure} ...${state} />
            ${file && html`<${Actions} ...${state} />`}
          </section>
          <${Into} models=${models} problem=${problem} settings=${settings} />
        </div>`}
    <${Past} past=${past} entry=${entry} />
    <${Calls} call=${callOf(file ?? new File([], "photo.jpg"), settings)} />`;
}

const Failure = ({ error, file }) => html`
  <${Trouble} error=${error}>
    ${error?.code === "no_face" &&
    html`<button type="button" class="small" onClick=${() => change({ align: "none" })}>
      Take the picture as it is
    </button>`}
    ${file && html`<button type="button" class="small" onClick=${paint}>Try again</button>`}
  <//>`;
