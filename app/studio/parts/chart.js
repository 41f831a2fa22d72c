// Curves over steps: smoothed in front, what was measured faint behind; each can be hidden.

import { html, useState } from "../vendor/preact-htm.js";

const W = 1000;
const H = 320;
const COLOURS = 8; // --c0 to --c7 in styles.css

function smoothed(points, weight) {
  let mean = null;
  return points.map(([x, y]) => [x, (mean = mean === null ? y : weight * mean + (1 - weight) * y)]);
}

// Values at which a person would draw lines: 1, 2 or 5 times a power of ten.
function ticks(low, high, log) {
  if (log) {
    const first = Math.ceil(low);
    return Array.from({ length: Math.max(0, Math.floor(high) - first + 1) }, (_, n) => first + n);
  }
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

const short = (value) => String(Number(value.toPrecision(3)));

// series: [{ name, points: [[step, value], ...] }].
export function Chart({ series, label }) {
  const [hidden, setHidden] = useState({});
  const [log, setLog] = useState(false);
  const [weight, setWeight] = useState(0.9);
  const scale = (value) => (log ? Math.log10(Math.max(value, 1e-6)) : value);
  const lines = series.map(({ name, points }, n) => {
    const raw = points.filter(([, y]) => Number.isFinite(y)).map(([x, y]) => [x, scale(y)]);
    return { name, colour: `var(--c${n % COLOURS})`, raw, smooth: smoothed(raw, weight), last: points.at(-1)?.[1], hidden: hidden[name] };
  });
  const seen = lines.filter((line) => !line.hidden);
  const ys = seen.flatMap((line) => line.smooth.map(([, y]) => y));
  const xs = seen.flatMap((line) => line.raw.map(([x]) => x));
  if (!lines.length) return html`<p class="muted">No step has been measured yet.</p>`;
  const [x0, x1] = xs.length ? [xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b))] : [0, 1];
  let [y0, y1] = ys.length ? [ys.reduce((a, b) => Math.min(a, b)), ys.reduce((a, b) => Math.max(a, b))] : [0, 1];
  const room = (y1 - y0) * 0.06 || 0.5;
  [y0, y1] = [y0 - room, y1 + room];
  const at = ([x, y]) => `${(((x - x0) / (x1 - x0 || 1)) * W).toFixed(1)},${(H - ((y - y0) / (y1 - y0)) * H).toFixed(1)}`;
  const path = (points) => points.map(at).join(" ");
  return html`<figure class="chart" aria-label=${label}>
    <div class="plot">
      <svg viewBox=${`0 0 ${W} ${H}`} preserveAspectRatio="none" aria-hidden="true">
        ${ticks(y0, y1, log).map((y) => html`<line key=${y} class="grid" x1="0" x2=${W} y1=${at([0, y]).split(",")[1]} y2=${at([0, y]).split(",")[1]} />`)}
        ${seen.map((line) => html`<polyline key=${`r${line.name}`} class="raw" points=${path(line.raw)} style=${{ stroke: line.colour }} />`)}
        ${seen.map((line) => html`<polyline key=${line.name} points=${path(line.smooth)} style=${{ stroke: line.colour }} />`)}
      </svg>
      ${ticks(y0, y1, log).map((y) => html`<span key=${y} class="y" style=${{ bottom: `${((y - y0) / (y1 - y0)) * 100}%` }}>${short(log ? 10 ** y : y)}</span>`)}
      ${ticks(x0, x1).filter(Number.isInteger).map((x) => html`<span key=${x} class="x" style=${{ left: `${((x - x0) / (x1 - x0 || 1)) * 100}%` }}>${x}</span>`)}
    </div>
    <figcaption class="row">
      ${lines.map((line) => html`<button type="button" class="key small" key=${line.name} aria-pressed=${String(!line.hidden)} style=${{ "--colour": line.colour }}
          onClick=${() => setHidden({ ...hidden, [line.name]: !line.hidden })}>${line.name} <span class="muted">${line.last === undefined ? "" : short(line.last)}</span></button>`)}
      <label class="row">Smoothing <input type="range" min="0" max="0.99" step="0.01" value=${weight} onInput=${(event) => setWeight(Number(event.target.value))} /></label>
      <label class="row"><input type="checkbox" checked=${log} onChange=${() => setLog(!log)} /> Log</label>
    </figcaption>
  </figure>`;
}
