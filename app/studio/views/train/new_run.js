// A run to start: a preset, what it would take, then all options, as the API's own description lists them.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { isAbort, json, post } from "../../api.js";
import { randomName } from "../../key.js";
import { Outcome, useAttempt } from "../../parts/attempt.js";
import { duration, megabytes } from "../../parts/units.js";
import { Choice, TextField, Tile, Trouble } from "../../parts/widgets.js";
import { pause, patiently } from "../../retrying.js";
import { FAMILIES, PRESETS, PRESET_NAMES } from "./presets.js";

const TYPING_MS = 400; // without a change, before a forecast is asked for

// What a run with these options would take: { forecast, error, waiting }.
function useForecast(family, request) {
  const [state, setState] = useState({ forecast: null, error: null, waiting: "" });
  const asked = JSON.stringify(request);
  useEffect(() => {
    const changed = new AbortController(); // an answer that comes late is not shown over a newer one
    const { signal } = changed;
    const set = (what) => !signal.aborted && setState({ forecast: null, error: null, waiting: "", ...what });
    const ask = async () => {
      set({}); // the present forecast is of other options
      await pause(TYPING_MS, signal);
      const attempt = () => post(`training/${family}?dry_run=true`, request, { signal });
      set({ forecast: await patiently(attempt, { signal, onWait: (waiting) => set({ waiting }) }) });
    };
    ask().catch((error) => !isAbort(error) && set({ error }));
    return () => changed.abort();
  }, [family, asked]);
  return state;
}

// A typed text as the option's own type.
function valueOf(field, text) {
  const types = [field.type, ...(field.anyOf ?? []).map((one) => one.type)];
  if (types.includes("array")) return text.split(/, */);
  if (types.includes("boolean")) return text === "true" ? true : text === "false" ? false : text;
  const isNumber = types.includes("number") || types.includes("integer");
  return isNumber && Number.isFinite(Number(text)) ? Number(text) : text;
}

export function NewRun({ dataset }) {
  const [family, setFamily] = useState("cyclegan");
  const [preset, setPreset] = useState("try");
  const [changed, setChanged] = useState({}); // options that a person typed
  const request = { dataset, ...PRESETS[family][preset], ...changed };
  const { forecast, error, waiting } = useForecast(family, request);
  const start = useAttempt();
  const begin = () => {
    const once = randomName();
    start.attempt(async ({ signal, patient }) => {
      const { id } = await patient(() => post(`training/${family}`, request, { once, signal }));
      location.hash = `#train/${id}`;
    });
  };
  const chooseFamily = (one) => {
    setChanged({});
    setFamily(one);
  };
  // An option that was emptied is left to the API, also if the preset has one.
  const set = (name, field, text) =>
    setChanged({ ...changed, [name]: text === "" ? undefined : valueOf(field, text) });
  const families = Object.entries(FAMILIES).map(([key, { name }]) => [key, name]);
  return html`
    <div class="page">
      <p><a href="#train">All runs</a></p>
      <h1>Train on ${dataset}</h1>
      <div class="row">
        <${Choice} label="Family" value=${family} onChange=${chooseFamily} options=${families} />
        <${Choice} label="Preset" value=${preset} onChange=${setPreset} options=${PRESET_NAMES} />
      </div>
      <${Outcome} error=${error ?? start.error} waiting=${waiting || start.waiting} />
      <div class="panel">
        <div role="status"><${Forecast} forecast=${forecast} error=${error} /></div>
        <div class="row">
          <button type="button" class="primary" disabled=${!forecast || start.busy} onClick=${begin}>Start</button>
        </div>
      </div>
      <${Options} key=${`${family} ${preset}`} schema=${FAMILIES[family].schema} request=${request} onSet=${set} />
    </div>`;
}

function Forecast({ forecast, error }) {
  if (!forecast)
    return html`<p class="muted">${error ? "It can't be started like this." : "Working out what it takes…"}</p>`;
  const { seconds, memory_mb, total_steps, estimated_by, warnings } = forecast;
  return html`
    <div class="tiles">
      <${Tile} name="Time" value=${duration(seconds)} />
      <${Tile} name="Memory" value=${megabytes(memory_mb)} />
      <${Tile} name="Steps" value=${total_steps} />
    </div>
    <p class="muted">Estimated: ${estimated_by}</p>
    ${warnings.map((warning) => html`<p class="note" key=${warning}>${warning}</p>`)}`;
}

function Options({ schema, request, onSet }) {
  const [schemas, setSchemas] = useState({});
  const [error, setError] = useState(null);
  useEffect(() => {
    json("openapi.json").then((api) => setSchemas(api.components.schemas), setError);
  }, []);
  const fields = Object.entries(schemas[schema]?.properties ?? {}).filter(([name]) => name !== "dataset");
  return html`
    <details>
      <summary>All options</summary>
      <${Trouble} error=${error} />
      <div class="fields options">
        ${fields.map(
          ([name, field]) => html`
            <${TextField}
              key=${name} label=${html`<span><code>${name}</code> ${field.description}</span>`}
              value=${request[name] ?? ""} placeholder=${String(field.default ?? "")}
              onChange=${(event) => onSet(name, field, event.target.value)}
            />`,
        )}
      </div>
    </details>`;
}
