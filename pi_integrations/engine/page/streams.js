// Following a job's stream of lines: decoded as it comes, taken up again where it broke off.
import { call, Refusal } from "./api.js";

const FIRST_PAUSE = 300;
const LONGEST_PAUSE = 5000;

/**
 * Gives lines to `take`, some at a time, until the job is over and all were given, or `signal` aborts.
 *
 * `isOver` says whether the job has ended. A hidden tab lets go of its connection, since browsers allow six to a
 * server, and goes on when it is seen again. Raises Refusal when the engine refuses it.
 */
export async function follow(path, { take, isOver, signal }) {
  let next = 0;
  let pause = FIRST_PAUSE;
  while (!signal.aborted) {
    await seen(signal);
    const start = next;
    const over = isOver();
    try {
      await readFrom(path, start, signal, (lines) => {
        next += lines.length;
        take(lines);
      });
      // Only a stream that had nothing more, after the job's end, had all.
      if (over && next === start) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refusal && !error.retryable) throw error;
    }
    pause = next > start ? FIRST_PAUSE : Math.min(2 * pause, LONGEST_PAUSE);
    if (!isOver() || next === start) await wait(pause, signal);
  }
}

async function readFrom(path, start, signal, take) {
  const hidden = new AbortController();
  const hide = () => document.hidden && hidden.abort();
  document.addEventListener("visibilitychange", hide);
  try {
    const either = AbortSignal.any([signal, hidden.signal]);
    const response = await call("GET", `${path}?start=${start}`, { signal: either, seconds: 0 });
    // A service that does not know `start` begins anew.
    let known = start - Number(response.headers.get("x-pi-stream-start") ?? 0);
    for await (const lines of completeLines(response.body)) {
      const fresh = lines.slice(known);
      known = Math.max(0, known - lines.length);
      if (fresh.length && !either.aborted) take(fresh);
    }
  } finally {
    document.removeEventListener("visibilitychange", hide);
  }
}

/** Lines as they come; one that was cut off before its end is not given. */
async function* completeLines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    if (lines.length) yield lines;
  }
}

function wait(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

function seen(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look, { once: true });
    look();
  });
}
