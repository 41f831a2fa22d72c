// The form for a style that is read off pictures, and the pictures themselves.

import { html } from "../../vendor/preact-htm.js";
import { address } from "../../parts/pictures.js";
import { FilePicker, Range } from "../../parts/widgets.js";
import { acceptStyles, change, removeStyle } from "./orders.js";
import { MOST } from "./state.js";

// A setting between two ends, sent when the slider is let go.
export const Setting = ({ label, name, value, ends, step = 0.05, ...rest }) => html`
  <label class="field">
    ${label}
    <${Range} step=${step} value=${value} onCommit=${(set) => change({ [name]: set })} ...${rest} />
    <span class="row spread">${ends.map((end) => html`<span key=${end}>${end}</span>`)}</span>
  </label>`;

// under(style): what is shown under each picture.
export function StylePictures({ styles, most, under }) {
  return html`
    <ul class="style-pictures">
      ${styles.map(
        (style) => html`
          <li key=${address(style.file)}>
            <img src=${address(style.file)} alt=${style.file.name} />
            ${under(style)}
            <button
              type="button" class="drop" aria-label=${`Remove ${style.file.name}`}
              onClick=${() => removeStyle(style.file)}
            >
              ×
            </button>
          </li>`,
      )}
    </ul>
    ${styles.length < most &&
    html`
      <div>
        <${FilePicker} onFiles=${acceptStyles} multiple label="Choose style pictures">
          ${styles.length ? "Add another" : "Choose a style picture"}
        <//>
      </div>`}`;
}

export function Example({ styles, strength, stroke, preserve_color }) {
  const setWeight = (file, weight) =>
    change({ styles: styles.map((style) => (style.file === file ? { file, weight } : style)) });
  const share = ({ file, weight }) =>
    styles.length > 1 &&
    html`
      <${Range}
        min="0.1" max="3" step="0.1" value=${weight} aria-label=${`How much of ${file.name}`}
        onCommit=${(to) => setWeight(file, to)}
      />`;
  return html`
    <h2>Like</h2>
    <${StylePictures} styles=${styles} most=${MOST.example.styles} under=${share} />
    <${Setting}
      label="Strength" name="strength" min="0" max="1" value=${strength} ends=${["the photo's own", "all of it"]}
    />
    <${Setting}
      label="Strokes" name="stroke" min="0.5" max="2" step="0.25" value=${stroke} ends=${["fine", "coarse"]}
    />
    <label class="row">
      <input
        type="checkbox" checked=${preserve_color} onChange=${() => change({ preserve_color: !preserve_color })}
      />
      Keep the photo's colours
    </label>`;
}
