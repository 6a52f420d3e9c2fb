// The form that starts a generation job.
import { byId, count, el } from "./dom.js";
import { FAMILIES } from "./families.js";
import { startJob } from "./job_list.js";
import { addProblem, clearProblems, showProblems } from "./problems.js";

const HINTS = {
  pairs: [
    '{"llm_input": "Where is my order?", "llm_output": "It left our warehouse today."}',
    "One pair a line, as JSON. Without any, the job invents its own.",
  ],
  inputs: ["Where is my order?", "One input a line. Without any, the job invents its own."],
};

/** Starts jobs; `started` is called with the family and the new job's id. */
export class StartForm {
  #attempt = { body: null, key: null };

  constructor(started) {
    this.started = started;
    const choices = FAMILIES.filter((family) => family.number).map((family, index) =>
      el(
        "label",
        {},
        el("input", { type: "radio", name: "kind", value: family.path, checked: index ? null : "" }),
        family.name,
      ),
    );
    byId("start-kind").append(...choices);
    byId("start-kind").addEventListener("change", () => this.#suit());
    byId("start").addEventListener("submit", (event) => this.#submit(event));
    this.#suit();
  }

  get #family() {
    const path = byId("start").elements.kind.value;
    return FAMILIES.find((family) => family.path === path);
  }

  get #fields() {
    const names = {
      application_description: "description",
      seeds: "seeds",
      exploration_mode: "mode",
      system_prompt: "system",
      scoring_spec: "spec",
      batch_size: "batch",
      num_shots: "shots",
      max_cost_usd: "cost",
      min_score: "min",
      run_parallel_batches: "parallel",
      [this.#family.number]: "number",
    };
    return Object.fromEntries(Object.entries(names).map(([name, id]) => [name, byId(`start-${id}`)]));
  }

  #suit() {
    const { kind } = this.#family;
    const [example, hint] = HINTS[kind];
    byId("start-seeds").placeholder = example;
    byId("start-seeds-hint").textContent = hint;
    for (const field of byId("start").querySelectorAll("[data-only]")) field.hidden = field.dataset.only !== kind;
    clearProblems(this.#fields, byId("start-problem"));
  }

  async #submit(event) {
    event.preventDefault();
    const family = this.#family;
    const fields = this.#fields;
    clearProblems(fields, byId("start-problem"));
    const seeds = readSeeds(family.kind, fields.seeds);
    const body = seeds && this.#body(family.kind, fields, seeds);
    if (!body) return;
    byId("start-button").disabled = true;
    try {
      const id = await startJob(family, body, this.#key(family, body));
      this.#attempt = { body: null, key: null };
      this.started(family, id);
    } catch (error) {
      const place = (name, [index, ...rest]) =>
        name === "seeds" && typeof index === "number" ? [`line ${seeds[index].line}`, ...rest].join(", ") : null;
      showProblems(error, fields, byId("start-problem"), place);
    } finally {
      byId("start-button").disabled = false;
    }
  }

  /** The request's body, without what was left empty; null when a field cannot be read. */
  #body(kind, fields, seeds) {
    const body = { seeds: seeds.map(({ value }) => value), run_parallel_batches: fields.run_parallel_batches.checked };
    for (const [name, control] of Object.entries(fields)) {
      if (name in body || control.closest("[data-only]")?.hidden || control.value.trim() === "") continue;
      body[name] = control.type === "number" ? control.valueAsNumber : control.value;
    }
    if (!body.scoring_spec) return body;
    try {
      return { ...body, scoring_spec: JSON.parse(body.scoring_spec) };
    } catch (error) {
      byId("start").querySelector("details").open = true;
      addProblem(fields.scoring_spec, `is no JSON: ${error.message}`);
      fields.scoring_spec.focus();
      return null;
    }
  }

  /** The idempotency key: the same while the same job is tried again, so that a lost answer makes no second job. */
  #key(family, body) {
    const text = family.path + JSON.stringify(body);
    if (this.#attempt.body !== text) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      this.#attempt = { body: text, key: Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
    }
    return this.#attempt.key;
  }
}

/** The seeds with the numbers of their lines; null, and shown at the control, when one cannot be read. */
function readSeeds(kind, control) {
  const lines = control.value
    .split("\n")
    .map((text, index) => ({ text: text.trim(), line: index + 1 }))
    .filter(({ text }) => text);
  const bad = [];
  const seeds = lines.map(({ text, line }) => {
    if (kind === "inputs" && !text.startsWith('"')) return { line, value: text };
    try {
      return { line, value: JSON.parse(text) };
    } catch (error) {
      if (kind === "inputs") return { line, value: text };
      bad.push(`line ${line} is no JSON: ${error.message}`);
      return null;
    }
  });
  if (!bad.length) return seeds;
  bad.slice(0, 3).forEach((problem) => addProblem(control, problem));
  if (bad.length > 3) addProblem(control, `and ${count(bad.length - 3, "other line")}`);
  control.focus();
  return null;
}
