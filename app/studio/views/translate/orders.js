// What a person can do in Translate: give photos, change settings, cancel, open what was made before.

import { Problem, blob, isAbort } from "../../api.js";
import { choices, title } from "../../parts/catalog.js";
import { createSheet } from "../../parts/contact_sheet.js";
import { order } from "../../parts/painting.js";
import { baseName, sorted } from "../../parts/pictures.js";
import { maxPictureMb, server } from "../../state.js";
import { entryOf, keep } from "./keeping.js";
import { DEFAULTS, callOf, setSettings, store } from "./state.js";

let current = null; // the newest order; it cancels the one before

export function cancel() {
  current?.abort();
  current = null;
  store.set({ stage: null });
}

// Stop what is under way, for something else that is to be on the stage.
export function leave() {
  cancel();
  store.get().sheet?.cancel();
  store.set({ error: null, notice: "", entry: null, sheet: null, camera: false });
}

// Paint the photo on the stage with the present settings.
export async function paint() {
  const { file, settings } = store.get();
  if (!file) return;
  leave();
  const mine = (current = new AbortController());
  const set = (what) => current === mine && store.set(what);
  set({ stage: { stage: "uploading", share: 0 } });
  try {
    const onStage = (stage) => set({ stage });
    const outcome = await order(...callOf(file, settings), { signal: mine.signal, onStage });
    const entry = await entryOf(file, settings, outcome);
    set({ entry, stage: null });
    await keep(entry);
  } catch (error) {
    set({ stage: null, error: isAbort(error) ? null : error });
  } finally {
    if (current === mine) current = null;
  }
}

// Settings of another model don't fit this one's.
export function change(what) {
  const fresh = "model" in what ? { domain: "", align: "" } : {};
  setSettings({ ...store.get().settings, ...fresh, ...what });
  paint();
}

export function acceptFiles(files) {
  const { usable, refused } = sorted(files, maxPictureMb());
  if (!usable.length) {
    const error = refused || "No file came with that. Save the picture first, then drop its file.";
    store.set({ error: new Problem(error) });
    return;
  }
  leave();
  const settings = { ...store.get().settings, align: "" };
  if (usable.length > 1) {
    showSheet(usable.map((file) => ({ file, settings, label: file.name })), "photos");
  } else {
    store.set({ file: usable[0], settings });
    paint();
  }
  if (refused) store.set({ notice: `Left out: ${refused}` });
}

function showSheet(items, what) {
  const requests = items.map((item) => ({ ...item, call: callOf(item.file, item.settings) }));
  const onDone = async ({ file, settings }, outcome) => keep(await entryOf(file, settings, outcome));
  store.set({ sheet: createSheet(requests, `${requests.length} ${what}`, onDone) });
}

// The photo on the stage under each model that is ready.
export function compareModels() {
  const { file, settings } = store.get();
  leave();
  const models = choices(server.get().models ?? []);
  const withModel = ({ name }) => ({ ...settings, model: name, domain: "", align: "" });
  showSheet(models.map((model) => ({ file, label: title(model), settings: withModel(model) })), "models");
}

// One picture of a contact sheet, on the stage.
export async function openItem({ file, settings, outcome }) {
  const entry = await entryOf(file, settings, outcome);
  leave();
  store.set({ file, entry });
  setSettings(settings);
}

// A picture of the history, with the settings that made it; those of another view's form are not for this one.
export function showEntry(entry) {
  leave();
  store.set({ file: entry.source, entry });
  if (!entry.settings.view) setSettings({ ...DEFAULTS, ...entry.settings });
}

export function startFrom({ name, job, result }) {
  acceptFiles([new File([result], `${baseName(name)}-${job.model}.png`, { type: "image/png" })]);
}

export async function trySample() {
  const photo = await blob(new URL("../../sample.jpg", import.meta.url).href);
  acceptFiles([new File([photo], "valley.jpg", { type: "image/jpeg" })]);
}
