// Curves over steps: smoothed in front, what was measured faint behind; each can be hidden.

import { html, useState } from "../../vendor/preact-htm.js";

const WIDTH = 1000; // of the drawing, which is stretched to its place
const HEIGHT = 320;
const COLOURS = 8; // --c0 to --c7 in the style sheet
const SMALLEST = 1e-6; // on a logarithmic scale
const MARGIN = 0.06; // above and below the curves, as a share of their height

function smoothed(points, weight) {
  let mean = null;
  return points.map(([x, y]) => [x, (mean = mean === null ? y : weight * mean + (1 - weight) * y)]);
}

// Values at which a person would draw lines: 1, 2 or 5 times a power of ten.
function ticks([low, high], log = false) {
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

function extent(values, margin = 0) {
  if (!values.length) return [0, 1];
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const room = margin && ((high - low) * margin || 0.5);
  return [low - room, high + room];
}

const share = (value, [low, high]) => (value - low) / (high - low || 1);
const short = (value) => String(Number(value.toPrecision(3)));

// series: [{ name, points: [[step, value], ...] }].
export function Chart({ series, label }) {
  const [hidden, setHidden] = useState({});
  const [log, setLog] = useState(false);
  const [weight, setWeight] = useState(0.9);
  if (!series.length) return html`<p class="muted">No step has been measured yet.</p>`;
  const scale = (value) => (log ? Math.log10(Math.max(value, SMALLEST)) : value);
  const lines = series.map(({ name, points }, n) => {
    const raw = points.filter(([, y]) => Number.isFinite(y)).map(([x, y]) => [x, scale(y)]);
    const colour = `var(--c${n % COLOURS})`;
    return { name, colour, raw, smooth: smoothed(raw, weight), last: points.at(-1)?.[1], isHidden: hidden[name] };
  });
  const seen = lines.filter((line) => !line.isHidden);
  const toggle = (name) => setHidden({ ...hidden, [name]: !hidden[name] });
  return html`
    <figure class="chart" aria-label=${label}>
      <${Plot} lines=${seen} log=${log} />
      <figcaption class="row">
        ${lines.map((line) => html`<${Key} key=${line.name} ...${line} onClick=${() => toggle(line.name)} />`)}
        <label class="row">
          Smoothing
          <input
            type="range" min="0" max="0.99" step="0.01" value=${weight}
            onInput=${(event) => setWeight(Number(event.target.value))}
          />
        </label>
        <label class="row"><input type="checkbox" checked=${log} onChange=${() => setLog(!log)} /> Log</label>
      </figcaption>
    </figure>`;
}

function Plot({ lines, log }) {
  const xs = extent(lines.flatMap((line) => line.raw.map(([x]) => x)));
  const ys = extent(lines.flatMap((line) => line.smooth.map(([, y]) => y)), MARGIN);
  const left = (x) => (share(x, xs) * WIDTH).toFixed(1);
  const top = (y) => ((1 - share(y, ys)) * HEIGHT).toFixed(1);
  const path = (points) => points.map(([x, y]) => `${left(x)},${top(y)}`).join(" ");
  const levels = ticks(ys, log);
  return html`
    <div class="plot">
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        ${levels.map((y) => html`<line key=${y} class="grid" x1="0" x2=${WIDTH} y1=${top(y)} y2=${top(y)} />`)}
        ${lines.map(
          ({ name, raw, colour }) => html`
            <polyline key=${`raw ${name}`} class="raw" points=${path(raw)} style=${{ stroke: colour }} />`,
        )}
        ${lines.map(
          ({ name, smooth, colour }) => html`
            <polyline key=${name} points=${path(smooth)} style=${{ stroke: colour }} />`,
        )}
      </svg>
      ${levels.map(
        (y) => html`
          <span key=${y} class="y" style=${{ bottom: `${share(y, ys) * 100}%` }}>${short(log ? 10 ** y : y)}</span>`,
      )}
      ${ticks(xs)
        .filter(Number.isInteger)
        .map((x) => html`<span key=${x} class="x" style=${{ left: `${share(x, xs) * 100}%` }}>${x}</span>`)}
    </div>`;
}

const Key = ({ name, colour, last, isHidden, onClick }) => html`
  <button
    type="button" class="key small" aria-pressed=${String(!isHidden)} style=${{ "--colour": colour }} onClick=${onClick}
  >
    ${name} <span class="muted">${last === undefined ? "" : short(last)}</span>
  </button>`;
