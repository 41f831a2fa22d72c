// What Translate shows, and the call that its form stands for.

import { isStargan } from "../../parts/catalog.js";
import { server } from "../../state.js";
import { createStore, remember, remembered } from "../../store.js";

// align: "none" if a person said so of this photo, in which no face was found.
export const DEFAULTS = { model: "style_monet", resolution: "", domain: "", align: "" };

// file: the photo on the stage. stage: what happens to it now. entry: what became of it (see parts/history.js).
// sheet: a contact sheet in place of the stage. notice: what a person should know about files that were left out, or
// about storage. past: the history.
export const store = createStore({
  file: null, stage: null, error: null, notice: "", entry: null, sheet: null, camera: false, past: [],
  settings: { ...DEFAULTS, ...remembered("settings", {}) },
});

const modelOf = ({ model }) => (server.get().models ?? []).find((one) => one.name === model);

// [path, fields] of the API. file: the photo, or what stands for it.
export function callOf(file, settings) {
  const { model, resolution, align } = settings;
  const stargan = modelOf(settings);
  const domain = stargan && isStargan(stargan) ? settings.domain : "";
  if (align) return ["stargan/latent", { image: file, model, resolution, domain, align }];
  return ["translate", { image: file, model, resolution, domain }];
}

// The address says which model and size, so that it can be kept or sent; a picture is never in it.
export function setSettings(settings) {
  const { model, resolution } = settings;
  store.set({ settings });
  remember("settings", { ...settings, align: "" });
  history.replaceState(null, "", `#translate?${new URLSearchParams({ model, ...(resolution && { resolution }) })}`);
}
