// The view of all jobs.
import { age, byId, count, el, figure, write } from "./dom.js";

const SHOWN = 200;
const COUNTED = ["bad", "similar", "malformed"];

/** Shows `list` in the table, and again whenever it changes. */
export class JobsView {
  #rows = new Map();

  constructor(list) {
    this.list = list;
    list.addEventListener("change", () => this.draw());
    byId("jobs-state").addEventListener("change", () => this.draw());
  }

  /** Brings the table up to date; rows that stay keep their elements, and so the focus. */
  draw() {
    const state = byId("jobs-state").value;
    const jobs = this.list.jobs.filter((job) => !state || job.state === state);
    const shown = jobs.slice(0, SHOWN);
    const rows = shown.map((job) => this.#row(job));
    const body = byId("jobs-rows");
    rows.forEach((row, index) => body.children[index] !== row && body.insertBefore(row, body.children[index] ?? null));
    while (body.children.length > rows.length) body.lastChild.remove();
    byId("jobs-card").hidden = !shown.length;
    write(byId("jobs-empty"), shown.length ? null : this.#whyEmpty(state));
    write(byId("jobs-more"), jobs.length > SHOWN ? `${count(jobs.length - SHOWN, "older job")} not shown.` : null);
    byId("start").hidden = !this.list.loaded;
  }

  #whyEmpty(state) {
    if (this.list.refused) return `${this.list.refused[0].toUpperCase()}${this.list.refused.slice(1)}.`;
    if (!this.list.loaded) return "Asking the engine.";
    return state ? `No job is ${state}.` : "No jobs yet. The form starts one; so do the client and the shell.";
  }

  #row(job) {
    const key = `${job.family.path}/${job.job_id}`;
    const row = this.#rows.get(key) ?? newRow(job);
    this.#rows.set(key, row);
    fill(row, job);
    return row;
  }
}

/** The link to a job's own page. */
export const hrefOf = (family, id) => `#/jobs/${family.path}/${encodeURIComponent(id)}`;

function newRow(job) {
  const id = job.job_id.length > 12 ? `${job.job_id.slice(0, 8)}…` : job.job_id;
  const link = el("a", { href: hrefOf(job.family, job.job_id) }, job.family.name);
  return el(
    "tr",
    {},
    el("td", { class: "who" }, link, el("code", { title: job.job_id }, id)),
    el("td", {}, el("span", { class: "pill" })),
    el(
      "td",
      { class: "how" },
      el("div", { class: "progress" }, el("progress"), el("span")),
      el("div", { class: "figures-line" }),
    ),
    el("td", { class: "latest" }, el("span")),
    el("td", { class: "number age" }),
  );
}

function fill(row, job) {
  row.className = job.state;
  const pill = row.querySelector(".pill");
  pill.className = `pill ${job.state}`;
  write(pill, job.state);
  drawProgress(row.querySelector("progress"), row.querySelector(".progress span"), job, job.figures?.accepted);
  const figures = COUNTED.filter((name) => job.figures?.[name]).map((name) => `${figure(job.figures[name])} ${name}`);
  write(row.querySelector(".figures-line"), figures.join(" · "));
  write(row.querySelector(".latest span"), job.error ?? job.stopped ?? latest(job));
  write(row.querySelector(".age"), job.created ? age(job.created) : "–");
}

function latest(job) {
  const texts = (job.detailed_status ?? []).filter((line) => !/^[A-Z]+$/.test(line) && !line.startsWith("{"));
  return texts.at(-1);
}

/** Shows how many rows a job has made, as a bar where it is known how many it is to make. */
export function drawProgress(bar, label, job, made) {
  const total = job.wanted;
  bar.hidden = !total;
  if (total) {
    bar.max = total;
    bar.value = Math.min(made ?? 0, total);
  }
  const rows =
    made === undefined || made === null ? null : total ? `${figure(made)} of ${figure(total)}` : count(made, "row");
  write(label, rows);
}
