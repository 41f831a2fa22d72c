// Waiting: for a while, and until a server that is busy or away can be asked again.

import { aborted } from "./api.js";

const MOST_PATIENCE_S = 30; // a server that asks for more is not waited for
const LOST_PAUSE_S = 2;
const LOST = "The connection is lost. Trying again…";
const TOO_OFTEN = "The server asks to be called less often. Trying again…";

export const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(aborted());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });

// Wait before the request that failed with this problem is sent again. onWait(sentence): says why, and counts down.
export async function waitOut(problem, { signal, onWait }) {
  if (!problem.retryAfterS) {
    onWait(problem.status === 429 ? TOO_OFTEN : LOST);
    return pause(LOST_PAUSE_S * 1000, signal);
  }
  for (let left = problem.retryAfterS; left > 0; left--) {
    onWait(`${problem.message} Trying again in ${left} s.`);
    await pause(1000, signal);
  }
}

// What a screen reader says of such a sentence: not every second.
export const spoken = (sentence) => sentence.replace(/ in \d+ s/, " soon");

// Try until it succeeds, or fails in a way that waiting doesn't mend.
export async function patiently(attempt, { signal, onWait }) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const hopeless = error.status === 503 && !error.retryAfterS; // no worker is alive, say
      if (!error.passing || hopeless || error.retryAfterS > MOST_PATIENCE_S) throw error;
      await waitOut(error, { signal, onWait });
    }
  }
}
