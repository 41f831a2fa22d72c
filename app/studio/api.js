// The public API (see docs/openapi.json). Addresses are relative to the page, so they hold under any prefix.

const KEY = "doppel-key"; // in sessionStorage: an API key, where the server asks for one
const CLIENT = "doppel-client"; // in localStorage: the name under which this browser's jobs are listed
const PASSING = [429, 502, 503, 504]; // answers of a server, or of a proxy before it, that will be well again

// An answer that is an error, in the server's own words; or no answer at all.
export class Problem extends Error {
  constructor(detail, { status = 0, retryAfterS = 0, code = "" } = {}) {
    super(detail);
    this.status = status; // 0: the server could not be reached
    this.retryAfterS = retryAfterS;
    this.code = code; // what a program may do about it
  }

  get lost() {
    return this.status === 0;
  }

  // Whether the same request may well succeed a little later.
  get passing() {
    return this.lost || PASSING.includes(this.status);
  }
}

const lost = () => new Problem("The server can't be reached.");
const canceled = () => new DOMException("canceled", "AbortError");

// Storage that a browser may refuse; then what is stored lives as long as the page.
function stored(storage, name, value) {
  try {
    const place = window[storage];
    if (value !== undefined) place.setItem(name, value);
    return place.getItem(name) ?? memory.get(name) ?? "";
  } catch {
    if (value !== undefined) memory.set(name, value);
    return memory.get(name) ?? "";
  }
}
const memory = new Map();

const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const client = () => stored("localStorage", CLIENT) || stored("localStorage", CLIENT, random());
const currentKey = () => stored("sessionStorage", KEY);

function headers(key, more = {}) {
  return { "X-Client": client(), ...(key && { Authorization: `Bearer ${key}` }), ...more };
}

// Whether there is another key than the one that was refused. A person is asked once, and not again after Cancel.
let refused = false;
function hasAnotherKey(used) {
  if (currentKey() !== used) return true;
  if (refused) return false;
  const key = prompt(used ? "This key was not accepted. Another API key:" : "This server asks for an API key:");
  if (key) stored("sessionStorage", KEY, key.trim());
  else refused = true;
  return Boolean(key);
}

function problemOf(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a proxy's page, say
  }
  const detail = body.detail ?? body.error?.detail ?? `The server answered ${status}.`;
  return new Problem(detail, { status, retryAfterS: Number(retryAfter) || 0, code: body.code ?? body.error?.code });
}

function parsed(text, status) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem("Something between this page and the server answered in its place.", { status: status < 400 ? 502 : status });
  }
}

async function answer(path, options = {}) {
  const used = currentKey();
  const response = await fetch(path, { ...options, headers: headers(used, options.headers) }).catch((error) => {
    throw error.name === "AbortError" ? error : lost();
  });
  if (response.ok) return response;
  if (response.status === 401 && hasAnotherKey(used)) return answer(path, options);
  throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
}

export async function json(path, options) {
  const response = await answer(path, options);
  return parsed(await response.text(), response.status);
}
export const text = async (path, options) => (await answer(path, options)).text();
export const blob = async (path, options) => (await answer(path, options)).blob();
export const remove = (path) => answer(path, { method: "DELETE" });

export function post(path, body, options = {}) {
  if (body === undefined) return json(path, { method: "POST", ...options });
  const sent = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return json(path, { ...sent, ...options });
}

export function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof File) data.append(name, value, value.name || "picture");
    else if (value instanceof Blob) data.append(name, value, "picture");
    else if (Array.isArray(value)) for (const one of value) data.append(name, one);
    else if (value !== undefined && value !== null && value !== "") data.append(name, value);
  }
  return data;
}

// Send a form and tell how much of it is sent. fetch() can't tell, XMLHttpRequest can.
export function upload(path, fields, { onSent = () => {}, signal } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const used = currentKey();
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers(used, { Accept: "application/json" }))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    const abort = () => request.abort();
    request.onload = () => {
      const { status, responseText } = request;
      try {
        if (status < 300) resolve(parsed(responseText, status));
        else if (status === 401 && hasAnotherKey(used)) resolve(upload(path, fields, { onSent, signal }));
        else reject(problemOf(status, responseText, request.getResponseHeader("Retry-After")));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(lost());
    request.onabort = () => reject(canceled());
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    request.send(form(fields));
  });
}

// Call onEvent(name, data) for each server-sent event, until the stream ends. EventSource can't send a key.
export async function events(path, onEvent, { signal, lastId } = {}) {
  const response = await answer(path, { signal, headers: lastId ? { "Last-Event-ID": lastId } : {} });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : lost();
    });
    if (done) return;
    const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        const [, name, content] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name === "data") fields.data += content;
        else if (name) fields[name] = content;
      }
      if (fields.data) onEvent(fields.event, JSON.parse(fields.data), fields.id);
    }
  }
}

export const ended = (job) => !["queued", "running"].includes(job.status);

export const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(canceled());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });

// How long to wait before the same request is sent again, in ms.
export const delayMs = (error, otherwise = 1000) => (error.retryAfterS ? Math.min(error.retryAfterS, 30) * 1000 : otherwise);

// Follow a job to its end, over lost connections too. onState(job) at every change; returns the job.
export async function follow(job, onState, { signal, onLost = () => {} } = {}) {
  while (!ended(job)) {
    try {
      await events(`jobs/${job.id}/events`, (_, state) => onState((job = state)), { signal });
      if (!ended(job)) await pause(500, signal); // the server is ending
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing) throw error;
      onLost();
      await pause(delayMs(error), signal);
    }
  }
  return job;
}
