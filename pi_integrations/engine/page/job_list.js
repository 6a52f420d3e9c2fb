// The engine's jobs, fetched again and again while the page is in view.
import { ask, Unreachable } from "./api.js";
import { FAMILIES } from "./families.js";

const BUSY_PAUSE = 700;
const IDLE_PAUSE = 4000;
const OVER = ["DONE", "ERROR", "CANCELLED"];

/** Whether a state is final. */
export const isOver = (state) => OVER.includes(state);

/** Jobs of all families, newest first; `refused` says why the engine has none, such as having no job database. */
export class JobList extends EventTarget {
  jobs = [];
  refused = null;
  loaded = false;
  #watching = false;
  #timer = null;
  #asking = null;

  /** Fetches from now on, again and again, until `rest`. */
  watch() {
    if (!this.#watching) this.refresh();
    this.#watching = true;
  }

  /** Stops until `watch`. */
  rest() {
    clearTimeout(this.#timer);
    this.#watching = false;
  }

  /** Drops the jobs of another key. */
  clear() {
    Object.assign(this, { jobs: [], refused: null, loaded: false });
  }

  /** The job with this id, or undefined. */
  find(family, id) {
    return this.jobs.find((job) => job.job_id === id && job.family === family);
  }

  /** Fetches the jobs now, and sends a `change`. */
  refresh() {
    this.#asking ??= this.#refresh().finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #refresh() {
    clearTimeout(this.#timer);
    const began = performance.now();
    if (!document.hidden) await this.#ask();
    if (!this.#watching) return;
    const pause = this.jobs.some((job) => !isOver(job.state)) ? BUSY_PAUSE : IDLE_PAUSE;
    // A list that takes long is fetched less often.
    this.#timer = setTimeout(() => this.refresh(), Math.max(pause, 5 * (performance.now() - began)));
  }

  async #ask() {
    try {
      const lists = await Promise.all(FAMILIES.map(jobsOf));
      this.jobs = lists.flat().sort((one, other) => (other.created ?? 0) - (one.created ?? 0));
      this.refused = null;
      this.loaded = true;
    } catch (error) {
      if (error instanceof Unreachable && this.loaded) return;
      this.refused = error.status === 401 ? "the engine shows its jobs to those who have a key" : error.message;
    }
    this.dispatchEvent(new Event("change"));
  }
}

/** Starts a job and gives its id; the same `key` never starts two. */
export async function startJob(family, body, key) {
  const headers = { "idempotency-key": key };
  const { job_id } = await ask("POST", family.path, { body, headers });
  return job_id;
}

async function jobsOf(family) {
  const jobs = await ask("GET", family.path);
  return jobs.map((job) => ({ ...job, family }));
}
