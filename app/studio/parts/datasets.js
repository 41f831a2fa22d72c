// Data sets: made of two dropped folders or a zip, and what came of each file.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { ended, follow, json, remove, upload } from "../api.js";
import { isPicture } from "./pictures.js";
import { FilePicker, Progress, TextField, Trouble, megabytes } from "./widgets.js";
import { unique, zipped } from "./zip.js";

const KNOWN = /(^|\/)((train|test|val)[AB]?)\//i; // folders that are a data set already

// The files below dropped folders, as [path, File].
export async function filesOf(entries, prefix = "") {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (isPicture(file)) found.push([prefix + entry.name, file]);
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        found.push(...(await filesOf(some, `${prefix}${entry.name}/`)));
      }
    }
  }
  return found;
}

// What was dropped or chosen, as a form to fill in: { zip }, { ready: files in a known layout } or { folders }.
export async function understood(files, entries) {
  const zip = files.find((file) => /\.zip$/i.test(file.name));
  if (zip) return { zip, name: zip.name.replace(/\.zip$/i, "") };
  const chosen = files.filter((file) => file.webkitRelativePath && isPicture(file));
  const pictures = chosen.length
    ? chosen.map((file) => [file.webkitRelativePath, file])
    : await filesOf(entries.filter((entry) => entry.isDirectory));
  const top = [...new Set(pictures.map(([path]) => path.split("/")[0]))];
  if (pictures.some(([path]) => KNOWN.test(path.replace(/[^/]*$/, "")))) return { ready: pictures, name: top[0] };
  if (!top.length) throw new Error("There is no picture in that. Drop two folders of pictures, one for each side, or a zip.");
  return { folders: top.map((name) => ({ name, files: pictures.filter(([path]) => path.startsWith(`${name}/`)) })), name: top.join("2") };
}

function layout({ ready, folders }) {
  if (ready) return ready;
  const taken = new Set();
  const names = folders.map(({ name }) => unique(name, taken)); // two folders of one name are two domains
  const place = (n) => (folders.length === 2 ? `train${"AB"[n]}` : `train/${names[n]}`);
  const flat = (path) => path.split("/").slice(1).join("_");
  return folders.flatMap(({ files }, n) => files.map(([path, file]) => [unique(`${place(n)}/${flat(path)}`, taken), file]));
}

export function NewDataset({ dropped, onMade, onEnd }) {
  const [given, setGiven] = useState(dropped);
  const [doing, setDoing] = useState(null);
  const [error, setError] = useState(null);
  const [made, setMade] = useState(null);
  const canceled = useRef(null); // ends what is under way, when this form goes
  useEffect(() => () => canceled.current?.abort(), []);
  const add = async (files) => {
    const more = await understood(files, []).catch(setError);
    if (more?.folders) setGiven({ folders: [...given.folders, ...more.folders], name: `${given.name}2${more.name}` });
  };
  const send = async (event) => {
    event.preventDefault();
    const { name } = Object.fromEntries(new FormData(event.target));
    const { signal } = (canceled.current = new AbortController());
    let job = null;
    const drop = () => job && !ended(job) && remove(`jobs/${job.id}`).catch(() => {});
    signal.addEventListener("abort", drop);
    setError(null);
    try {
      setDoing({ what: "Packing", share: 0 });
      const archive = given.zip ?? new File([await zipped(layout(given), { signal })], "pictures.zip");
      job = await upload("datasets", { archive, name, wait: "0" }, { onSent: (share) => setDoing({ what: "Uploading", share }), signal });
      job = await follow(job, (state) => setDoing({ what: "Checking the pictures", share: state.progress }), { signal });
      if (job.error) throw new Error(job.error.detail);
      if (job.status === "canceled") throw new Error("The upload was canceled.");
      setMade(await json(`datasets/${name}`));
      onMade();
    } catch (problem) {
      if (problem.name !== "AbortError") setError(problem);
    }
    setDoing(null);
  };
  if (made) return html`<section class="panel" role="status"><h2>${made.name}</h2><${Details} dataset=${made} />
    <div class="row"><a class="button primary" href=${`#train/new/${made.name}`} onClick=${onEnd}>Train on it</a><button type="button" onClick=${onEnd}>Close</button></div></section>`;
  return html`<form class="panel" onSubmit=${send}>
    <h2>New data set</h2>
    ${given.folders?.map(({ name, files }, n) => html`<p key=${name}><strong>${given.folders.length === 2 ? "AB"[n] : n + 1}</strong> ${name} <span class="muted">${files.length} pictures</span></p>`)}
    ${given.folders?.length === 1 && html`<div><${FilePicker} onFiles=${add} directory className="primary" label="Choose the other folder">Choose the other folder<//></div>`}
    ${given.folders?.length === 2 && html`<div><button type="button" class="small" onClick=${() => setGiven({ ...given, folders: [...given.folders].reverse() })}>Swap A and B</button></div>`}
    ${given.zip && html`<p>${given.zip.name} <span class="muted">${megabytes(given.zip.size / 2 ** 20)}</span></p>`}
    ${given.ready && html`<p>${given.ready.length} pictures</p>`}
    <${TextField} label="Name" name="name" required maxlength="64" pattern="[A-Za-z0-9._\\-]+" key=${given.name} value=${given.name.replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 64)} />
    <${Trouble} error=${error} />
    ${doing && html`<div class="row"><span role="status">${doing.what}</span><${Progress} share=${doing.share} label=${doing.what} /></div>`}
    <div class="row"><button class="primary" disabled=${doing || given.folders?.length === 1}>Upload</button><button type="button" onClick=${onEnd}>Cancel</button></div>
  </form>`;
}

function Details({ dataset }) {
  const counts = Object.entries(dataset.domains).map(([name, domain]) => `${name} ${domain.train}${domain.held_out ? ` (${domain.held_out} held out)` : ""}`);
  return html`<img class="preview" src=${`datasets/${dataset.name}/preview`} alt=${`Pictures of ${dataset.name}`} loading="lazy" />
    <p class="muted">${dataset.pictures} pictures · ${counts.join(" · ")} · ${megabytes(dataset.nbytes / 2 ** 20)}${dataset.duplicates.length ? ` · ${dataset.duplicates.length} groups of duplicates` : ""}</p>
    ${dataset.rejected_count > 0 && html`<details><summary>Left out: ${dataset.rejected_count} file${dataset.rejected_count > 1 ? "s" : ""}</summary><ul>${dataset.rejected.map((one) => html`<li key=${one.file}>${one.file}: ${one.why}</li>`)}</ul></details>`}`;
}

export function Datasets({ version }) {
  const [datasets, setDatasets] = useState(null);
  const [error, setError] = useState(null);
  const load = () => json("datasets").then(setDatasets, setError);
  useEffect(() => void load(), [version]);
  const drop = async (name) => {
    if (!confirm(`Delete the data set ${name}?`)) return;
    setError(null);
    await remove(`datasets/${name}`).catch(setError);
    load();
  };
  return html`<${Trouble} error=${error} />
    ${datasets?.length === 0 && html`<p class="muted">None yet. Drop two folders of photos, or a zip, anywhere on this page.</p>`}
    <ul class="models">${datasets?.map((dataset) => html`<li key=${dataset.name} class="model"><div class="body"><h3>${dataset.name}</h3><${Details} dataset=${dataset} />
      <div class="row"><a class="button small" href=${`#train/new/${dataset.name}`}>Train on it</a>${!dataset.used_by.length && html`<button type="button" class="small danger" onClick=${() => drop(dataset.name)}>Delete</button>`}</div></div></li>`)}</ul>`;
}
