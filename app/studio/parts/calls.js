// The call that a form stands for, in several languages, to be copied.

import { html, useState } from "../vendor/preact-htm.js";
import { LANGUAGES, recipe } from "./recipes.js";
import { Choice, ActionButton } from "./widgets.js";

// call: [path, fields, ending of the result's file].
export function Calls({ call, title = "Call it from a program" }) {
  const [language, setLanguage] = useState(LANGUAGES[0]);
  const written = recipe(language, ...call);
  const copy = () => navigator.clipboard.writeText(written);
  return html`
    <details class="calls">
      <summary>${title}</summary>
      <${Choice}
        label="Language" value=${language} onChange=${setLanguage}
        options=${LANGUAGES.map((one) => [one, one])}
      />
      <div class="code">
        <pre tabindex="0">${written}</pre>
        <${ActionButton} act=${copy} done="Copied" className="small">Copy<//>
      </div>
      <p class="muted">All calls are in <a href="docs">the documentation</a>.</p>
    </details>`;
}
