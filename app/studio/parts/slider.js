// Before and after in one place, with a line between them to drag. The line is a range input, so keys move it too.
// Holding the space bar, or a press that stays in place, shows the photo alone; "1:1" shows the picture's own size.

import { html, useRef, useState } from "../vendor/preact-htm.js";

const HOLD_MS = 350; // how long a press must stay in place
const STILL_PX = 6;
const HINT = "Drag, or use the arrow keys; hold the space bar, or press and hold, to see the photo alone";

// Whether the photo is shown alone now, and the handlers of the input that decides it. at: where the line is; moveTo
// puts it back there, since a press moves it first.
function useHold(at, moveTo) {
  const [held, setHeld] = useState(false);
  const press = useRef(null); // { x, y, timer } while a pointer is down
  const release = () => {
    clearTimeout(press.current?.timer);
    press.current = null;
    setHeld(false);
  };
  const hold = () => {
    moveTo(at);
    setHeld(true);
  };
  const begin = ({ clientX: x, clientY: y }) => {
    release();
    press.current = { x, y, timer: setTimeout(hold, HOLD_MS) };
  };
  const move = ({ clientX, clientY }) => {
    const { current } = press;
    if (current && Math.hypot(clientX - current.x, clientY - current.y) > STILL_PX) release();
  };
  const key = (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    setHeld(event.type === "keydown");
  };
  const handlers = {
    onKeyDown: key, onKeyUp: key, onBlur: release,
    onPointerDown: begin, onPointerMove: move, onPointerUp: release, onPointerCancel: release,
    onContextMenu: (event) => press.current && event.preventDefault(),
  };
  return [held, handlers];
}

// before, after: addresses. width, height: of both, in px.
export function BeforeAfter({ before, after, width, height, label }) {
  const [at, moveTo] = useState(50);
  const [held, handlers] = useHold(at, moveTo);
  const [large, setLarge] = useState(false);
  const line = held ? 100 : at;
  const style = { "--at": `${line}%`, "--aspect": width / height, aspectRatio: `${width} / ${height}` };
  if (large) style.width = `${width / devicePixelRatio}px`;
  return html`
    <div class=${large ? "magnified" : "fitted"} tabindex=${large ? 0 : null}>
      <div class="compare" style=${style}>
        <img src=${after} alt=${`${label}: after`} width=${width} height=${height} />
        <img class="before" src=${before} alt=${`${label}: before`} width=${width} height=${height} />
        <span class="tag left" hidden=${line < 12} aria-hidden="true">before</span>
        <span class="tag right" hidden=${line > 88} aria-hidden="true">after</span>
        <span class="line" aria-hidden="true"></span>
        <input
          type="range" min="0" max="100" step="1" value=${at} title=${HINT}
          aria-label="Line between before and after" aria-valuetext=${`${at} % before`}
          onInput=${(event) => !held && moveTo(Number(event.target.value))} ...${handlers}
        />
      </div>
      <button
        type="button" class="small zoom" aria-pressed=${String(large)} aria-label="The picture's own size"
        onClick=${() => setLarge(!large)}
      >
        1:1
      </button>
    </div>`;
}
