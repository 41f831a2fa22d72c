// The pictures of this browser's past visits, in IndexedDB: never sent anywhere.

const NAME = "doppel";
const STORE = "pictures";
export const KEPT = 50;

let opened = null;
function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
    request.onsuccess = () => {
      request.result.onclose = () => (opened = null);
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  }).catch((error) => {
    opened = null; // the next one tries again
    throw error;
  });
  return opened;
}

async function transact(mode, act) {
  const base = await database();
  return new Promise((resolve, reject) => {
    const transaction = base.transaction(STORE, mode);
    const request = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

// Entries are { id, source, result, name, settings, seconds, width, height, at, job }, newest first. job: { id, model,
// seeds }. settings: the form's, with `view` where it is not Translate's.
export const entries = async () => ((await transact("readonly", (store) => store.getAll())) ?? []).reverse();

export async function add(entry) {
  const id = await transact("readwrite", (store) => store.add(entry));
  const old = (await transact("readonly", (store) => store.getAllKeys())).slice(0, -KEPT);
  for (const key of old) await forget(key);
  return { ...entry, id };
}

export const forget = (id) => transact("readwrite", (store) => store.delete(id));
export const forgetAll = () => transact("readwrite", (store) => store.clear());
