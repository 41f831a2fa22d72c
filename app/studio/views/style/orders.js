// What a person can do in Style: give pictures, change the style, cancel, ask for variations, a grid or a video.

import { Problem, isAbort } from "../../api.js";
import * as history from "../../parts/history.js";
import { order } from "../../parts/painting.js";
import { isClip, refusal, sizeOf, sorted } from "../../parts/pictures.js";
import { maxPictureMb } from "../../state.js";
import { MOST, callOf, drawnSeed, severalCall, store } from "./state.js";

const VARIATIONS = 6;
let current = null; // the newest order, grid, video or row of variations; it cancels the one before

export function cancel() {
  current?.abort();
  current = null;
  store.set({ stage: null });
}

export function change(what) {
  store.set(what);
  paint();
}

// What the form stands for; nothing while something is missing.
export function paint() {
  cancel();
  const call = callOf(store.get());
  if (call) run(call, store.get().source);
}

export const makeSeveral = (kind) => run(severalCall(kind, store.get()), null);

// source: the photo that the result is compared with; null: none.
async function run([path, fields, ending], source) {
  cancel();
  const mine = (current = new AbortController());
  const set = (what) => current === mine && store.set(what);
  set({ error: null, stage: { stage: "uploading", share: 0 } });
  const isFilm = ending === "mp4";
  const hooks = { signal: mine.signal, onStage: (stage) => set({ stage }) };
  try {
    const outcome = await order(path, fields, { ...hooks, type: isFilm ? "video/mp4" : "image/png" });
    const { result, job, seconds } = outcome;
    if (isFilm) return set({ stage: null, result: { film: result, job, seconds } });
    const size = await sizeOf(result);
    set({ stage: null, result: { picture: result, source, job, seconds, ...size } });
    if (source) keep(source, outcome, size);
  } catch (error) {
    set({ stage: null, error: isAbort(error) ? null : error });
  }
}

// The picture joins those that Translate shows below.
function keep(source, { result, job: { id, model, seeds }, seconds }, size) {
  const shown = { name: source.name, seconds, ...size, at: Date.now() };
  const entry = { source, result, settings: { view: "style" }, job: { id, model, seeds }, ...shown };
  history.add(entry).catch(() => {}); // the browser may store nothing
}

// Six other seeds to walk on from.
export async function vary() {
  cancel();
  const mine = (current = new AbortController());
  const seeds = Array.from({ length: VARIATIONS }, drawnSeed);
  const state = store.get();
  store.set({ error: null, variations: seeds.map((seed) => ({ seed, result: null })) });
  const showResult = (seed, result) =>
    store.set(({ variations }) => ({
      variations: variations.map((one) => (one.seed === seed ? { seed, result } : one)),
    }));
  try {
    for (const [n, seed] of seeds.entries()) {
      const stage = { stage: "waiting", why: `Variation ${n + 1} of ${VARIATIONS}` };
      const onStage = () => current === mine && store.set({ stage });
      const [path, fields] = callOf({ ...state, seed });
      const { result } = await order(path, fields, { signal: mine.signal, onStage });
      showResult(seed, result);
    }
  } catch (error) {
    if (!isAbort(error)) store.set({ error });
  }
  if (current === mine) store.set({ stage: null });
}

// Dropped anywhere: first the photo, then a style; with both there, what lies under the pointer decides.
export function acceptFiles(files, _, target) {
  const { source } = store.get();
  if (target?.closest?.("[data-drop=others]")) return acceptOthers(files);
  if (source && (target?.closest?.(".into") || !callOf(store.get()))) return acceptStyles(files);
  acceptSource(files);
}

export function acceptSource([file]) {
  if (!file) return;
  const refused = isClip(file) ? "" : refusal(file, maxPictureMb());
  if (refused) store.set({ error: new Problem(refused) });
  else change({ source: file, variations: [], result: null, error: null, align: "auto" });
}

export function acceptStyles(files) {
  const { styles, mode, seed } = store.get();
  const { usable, refused } = sorted(files, maxPictureMb());
  const most = (mode === "example" ? MOST.example : MOST.grid).styles;
  const added = usable.map((file) => ({ file, weight: 1 }));
  if (added.length) {
    const picked = mode === "stargan" ? { seed: null, picked: usable.at(-1) } : { seed };
    change({ styles: [...styles, ...added].slice(-most), ...picked });
  }
  if (refused) store.set({ error: new Problem(refused) });
}

export function acceptOthers(files) {
  const { others } = store.get();
  const { usable, refused } = sorted(files, maxPictureMb());
  store.set({ others: [...others, ...usable].slice(0, MOST.grid.sources - 1) });
  if (refused) store.set({ error: new Problem(refused) });
}

export function removeStyle(file) {
  const { styles } = store.get();
  change({ styles: styles.filter((style) => style.file !== file) });
}
