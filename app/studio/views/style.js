// Style.

import { html } from "../vendor/preact-htm.js";

export const View = () => html`<div class="page"><h1>Style</h1></div>`;
