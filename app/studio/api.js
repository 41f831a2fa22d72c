// The public API (see docs/openapi.json). Addresses are relative to the page, so they hold under any prefix.

const KEY = "doppel-key"; // in sessionStorage: an API key, where the server asks for one

// An answer that is an error, in the server's own words; or no answer at all.
export class Problem extends Error {
  constructor(detail, { status = 0, retryAfterS = 0, title = "" } = {}) {
    super(detail);
    this.status = status; // 0: the server could not be reached
    this.title = title;
    this.retryAfterS = retryAfterS;
  }

  get lost() {
    return this.status === 0;
  }
}

const lost = () => new Problem("The server can't be reached.");

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}`, ...more } : more;
}

function problemOf(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a proxy's page, say
  }
  const detail = body.detail ?? body.error?.detail ?? `The server answered ${status}.`;
  return new Problem(detail, { status, retryAfterS: Number(retryAfter) || 0, title: body.title ?? body.error?.title });
}

async function answer(path, options = {}) {
  const retrying = { ...options, headers: headers(options.headers) };
  const response = await fetch(path, retrying).catch((error) => {
    throw error.name === "AbortError" ? error : lost();
  });
  if (response.ok) return response;
  if (response.status === 401 && askForKey()) return answer(path, options);
  throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
}

// Ask once for an API key and keep it until the browser session ends.
function askForKey() {
  const key = prompt("This server asks for an API key:");
  if (key) sessionStorage.setItem(KEY, key.trim());
  return Boolean(key);
}

export const json = async (path, options) => (await answer(path, options)).json();
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
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers({ Accept: "application/json" })))
      request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.onload = () => {
      const { status, responseText } = request;
      if (status < 300) resolve(JSON.parse(responseText));
      else if (status === 401 && askForKey()) resolve(upload(path, fields, { onSent, signal }));
      else reject(problemOf(status, responseText, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(lost());
    request.onabort = () => reject(new DOMException("canceled", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
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
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("canceled", "AbortError"));
    });
  });

// Follow a job to its end, over lost connections too. onState(job) at every change; returns the job.
export async function follow(job, onState, { signal, onLost = () => {} } = {}) {
  while (!ended(job)) {
    try {
      await events(`jobs/${job.id}/events`, (_, state) => onState((job = state)), { signal });
      if (!ended(job)) await pause(500, signal); // the server is ending
    } catch (error) {
      if (!(error instanceof Problem) || !(error.lost || error.status === 503)) throw error;
      onLost();
      await pause(1000, signal);
    }
  }
  return job;
}
