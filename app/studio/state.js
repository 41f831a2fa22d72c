// What several views share: a small store, what is known of the server, and where dropped files go.

import { useLayoutEffect, useState } from "./vendor/preact-htm.js";
import { Problem, json } from "./api.js";

export function createStore(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(change) {
      value = { ...value, ...(typeof change === "function" ? change(value) : change) };
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

// The store's value, in a component that is drawn again whenever it changes.
export function useStore(store) {
  const [, redraw] = useState(0);
  useLayoutEffect(() => store.subscribe(() => redraw((n) => n + 1)), [store]);
  return store.get();
}

// lost: the last request got no answer. status, models: null until they were read.
export const server = createStore({ lost: false, status: null, models: null, problem: "" });

const SHOWN_EVERY_MS = 3000;

async function read(path) {
  try {
    const content = await json(path);
    server.set({ lost: false });
    return content;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    server.set(error.lost ? { lost: true } : { lost: false, problem: error.message });
    return null;
  }
}

export async function refreshModels() {
  const models = await read("models");
  if (models) server.set({ models });
}

async function refreshStatus() {
  const wasLost = server.get().lost;
  const status = await read("status");
  if (status) server.set({ status, problem: "" });
  if (status && (wasLost || !server.get().models)) await refreshModels();
}

// Ask the server how it is, again and again while the page is seen.
export function watchServer() {
  let timer;
  let looking = false;
  const look = async () => {
    clearTimeout(timer);
    if (document.hidden || looking) return;
    looking = true;
    try {
      await refreshStatus();
    } finally {
      looking = false;
      timer = setTimeout(look, SHOWN_EVERY_MS);
    }
  };
  document.addEventListener("visibilitychange", look);
  addEventListener("online", look);
  look();
}

// The view on screen may accept the files that are dropped or pasted anywhere; else Translate does.
let accepting = null;
export function useFiles(acceptFiles) {
  useLayoutEffect(() => {
    accepting = acceptFiles;
    return () => (accepting = accepting === acceptFiles ? null : accepting);
  });
}
export const dispatchFiles = (files, entries, target) => accepting?.(files, entries, target);
export const acceptsFiles = () => accepting !== null;

// Settings that outlive the visit, where the browser stores anything.
export const remembered = (name, fallback) => {
  try {
    return JSON.parse(localStorage.getItem(`doppel-${name}`)) ?? fallback;
  } catch {
    return fallback;
  }
};
export function remember(name, value) {
  try {
    localStorage.setItem(`doppel-${name}`, JSON.stringify(value));
  } catch {
    // they last for this visit
  }
}
