// What all views share: what is known of the server, and which view takes the files that are dropped.

import { useLayoutEffect } from "./vendor/preact-htm.js";
import { Problem, json } from "./api.js";
import { createStore } from "./store.js";

const REFRESH_MS = 3000;

// lost: the last request got no answer. status, models: null until they were read.
export const server = createStore({ lost: false, status: null, models: null, problem: "" });

async function read(path) {
  try {
    const content = await json(path);
    server.set({ lost: false });
    return content;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const hint = error.status === 401 ? " Load the page again to enter a key." : "";
    server.set(error.lost ? { lost: true } : { lost: false, problem: error.message + hint });
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
      timer = setTimeout(look, REFRESH_MS);
    }
  };
  document.addEventListener("visibilitychange", look);
  addEventListener("online", look);
  look();
}

// The largest picture that the server takes, in MiB; undefined until that is known.
export const maxPictureMb = () => server.get().status?.max_upload_mb;

// The view on screen may take the files that are dropped or pasted anywhere: acceptFiles(files, entries, target).
let accepting = null;
export function useFiles(acceptFiles) {
  useLayoutEffect(() => {
    accepting = acceptFiles;
    return () => (accepting = accepting === acceptFiles ? null : accepting);
  });
}
export const acceptsFiles = () => accepting !== null;
export const dispatchFiles = (files, entries, target) => accepting?.(files, entries, target);
