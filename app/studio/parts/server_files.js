// Pictures and files that the server has. A browser sends no API key along with <img> and links; where there is a key,
// files are fetched with it and shown from memory.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { blob } from "../api.js";
import { access } from "../key.js";
import { useStore } from "../store.js";
import { save } from "./pictures.js";
import { ActionButton } from "./widgets.js";

const KEPT = 100; // fetched files; the oldest gives way
const fetched = new Map(); // path → promise of an address

function fetchedAddress(path) {
  if (!fetched.has(path)) {
    const address = blob(path).then(URL.createObjectURL);
    address.catch(() => fetched.delete(path)); // the next one tries again
    fetched.set(path, address);
    for (const old of [...fetched.keys()].slice(0, -KEPT)) {
      fetched.get(old).then(URL.revokeObjectURL, () => {});
      fetched.delete(old);
    }
  }
  return fetched.get(path);
}

// An address that <img> can show; undefined until there is one.
export function useServerFile(path) {
  const { key } = useStore(access);
  const [found, setFound] = useState({});
  useEffect(() => {
    let current = true;
    if (key && path) {
      fetchedAddress(path).then(
        (address) => current && setFound({ path, address }),
        () => {}, // without the picture the page still works
      );
    }
    return () => (current = false);
  }, [path, key]);
  if (!key) return path;
  return found.path === path ? found.address : undefined;
}

export const ServerPicture = ({ src, ...rest }) => html`<img src=${useServerFile(src)} ...${rest} />`;

// Load a picture before it is shown.
export function preload(path) {
  if (access.get().key) fetchedAddress(path).catch(() => {});
  else new Image().src = path;
}

export function DownloadLink({ path, name, children }) {
  const { key } = useStore(access);
  if (!key) return html`<a class="button small" href=${path} download>${children}</a>`;
  const download = async () => save(await blob(path), name);
  return html`<${ActionButton} act=${download} done="Saved" className="small">${children}<//>`;
}
