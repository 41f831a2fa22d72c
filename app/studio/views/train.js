// Train.

import { html } from "../vendor/preact-htm.js";

export const View = () => html`<div class="page"><h1>Train</h1></div>`;
