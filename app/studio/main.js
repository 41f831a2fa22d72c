// The frame of the page: which view is on screen, and the server's health in the header.

import { html, render } from "./vendor/preact-htm.js";
import { watchDrops } from "./drops.js";
import { acceptsFiles, dispatchFiles, server, watchServer } from "./state.js";

const VIEWS = {
  translate: () => import("./views/translate.js"),
  style: () => import("./views/style.js"),
  train: () => import("./views/train.js"),
  models: () => import("./views/models.js"),
  status: () => import("./views/status.js"),
};
const main = document.getElementById("view");
let shown = "";
let turn = 0; // of the newest change of the address: a view that loads later than the next one is not shown
let showing = Promise.resolve(); // ends when the newest view is on screen, or a newer one takes its place
const show = () => (showing = load(++turn));

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// The address: #view, #view/what it shows, or #view?settings.
async function load(mine) {
  const [name, ...rest] = location.hash.slice(1).split(/[/?]/).map(decoded);
  const view = VIEWS[name] ? name : "translate";
  const { View } = await VIEWS[view]().catch((error) => {
    console.warn(error);
    return { View: Missing };
  });
  if (mine !== turn) return;
  markLink(view);
  document.title = titleOf(view, rest);
  render(html`<${View} key=${view} path=${rest} />`, main);
  const place = [view, ...(view === "translate" ? [] : rest)].join("/");
  if (shown && shown !== place) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  shown = place;
}

function markLink(view) {
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function titleOf(view, rest) {
  if (view === "translate") return "Doppel";
  const name = view[0].toUpperCase() + view.slice(1);
  return `${name}${rest[0] && view === "train" ? `: ${rest.join(" ")}` : ""} · Doppel`;
}

const Missing = () => html`
  <div class="page">
    <h1>This view could not be loaded</h1>
    <p>
      The server can't be reached, or was upgraded.${" "}
      <button type="button" onClick=${() => location.reload()}>Load the page again</button>
    </p>
  </div>`;

function showHealth() {
  const { lost, status, problem } = server.get();
  const health = document.getElementById("health");
  document.getElementById("lost").hidden = !lost;
  health.textContent = healthInWords(lost, status, problem);
  health.parentNode.dataset.state = lost || problem ? "bad" : status?.ready ? "good" : "unknown";
}

function healthInWords(lost, status, problem) {
  if (lost) return "no connection";
  if (problem) return "not ready";
  if (!status) return "…";
  const { waiting } = status.queues.pictures;
  const words = [status.ready ? "ready" : "starting", waiting && `${waiting} waiting`, status.workers[0]?.device];
  return words.filter(Boolean).join(" · ");
}

// Files for a view that takes none go to Translate.
async function acceptFiles(files, entries, target) {
  if (!acceptsFiles()) {
    location.hash = "#translate";
    show();
    for (let seen = null; seen !== showing; ) await (seen = showing); // the change of the address shows the view again
  }
  dispatchFiles(files, entries, target);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names views, not places on the page
  main.focus();
});
addEventListener("hashchange", show);
server.subscribe(showHealth);
watchDrops(acceptFiles);
show();
watchServer();
