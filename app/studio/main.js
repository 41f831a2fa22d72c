// The frame of the page: which view is on screen, the server's health in the header, and files dropped anywhere.

import { html, render } from "./vendor/preact-htm.js";
import { giveFiles, hasTaker, server, watchServer } from "./state.js";

const VIEWS = {
  translate: () => import("./views/translate.js"),
  style: () => import("./views/style.js"),
  train: () => import("./views/train.js"),
  models: () => import("./views/models.js"),
  status: () => import("./views/status.js"),
};
const main = document.getElementById("view");
let shown = "";

// The address: #view, or #view/what it shows.
async function show() {
  const [name, ...rest] = location.hash.slice(1).split(/[/?]/).map(decodeURIComponent);
  const view = VIEWS[name] ? name : "translate";
  const { View } = await VIEWS[view]();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "translate" ? "Doppel" : `${view[0].toUpperCase()}${view.slice(1)} · Doppel`;
  render(html`<${View} key=${view} of=${rest} />`, main);
  if (shown && shown !== view) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  shown = view;
}

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

async function take(files, entries) {
  if (!hasTaker()) {
    location.hash = "#translate";
    await show();
  }
  giveFiles(files, entries);
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
    take([...event.dataTransfer.files], entries);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      take(files, []);
    }
  });
}

addEventListener("hashchange", show);
server.subscribe(showHealth);
takeDrops();
show();
watchServer();
