// A run's sample pictures: one slider over the steps, and play. The rows are cut out of one sheet and labelled.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { json } from "../api.js";
import { BeforeAfter } from "./slider.js";

const FRAME_MS = 350;
const AHEAD = 3; // pictures that are loaded before they are shown

// A part of a picture. box: left, top, right, bottom in px.
export const Cut = ({ src, box: [left, top, right, bottom], label }) =>
  html`<svg class="cut" viewBox=${`${left} ${top} ${right - left} ${bottom - top}`} role="img" aria-label=${label}><image href=${src} /></svg>`;

export const sheet = (run, step) => `${run.links.self.replace(/^.*\/training\//, "training/")}/samples/${step}`;

// Each kind of input with what is made of it.
function groups(rows) {
  const found = [];
  for (const row of rows) {
    if (row.role === "input" || !found.length) found.push([]);
    found.at(-1).push(row);
  }
  return found;
}

// upTo: show the newest of at most this step, where the steps of several runs are moved by one slider.
export function Samples({ run, upTo }) {
  const { samples } = run;
  const [chosen, choose] = useState(null); // null: the newest, also when a newer one comes
  const [playing, play] = useState(false);
  const [against, setAgainst] = useState(false);
  const [rows, setRows] = useState([]);
  const newest = samples.length - 1;
  const led = upTo !== undefined;
  const n = led ? Math.max(0, samples.findLastIndex((one) => one <= upTo)) : Math.min(chosen ?? newest, newest);
  const step = samples[n];
  useEffect(() => {
    if (step !== undefined) json(`${sheet(run, step)}/rows`).then(setRows, () => setRows([]));
  }, [run.id, samples.length > 0]);
  useEffect(() => {
    for (const next of samples.slice(n + 1, n + 1 + AHEAD)) if (playing) new Image().src = sheet(run, next);
    if (!playing) return;
    const timer = setTimeout(() => (n < newest ? choose(n + 1) : play(false)), FRAME_MS);
    return () => clearTimeout(timer);
  }, [playing, n]);
  if (!samples.length) return html`<p class="muted">The first sample picture comes at step ${run.options.sample_every}.</p>`;
  const start = () => {
    if (n === newest) choose(0);
    play(!playing);
  };
  const boxes = rows.flatMap((row) => row.cells);
  const [width, height] = [2, 3].map((side) => Math.max(1, ...boxes.map((box) => box[side])) + 2);
  return html`<section class="samples" aria-label="Samples">
    ${!led && html`<div class="row">
      <button type="button" class="small" onClick=${start}>${playing ? "Pause" : "Play"}</button>
      <label class="row grow"><span class="unseen">Step</span>
        <input type="range" min="0" max=${newest} value=${n} aria-valuetext=${`step ${step}`} onInput=${(event) => (play(false), choose(Number(event.target.value)))} /></label>
      <output>step ${step}</output>
      ${newest > 0 && html`<label class="row"><input type="checkbox" checked=${against} onChange=${() => setAgainst(!against)} /> against the first</label>`}
    </div>`}
    ${against && boxes.length
      ? html`<${BeforeAfter} before=${sheet(run, samples[0])} after=${sheet(run, step)} width=${width} height=${height} label="Samples" />`
      : rows.length
        ? html`<div class="scroll bare" tabindex="0" role="region" aria-label="Sample rows"><div class="sample-groups">${groups(rows).map((group, g) => html`<div key=${g}>${group.map((row) => html`<div class="sample-row" key=${row.label + row.cells[0][1]}><span class="muted">${row.label}</span><div>
            ${row.reference && html`<${Cut} src=${sheet(run, step)} box=${row.reference} label="style reference" />`}
            ${row.cells.map((box, c) => html`<${Cut} key=${c} src=${sheet(run, step)} box=${box} label=${`${row.label}, ${c + 1}`} />`)}</div></div>`)}</div>`)}</div></div>`
        : html`<img src=${sheet(run, step)} alt=${`Samples at step ${step}`} />`}
  </section>`;
}
