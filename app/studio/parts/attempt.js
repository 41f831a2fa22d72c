// What a form or a button does: one thing at a time, with its error, and the wait for a server that is busy.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { isAbort } from "../api.js";
import { patiently, spoken } from "../retrying.js";
import { Trouble } from "./widgets.js";

const IDLE = { busy: false, error: null, waiting: "" };

// attempt(act) calls act({ signal, patient }) and gives whether it succeeded; patient(request) sends a request again
// while the server asks for that. cancel() aborts it, as leaving the view does.
export function useAttempt() {
  const [state, setState] = useState(IDLE);
  const current = useRef(null);
  useEffect(() => () => current.current?.abort(), []);
  const attempt = async (act) => {
    current.current?.abort();
    const mine = (current.current = new AbortController());
    const { signal } = mine;
    const set = (what) => !signal.aborted && setState((known) => ({ ...known, ...what }));
    const patient = async (request) => {
      const answer = await patiently(request, { signal, onWait: (waiting) => set({ waiting }) });
      set({ waiting: "" });
      return answer;
    };
    setState({ ...IDLE, busy: true });
    try {
      await act({ signal, patient });
      set(IDLE);
      return !signal.aborted;
    } catch (error) {
      set({ ...IDLE, error: isAbort(error) ? null : error });
      return false;
    }
  };
  const cancel = () => {
    current.current?.abort();
    setState(IDLE);
  };
  const fail = (error) => setState({ ...IDLE, error });
  return { ...state, attempt, cancel, fail };
}

export const Outcome = ({ error, waiting, children }) => html`
  <${Trouble} error=${error}>${children}<//>
  ${waiting &&
  html`
    <p class="note">
      <span aria-hidden="true">${waiting}</span><span class="unseen" role="status">${spoken(waiting)}</span>
    </p>`}`;
