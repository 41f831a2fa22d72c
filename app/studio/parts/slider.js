// Before and after in one place, with a line between them to drag. The line is a range input, so keys move it too.
// Holding the space bar, or a press that doesn't move, shows the photo alone; "1:1" shows a part in the picture's own size.

import { html, useRef, useState } from "../vendor/preact-htm.js";

const HOLD_MS = 350; // a press that stays in place for this long
const STILL_PX = 6;

export function BeforeAfter({ before, after, width, height, label }) {
  const [at, setAt] = useState(50);
  const [held, setHeld] = useState(false);
  const [large, setLarge] = useState(false);
  const press = useRef(null); // { x, y, timer, at } while a pointer is down
  const line = held ? 100 : at;
  const peek = (event) => {
    if (event.key === " ") {
      event.preventDefault();
      setHeld(event.type === "keydown");
    }
  };
  const release = () => {
    clearTimeout(press.current?.timer);
    press.current = null;
    setHeld(false);
  };
  const begin = ({ clientX: x, clientY: y }) => {
    release();
    press.current = { x, y, at, timer: setTimeout(() => (setAt(press.current.at), setHeld(true)), HOLD_MS) };
  };
  const move = ({ clientX, clientY }) => {
    const { x, y, timer } = press.current ?? {};
    if (timer && Math.hypot(clientX - x, clientY - y) > STILL_PX) release();
  };
  const size = large ? { width: `${width / devicePixelRatio}px` } : {};
  return html`<div class=${large ? "magnified" : "fitted"} tabindex=${large ? 0 : null}>
    <div class="compare" style=${{ "--at": `${line}%`, aspectRatio: `${width} / ${height}`, "--aspect": width / height, ...size }}>
      <img src=${after} alt=${`${label}: after`} width=${width} height=${height} />
      <img class="before" src=${before} alt=${`${label}: before`} width=${width} height=${height} />
      <span class="tag left" hidden=${line < 12} aria-hidden="true">before</span>
      <span class="tag right" hidden=${line > 88} aria-hidden="true">after</span>
      <span class="line" aria-hidden="true"></span>
      <input
        type="range" min="0" max="100" step="1" value=${at}
        aria-label="Line between before and after" aria-valuetext=${`${at} % before`}
        title="Drag, or use the arrow keys; hold the space bar, or press and hold, to see the photo alone"
        onInput=${(event) => !held && setAt(Number(event.target.value))} onKeyDown=${peek} onKeyUp=${peek} onBlur=${release}
        onPointerDown=${begin} onPointerMove=${move} onPointerUp=${release} onPointerCancel=${release}
        onContextMenu=${(event) => press.current && event.preventDefault()} />
    </div>
    <button type="button" class="small zoom" aria-pressed=${String(large)} aria-label="The picture's own size" onClick=${() => setLarge(!large)}>1:1</button>
  </div>`;
}
