// Follows a run: its state and its losses, kept up to date until it has ended.

import { useEffect, useState } from "../../vendor/preact-htm.js";
import { Problem, events, isAbort, json } from "../../api.js";
import { ended } from "../../jobs.js";
import { pause, waitOut } from "../../retrying.js";

const DRAWN_EVERY_MS = 500;
const REFRESH_MS = 5000; // the speed and the time left are no events
const POLL_MS = 3000; // of a run that is not streamed
const STREAM_PAUSE_MS = 1000; // before a stream that ended is opened again
const POINTS = 800; // of each curve, at first
const MOST_RECORDS = 1600;

// Every second one of the older records, so that a long run can still be drawn.
const thinned = (records) =>
  records.length <= MOST_RECORDS ? records : records.filter((_, n) => n % 2 === 0 || n > MOST_RECORDS * 0.9);

// What an event changes. state: { run, records }.
const ON_EVENT = {
  status: (state, run) => ({ ...state, run }),
  metrics: ({ run, records }, record) => {
    const kept = records.slice(0, records.findLastIndex((one) => one.step < record.step) + 1); // resumed: steps repeat
    return { run: { ...run, step: Math.max(run.step, record.step) }, records: thinned([...kept, record]) };
  },
  sample: ({ run, records }, { step }) => {
    const samples = [...new Set([...run.samples, step])].sort((a, b) => a - b);
    return { run: { ...run, samples }, records };
  },
  alarm: ({ run, records }, alarm) => {
    const isKnown = run.alarms.some((one) => one.detail === alarm.detail);
    return { run: { ...run, alarms: isKnown ? run.alarms : [...run.alarms, alarm] }, records };
  },
};

const visible = (signal) =>
  new Promise((resolve, reject) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", resolve, { signal, once: true });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });

// Call onState({ run, records }) at every change, until the run has ended. live: by an event stream, of which a browser
// allows few; else by asking now and then. Nothing is asked while the page is hidden.
async function watch(id, { signal, live, onState, onWait }) {
  for (;;) {
    await visible(signal);
    try {
      const run = await json(`training/${id}`, { signal });
      const records = await json(`training/${id}/metrics?points=${POINTS}`, { signal });
      onState({ run, records });
      if (ended(run)) return;
      if (live) await stream(id, { run, records }, { signal, onState });
      await pause(live ? STREAM_PAUSE_MS : POLL_MS, signal);
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing) throw error;
      await waitOut(error, { signal, onWait });
    }
  }
}

// Until the server ends the stream, or the page is hidden.
async function stream(id, state, { signal, onState }) {
  const hidden = new AbortController();
  const end = () => document.hidden && hidden.abort();
  const either = AbortSignal.any([signal, hidden.signal]);
  const change = (next) => onState((state = next));
  document.addEventListener("visibilitychange", end);
  const refresh = setInterval(async () => {
    const run = await json(`training/${id}`, { signal: either }).catch(() => null);
    if (run && !either.aborted) change({ ...state, run });
  }, REFRESH_MS);
  try {
    const onEvent = (name, data) => ON_EVENT[name] && change(ON_EVENT[name](state, data));
    await events(`training/${id}/events`, onEvent, { signal: either, lastId: String(state.records.at(-1)?.step ?? 0) });
  } catch (error) {
    if (signal.aborted || !isAbort(error)) throw error;
  } finally {
    clearInterval(refresh);
    document.removeEventListener("visibilitychange", end);
  }
}

// { run, records, error, waiting }. again: another value begins anew, as after Resume.
export function useRun(id, { again = 0, live = true } = {}) {
  const [shown, setShown] = useState({ run: null, records: [], error: null, waiting: "" });
  useEffect(() => {
    const left = new AbortController();
    const { signal } = left;
    let latest = { run: null, records: [] };
    let timer = null;
    const draw = (what = {}) => {
      clearTimeout(timer);
      timer = null;
      if (!signal.aborted) setShown({ ...latest, error: null, waiting: "", ...what });
    };
    const onState = (state) => {
      const isFirst = !latest.run;
      latest = state;
      if (isFirst || ended(state.run)) draw();
      else timer ??= setTimeout(draw, DRAWN_EVERY_MS);
    };
    const onWait = (waiting) => draw({ waiting });
    watch(id, { signal, live, onState, onWait }).catch((error) => draw({ error: isAbort(error) ? null : error }));
    return () => {
      left.abort();
      clearTimeout(timer);
    };
  }, [id, again, live]);
  return shown;
}

const NO_LOSSES = ["step", "seconds", "lr", "learning_rate"];

// The losses of a run as Chart takes them.
export function lossesOf(records) {
  const names = Object.keys(records.at(-1) ?? {}).filter((name) => !NO_LOSSES.includes(name));
  return names.map((name) => ({ name, points: records.map((record) => [record.step, record[name]]) }));
}
