// A small store, and settings that outlive a visit.

import { useLayoutEffect, useState } from "./vendor/preact-htm.js";

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

// A text in the browser's storage. Where the browser refuses to store anything, it lasts as long as the page.
const memory = new Map();
export function stored(storage, name, text) {
  if (text !== undefined) memory.set(name, text);
  try {
    const place = window[storage];
    if (text !== undefined) place.setItem(name, text);
    return place.getItem(name) ?? memory.get(name) ?? "";
  } catch {
    return memory.get(name) ?? "";
  }
}

export function remembered(name, fallback) {
  try {
    return JSON.parse(stored("localStorage", `doppel-${name}`)) ?? fallback;
  } catch {
    return fallback;
  }
}

export const remember = (name, value) => void stored("localStorage", `doppel-${name}`, JSON.stringify(value));
