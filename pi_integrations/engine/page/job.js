// The view of one job: how it is going, its messages and its rows as they come.
import { ask, call, Refusal } from "./api.js";
import { age, announce, byId, el, figure, shortened, write } from "./dom.js";
import { asRow } from "./families.js";
import { isOver } from "./job_list.js";
import { drawProgress } from "./jobs.js";
import { MessagesPane, RowsPane } from "./panes.js";
import { follow } from "./streams.js";

const SHOWN_FIGURES = {
  input_tokens: "tokens read",
  output_tokens: "tokens written",
  cost_usd: "cost, US$",
  distinct_2: "distinct-2",
  mean_pairwise_similarity: "mean similarity",
};

/** Shows one job at a time. */
export class JobView {
  #leaving = new AbortController();
  #job = null;

  constructor(list) {
    this.list = list;
    list.addEventListener("change", () => this.#look());
    byId("job-cancel").addEventListener("click", () => this.#askWhetherToCancel());
    byId("cancel-keep").addEventListener("click", () => byId("cancel-dialog").close());
    byId("cancel-yes").addEventListener("click", () => this.#cancel());
    byId("job-download").addEventListener("click", () => this.#download());
  }

  /** Shows this job from now on. */
  open(family, id) {
    this.close();
    this.#leaving = new AbortController();
    Object.assign(this, { family, id });
    this.#job = null;
    byId("job-title").textContent = `${family.name} job`;
    for (const name of ["job-found", "job-missing", "job-cancel", "job-download", "job-state"])
      byId(name).hidden = true;
    write(byId("job-about"), id);
    byId("job-data").hidden = !family.items;
    this.rows = family.items ? new RowsPane(family, this.#leaving.signal, () => this.#countRows()) : null;
    this.messages = new MessagesPane(this.#leaving.signal, () => this.list.refresh());
    this.#follow(`${family.path}/${encodeURIComponent(id)}`, this.#leaving.signal);
    this.list.refresh();
  }

  /** Stops following. */
  close() {
    this.#leaving.abort();
    this.family = null;
    byId("cancel-dialog").close();
  }

  async #follow(path, signal) {
    const isEnded = () => isOver(this.#job?.state);
    const streams = [this.messages, this.rows]
      .filter(Boolean)
      .map((pane) => follow(`${path}/${pane.stream}`, { take: (lines) => pane.add(lines), isOver: isEnded, signal }));
    try {
      await Promise.all(streams);
    } catch (error) {
      if (!signal.aborted && error.status !== 401) this.#missing(error);
    }
  }

  #missing(error) {
    const why =
      error instanceof Refusal && error.status === 404
        ? "The engine has no such job, or it is another key's."
        : error.message;
    write(byId("job-missing"), why);
    byId("job-found").hidden = true;
  }

  async #look() {
    if (!this.family) return;
    const job = this.list.find(this.family, this.id) ?? (await this.#alone());
    if (job && this.family && job.job_id === this.id) this.#draw(job);
  }

  /** A job that is older than what the list holds. */
  async #alone() {
    const isMissing = !byId("job-missing").hidden;
    if (!this.list.loaded || isMissing || isOver(this.#job?.state)) return this.#job;
    try {
      const job = await ask("GET", `${this.family.path}/${encodeURIComponent(this.id)}`, {
        signal: this.#leaving.signal,
      });
      return { ...job, data: null };
    } catch {
      return null;
    }
  }

  #draw(job) {
    const before = this.#job?.state;
    this.#job = job;
    byId("job-found").hidden = false;
    byId("job-missing").hidden = true;
    byId("job-found").className = job.state;
    byId("job-state").className = `pill ${job.state}`;
    write(byId("job-state"), job.state);
    write(byId("job-about"), job.created ? `${this.id} · started ${age(job.created)} ago` : this.id);
    write(byId("job-error"), job.error ?? job.stopped);
    byId("job-cancel").hidden = isOver(job.state);
    if (isOver(job.state)) byId("cancel-dialog").close();
    this.#drawFigures(job.figures ?? {});
    this.#countRows();
    if (before && before !== job.state) announce(`The job is ${job.state}`);
  }

  #drawFigures(figures) {
    const numbers = Object.entries(figures).filter(([, value]) => typeof value === "number");
    byId("job-figures").replaceChildren(
      ...numbers.map(([name, value]) =>
        el("div", {}, el("dt", {}, SHOWN_FIGURES[name] ?? name.replaceAll("_", " ")), el("dd", {}, figure(value))),
      ),
    );
    byId("job-figures").hidden = !numbers.length;
  }

  #countRows() {
    if (!this.#job) return;
    const made = this.rows ? Math.max(this.rows.total, this.#job.figures?.accepted ?? 0) : null;
    drawProgress(byId("job-progress"), byId("job-count"), this.#job, made);
    byId("job-download").hidden = !made;
  }

  #askWhetherToCancel() {
    const made = this.rows?.total ?? 0;
    byId("cancel-text").textContent = made
      ? "The rows it has made are kept. It cannot be resumed."
      : "It has made nothing yet. It cannot be resumed.";
    byId("cancel-problem").hidden = true;
    byId("cancel-dialog").showModal();
  }

  async #cancel() {
    byId("cancel-yes").disabled = true;
    try {
      await call("DELETE", `${this.family.path}/${encodeURIComponent(this.id)}`);
      byId("cancel-dialog").close();
      byId("job-title").focus();
      this.list.refresh();
    } catch (error) {
      write(byId("cancel-problem"), error.message);
    } finally {
      byId("cancel-yes").disabled = false;
    }
  }

  async #download() {
    const button = byId("job-download");
    button.disabled = true;
    try {
      const { data } = await ask("GET", `${this.family.path}/${encodeURIComponent(this.id)}`);
      save(
        data.map((row) => `${JSON.stringify(asRow(this.family, row))}\n`),
        `${this.family.kind}-${this.id}.jsonl`,
      );
    } catch (error) {
      write(byId("job-error"), `The rows could not be fetched: ${shortened(error.message, 300)}`);
    } finally {
      button.disabled = false;
    }
  }
}

function save(parts, name) {
  const url = URL.createObjectURL(new Blob(parts, { type: "application/jsonl" }));
  el("a", { href: url, download: name.replaceAll(/[^\w.-]/g, "_") }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
