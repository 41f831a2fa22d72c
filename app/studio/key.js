// Who calls the API: the key, where the server asks for one, and the name under which this browser's jobs are listed.

import { createStore, stored } from "./store.js";

const KEY = "doppel-key"; // in sessionStorage
const CLIENT = "doppel-client"; // in localStorage

// 128 random bits, as text.
export const randomName = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const client = () => stored("localStorage", CLIENT) || stored("localStorage", CLIENT, randomName());

export const access = createStore({ key: stored("sessionStorage", KEY) });

export function identity(key = access.get().key) {
  return { "X-Client": client(), ...(key && { Authorization: `Bearer ${key}` }) };
}

// Whether there is another key than the one that was refused. However many calls are refused at once, a person is
// asked once, and not again after Cancel.
let asking = null;
let declined = false;
export function anotherKey(refused) {
  if (access.get().key !== refused) return Promise.resolve(true);
  if (declined) return Promise.resolve(false);
  asking ??= ask(refused).finally(() => (asking = null));
  return asking;
}

async function ask(refused) {
  const dialog = document.getElementById("key-dialog");
  const form = dialog.querySelector("form");
  form.reset();
  dialog.querySelector("p").textContent = refused
    ? "The server did not accept this key."
    : "This server asks for an API key. It is kept until this tab is closed.";
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const key = form.elements.key.value.trim();
  form.reset();
  declined = dialog.returnValue !== "use" || !key;
  if (declined) return false;
  stored("sessionStorage", KEY, key);
  access.set({ key });
  return true;
}
