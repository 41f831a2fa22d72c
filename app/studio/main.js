// The frame of the page: which view is on screen, the server's health in the header, and files dropped anywhere.

import { html, render } from "./vendor/preact-htm.js";
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
let turn = 0; // of the newest change of the address: a view that is loaded later than the next one is not shown

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// The address: #view, or #view/what it shows.
let showing = Promise.resolve(); // ends when the newest view is on screen, or a newer one takes its place
const show = () => (showing = load(++turn));

async function load(mine) {
  const [name, ...rest] = location.hash.slice(1).split(/[/?]/).map(decoded);
  const view = VIEWS[name] ? name : "translate";
  const { View } = await VIEWS[view]().catch((error) => {
    console.warn(error);
    return { View: Missing };
  });
  if (mine !== turn) return;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = [view, ...(view === "translate" ? [] : rest)].join("/");
  const titled = view[0].toUpperCase() + view.slice(1) + (rest[0] && view === "train" ? `: ${rest.join(" ")}` : "");
  document.title = view === "translate" ? "Doppel" : `${titled} · Doppel`;
  render(html`<${View} key=${view} of=${rest} />`, main);
  if (shown && shown !== place) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  shown = place;
}

const Missing = () => html`<div class="page"><h1>This view could not be loaded</h1>
  <p>The server can't be reached, or was upgraded. <button type="button" onClick=${() => location.reload()}>Load the page again</button></p></div>`;

function showHealth() {
  const { lost, status, problem } = server.get();
  const health = document.getElementById("health");
  document.getElementById("lost").hidden = !lost;
  const waiting = status?.queues.pictures.waiting ?? 0;
  const device = status?.workers[0]?.device ?? "";
  const words = [status?.ready ? "ready" : "starting", waiting ? `${waiting} waiting` : "", device];
  health.textContent = lost ? "no connection" : problem ? "not ready" : status ? words.filter(Boolean).join(" · ") : "…";
  health.parentNode.dataset.state = lost || problem ? "bad" : status?.ready ? "good" : "unknown";
}

async function accept(files, entries, target) {
  if (!acceptsFiles()) {
    location.hash = "#translate";
    show();
    for (let seen = null; seen !== showing; ) await (seen = showing); // the change of the address shows the view again
  }
  dispatchFiles(files, entries, target);
}

function takeDrops() {
  let depth = 0;
  const mark = (dragging) => document.body.classList.toggle("dragging", dragging);
  const hasFiles = (event) => [...event.dataTransfer.types].some((type) => type === "Files" || type === "text/uri-list");
  addEventListener("dragenter", (event) => hasFiles(event) && mark(++depth > 0));
  addEventListener("dragleave", (event) => hasFiles(event) && mark(--depth > 0));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // never open the file in place of the page
    mark(false);
    depth = 0;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    accept([...event.dataTransfer.files], entries, event.target);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      accept(files, [], event.target);
    }
  });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names views, not places on the page
  main.focus();
});
addEventListener("hashchange", show);
server.subscribe(showHealth);
takeDrops();
show();
watchServer();
