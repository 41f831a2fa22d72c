// What was dropped or chosen, as pictures that can become a data set.

import { isPicture } from "../../parts/pictures.js";
import { unique } from "../../parts/zip.js";

const LAYOUT = /(^|\/)((train|test|val)[AB]?)\//i; // folders that are a data set already

// The pictures below dropped folders, as [path, File].
async function picturesBelow(entries, prefix = "") {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (isPicture(file)) found.push([prefix + entry.name, file]);
    } else {
      found.push(...(await picturesBelow(await children(entry), `${prefix}${entry.name}/`)));
    }
  }
  return found;
}

// A browser tells them in portions.
async function children(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    found.push(...some);
  }
}

// { name, zip }, or { name, laidOut: pictures in a known layout }, or { name, folders: [{ name, pictures }] }. Pictures
// are [path, File].
export async function datasetOf(files, entries) {
  const zip = files.find((file) => /\.zip$/i.test(file.name));
  if (zip) return { name: zip.name.replace(/\.zip$/i, ""), zip };
  const chosen = files.filter((file) => file.webkitRelativePath && isPicture(file));
  const pictures = chosen.length
    ? chosen.map((file) => [file.webkitRelativePath, file])
    : await picturesBelow(entries.filter((entry) => entry.isDirectory));
  const top = [...new Set(pictures.map(([path]) => path.split("/")[0]))];
  if (!top.length) {
    throw new Error("There is no picture in that. Drop two folders of pictures, one for each side, or a zip.");
  }
  if (pictures.some(([path]) => LAYOUT.test(path))) return { name: top[0], laidOut: pictures };
  const within = (name) => pictures.filter(([path]) => path.startsWith(`${name}/`));
  return { name: top.join("2"), folders: top.map((name) => ({ name, pictures: within(name) })) };
}

// The same pictures under the paths of a data set: two folders are its sides, more are its domains.
export function laidOut({ laidOut, folders }) {
  if (laidOut) return laidOut;
  const taken = new Set();
  const names = folders.map(({ name }) => unique(name, taken)); // two folders of one name are two domains
  const place = (n) => (folders.length === 2 ? `train${"AB"[n]}` : `train/${names[n]}`);
  const flat = (path) => path.split("/").slice(1).join("_");
  return folders.flatMap(({ pictures }, n) =>
    pictures.map(([path, file]) => [unique(`${place(n)}/${flat(path)}`, taken), file]),
  );
}
