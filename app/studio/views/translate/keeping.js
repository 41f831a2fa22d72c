// The history of Translate: results are kept in the browser, and shown in a strip below.

import { Problem } from "../../api.js";
import * as history from "../../parts/history.js";
import { release, sizeOf } from "../../parts/pictures.js";
import { store } from "./state.js";

export async function entryOf(file, settings, { result, job, seconds }) {
  const { width, height } = await sizeOf(result);
  const { id, model, seeds } = job;
  const shown = { name: file.name, seconds, width, height, at: Date.now() };
  return { source: file, result, settings, job: { id, model, seeds }, ...shown };
}

export async function keep(entry) {
  try {
    const kept = await history.add(entry);
    const past = [kept, ...store.get().past];
    discard(past.slice(history.KEPT));
    store.set({ past: past.slice(0, history.KEPT) });
  } catch (error) {
    const why = error?.name === "QuotaExceededError" ? "The browser's storage is full" : "This browser stores nothing";
    store.set({ notice: `${why}, so this picture will not be in the history. Download it to keep it.` });
  }
}

// Free the pictures that the history no longer has and that are not on the stage.
function discard(entries) {
  const { entry, file } = store.get();
  const shown = [file, entry?.source, entry?.result];
  for (const { source, result } of entries) release(...[source, result].filter((blob) => !shown.includes(blob)));
}

// Read the history anew; other views add to it, too.
export async function recall() {
  const known = new Map(store.get().past.map((entry) => [entry.id, entry]));
  const past = (await history.entries()).map((entry) => known.get(entry.id) ?? entry); // the same pictures, no copies
  store.set({ past });
}

export const forget = (entry) => removed([entry], () => history.forget(entry.id));
export const forgetAll = () => removed(store.get().past, history.forgetAll);

async function removed(entries, act) {
  try {
    await act();
    const gone = new Set(entries.map((entry) => entry.id));
    store.set({ past: store.get().past.filter((entry) => !gone.has(entry.id)) });
    discard(entries);
  } catch (error) {
    store.set({ error: new Problem(`The history could not be changed: ${error?.message ?? "the browser refused"}.`) });
  }
}
