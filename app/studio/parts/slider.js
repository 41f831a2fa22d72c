// Before and after in one place, with a line between them to drag. The line is a range input, so keys move it too.

import { html, useState } from "../vendor/preact-htm.js";

export function BeforeAfter({ before, after, width, height, label }) {
  const [at, setAt] = useState(50);
  const [held, setHeld] = useState(false);
  const line = held ? 100 : at;
  const peek = (event) => {
    if (event.key === " ") {
      event.preventDefault();
      setHeld(event.type === "keydown");
    }
  };
  return html`<div class="compare" style=${{ "--at": `${line}%`, aspectRatio: `${width} / ${height}`, "--aspect": width / height }}>
    <img src=${after} alt=${`${label}: after`} width=${width} height=${height} />
    <img class="before" src=${before} alt=${`${label}: before`} width=${width} height=${height} />
    <span class="tag left" hidden=${line < 12} aria-hidden="true">before</span>
    <span class="tag right" hidden=${line > 88} aria-hidden="true">after</span>
    <span class="line" aria-hidden="true"></span>
    <input
      type="range" min="0" max="100" step="1" value=${at}
      aria-label="Line between before and after" aria-valuetext=${`${at} % before`}
      title="Drag, or use the arrow keys; hold the space bar to see the photo alone"
      onInput=${(event) => setAt(Number(event.target.value))} onKeyDown=${peek} onKeyUp=${peek} onBlur=${() => setHeld(false)} />
  </div>`;
}
