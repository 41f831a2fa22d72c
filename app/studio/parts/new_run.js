// A run to start: a preset, what it would take, then all options, which the API's own description lists.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { json, pause, post } from "../api.js";
import { Choice, TextField, Trouble, duration, megabytes } from "./widgets.js";

const FAMILIES = { cyclegan: ["CycleGAN", "CycleGANRequest"], stargan: ["StarGAN v2", "StarGANRequest"] };
const PRESETS = {
  cyclegan: {
    try: { image_size: 64, load_size: 72, ngf: 16, ndf: 16, n_blocks: 2, minutes: 2, sample_every: 20, save_every: 50 },
    small: { image_size: 128, load_size: 143, ngf: 32, ndf: 32, n_blocks: 6, minutes: 60, sample_every: 100, save_every: 200 },
    paper: {},
  },
  stargan: {
    try: { img_size: 64, base_dim: 16, max_conv_dim: 64, batch_size: 4, w_hpf: 0, minutes: 2, sample_every: 20, save_every: 50, ema_beta: 0.99 },
    small: { img_size: 128, base_dim: 32, max_conv_dim: 256, batch_size: 4, masks: "ones", minutes: 60, sample_every: 100, save_every: 200, ema_beta: 0.99 },
    paper: {},
  },
};
const NAMES = [["try", "Try, 2 minutes"], ["small", "Small, an hour"], ["paper", "As in the paper"]];

export function NewRun({ dataset }) {
  const [family, setFamily] = useState("cyclegan");
  const [preset, setPreset] = useState("try");
  const [changed, setChanged] = useState({});
  const [options, setOptions] = useState({});
  const [forecast, setForecast] = useState(null);
  const [error, setError] = useState(null);
  const [starting, setStarting] = useState(false);
  useEffect(() => {
    json("openapi.json").then((api) => setOptions(api.components.schemas), setError);
  }, []);
  const request = { dataset, ...PRESETS[family][preset], ...changed };
  const asked = JSON.stringify(request);
  useEffect(() => {
    const canceled = new AbortController(); // an answer that comes late is not shown over a newer one
    const { signal } = canceled;
    setForecast(null); // it is of other options
    const work = async () => {
      try {
        await pause(400, signal);
        const answer = await post(`training/${family}?dry_run=true`, request, { signal });
        setForecast(answer);
        setError(null);
      } catch (problem) {
        if (problem.name !== "AbortError") setError(problem);
      }
    };
    work();
    return () => canceled.abort();
  }, [family, asked]);
  const start = async () => {
    setStarting(true);
    try {
      location.hash = `#train/${(await post(`training/${family}`, request)).id}`;
    } catch (problem) {
      setError(problem);
    }
    setStarting(false);
  };
  const set = (name, field, text) => {
    const { [name]: _, ...others } = changed;
    const value = [field.type, ...(field.anyOf ?? []).map((one) => one.type)].some((type) => ["number", "integer"].includes(type)) && Number.isFinite(Number(text)) ? Number(text) : field.type === "boolean" ? text === "true" : text;
    setChanged(text === "" ? others : { ...others, [name]: value });
  };
  const fields = Object.entries(options[FAMILIES[family][1]]?.properties ?? {}).filter(([name]) => name !== "dataset");
  return html`<div class="page">
    <p><a href="#train">All runs</a></p><h1>Train on ${dataset}</h1>
    <div class="row"><${Choice} label="Family" value=${family} onChange=${(one) => (setChanged({}), setFamily(one))} options=${Object.entries(FAMILIES).map(([key, [name]]) => [key, name])} />
      <${Choice} label="Preset" value=${preset} onChange=${setPreset} options=${NAMES} /></div>
    <${Trouble} error=${error} />
    <div class="panel" role="status">${forecast
      ? html`<div class="tiles">${[["Time", duration(forecast.seconds)], ["Memory", megabytes(forecast.memory_mb)], ["Steps", forecast.total_steps]].map(([name, value]) => html`<div class="tile" key=${name}><span class="muted">${name}</span><strong>${value}</strong></div>`)}</div>
          <p class="muted">Estimated: ${forecast.estimated_by}</p>${forecast.warnings.map((warning) => html`<p class="note" key=${warning}>${warning}</p>`)}`
      : html`<p class="muted">${error ? "It can't be started like this." : "Working out what it takes…"}</p>`}
      <div class="row"><button type="button" class="primary" disabled=${!forecast || starting} onClick=${start}>Start</button></div></div>
    <details><summary>All options</summary><div class="fields options">${fields.map(([name, field]) => html`<${TextField} key=${`${family} ${preset} ${name}`} label=${html`<span><code>${name}</code> ${field.description}</span>`}
      value=${request[name] ?? ""} placeholder=${String(field.default ?? "")} onChange=${(event) => set(name, field, event.target.value)} />`)}</div></details>
  </div>`;
}
