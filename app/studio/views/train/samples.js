// A run's sample pictures: one slider over the steps, and play. The rows are cut out of one sheet and labelled.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { json } from "../../api.js";
import { preload, useServerFile } from "../../parts/server_files.js";
import { BeforeAfter } from "../../parts/slider.js";

const FRAME_MS = 350;
const AHEAD = 3; // pictures that are loaded before they are shown
const PADDING_PX = 2; // around every cell of a sheet

export const sheetPath = (run, step) => `training/${run.id}/samples/${step}`;

// A part of a picture. box: left, top, right, bottom in px.
export function Cut({ src, box: [left, top, right, bottom], label }) {
  const address = useServerFile(src);
  return html`
    <svg class="cut" viewBox=${`${left} ${top} ${right - left} ${bottom - top}`} role="img" aria-label=${label}>
      ${address && html`<image href=${address} />`}
    </svg>`;
}

// What is on the sheets of a run, which all have the same rows; null until it is known.
export function useRows(run) {
  const [rows, setRows] = useState(null);
  const step = run.samples.at(-1);
  useEffect(() => {
    if (step !== undefined) json(`${sheetPath(run, step)}/rows`).then(setRows, () => setRows([]));
  }, [run.id, step === undefined]);
  return rows;
}

const named = (what, name) => (name ? `${what} of ${name}` : what);

// Each row of inputs with the rows that are made of it.
function groups(rows) {
  const found = [];
  for (const row of rows) {
    if (row.role === "input" || !found.length) found.push([]);
    found.at(-1).push(row);
  }
  return found;
}

// upTo: show the newest of at most this step, where the steps of several runs are moved by one slider. name: of the
// run, where several are on screen.
export function Samples({ run, upTo, name = "" }) {
  const { samples } = run;
  const [chosen, choose] = useState(null); // null: the newest, also when a newer one comes
  const [playing, play] = useState(false);
  const [againstFirst, setAgainstFirst] = useState(false);
  const rows = useRows(run);
  const newest = samples.length - 1;
  const isLed = upTo !== undefined;
  const n = isLed ? Math.max(0, samples.findLastIndex((one) => one <= upTo)) : Math.min(chosen ?? newest, newest);
  useEffect(() => {
    if (!playing) return;
    for (const next of samples.slice(n + 1, n + 1 + AHEAD)) preload(sheetPath(run, next));
    const timer = setTimeout(() => (n < newest ? choose(n + 1) : play(false)), FRAME_MS);
    return () => clearTimeout(timer);
  }, [playing, n]);
  if (!samples.length)
    return html`<p class="muted">The first sample picture comes at step ${run.options.sample_every}.</p>`;
  const start = () => {
    if (n === newest) choose(0);
    play(!playing);
  };
  const move = (event) => {
    play(false);
    choose(Number(event.target.value));
  };
  return html`
    <section class="samples" aria-label=${named("Samples", name)}>
      ${!isLed &&
      html`
        <div class="row">
          <button type="button" class="small" onClick=${start}>${playing ? "Pause" : "Play"}</button>
          <label class="row grow">
            <span class="unseen">Step</span>
            <input
              type="range" min="0" max=${newest} value=${n} aria-valuetext=${`step ${samples[n]}`} onInput=${move}
            />
          </label>
          <output>step ${samples[n]}</output>
          ${newest > 0 &&
          html`
            <label class="row">
              <input type="checkbox" checked=${againstFirst} onChange=${() => setAgainstFirst(!againstFirst)} />
              against the first
            </label>`}
        </div>`}
      <${Sheet} run=${run} step=${samples[n]} first=${againstFirst ? samples[0] : null} rows=${rows} name=${name} />
    </section>`;
}

// first: the step to compare with, as before and after; null: none.
function Sheet({ run, step, first, rows, name }) {
  const src = sheetPath(run, step);
  const address = useServerFile(src);
  const before = useServerFile(first === null ? src : sheetPath(run, first));
  if (!rows) return null;
  if (!rows.length) return html`<img src=${address} alt=${`Samples at step ${step}`} />`;
  if (first !== null) {
    const boxes = rows.flatMap((row) => row.cells);
    const [width, height] = [2, 3].map((side) => Math.max(...boxes.map((box) => box[side])) + PADDING_PX);
    return html`
      <${BeforeAfter} before=${before} after=${address} width=${width} height=${height} label="Samples" />`;
  }
  return html`
    <div class="scroll bare" tabindex="0" role="region" aria-label=${named("Sample rows", name)}>
      <div class="sample-groups">
        ${groups(rows).map(
          (group, n) => html`
            <div key=${n}>${group.map((row, m) => html`<${Row} key=${m} row=${row} src=${src} />`)}</div>`,
        )}
      </div>
    </div>`;
}

const Row = ({ row: { label, reference, cells }, src }) => html`
  <div class="sample-row">
    <span class="muted">${label}</span>
    <div>
      ${reference && html`<${Cut} src=${src} box=${reference} label="style reference" />`}
      ${cells.map((box, n) => html`<${Cut} key=${n} src=${src} box=${box} label=${`${label}, ${n + 1}`} />`)}
    </div>
  </div>`;
