// The form that starts a job, built from the fields of the chosen family's request.
import { byId, count, el } from "./dom.js";
import { FAMILIES, titled } from "./families.js";
import { startJob } from "./job_list.js";
import { addProblem, clearProblems, showProblems } from "./problems.js";

const NUMBER = { id: "number", label: "Number", value: 20, more: false };

// Fields with a label, a hint or a place of their own, in the order of the form. Those of a family that are not here
// come after them, in the request's order: required ones in the form itself, the others below "More settings".
const KNOWN = {
  application_description: {
    id: "description",
    label: "Description",
    rows: 3,
    placeholder: "What the application does, and for whom",
    more: false,
  },
  seeds: {
    id: "seeds",
    label: "Seeds",
    more: false,
    ofItems: {
      object: {
        placeholder: '{"llm_input": "Where is my order?", "llm_output": "It left our warehouse today."}',
        hint: "One pair a line, as JSON. Without any, the job invents its own.",
      },
      string: {
        placeholder: "Where is my order?",
        hint: "One input a line. Without any, the job invents its own.",
      },
    },
  },
  examples: {
    id: "examples",
    label: "Labelled examples",
    placeholder: '{"llm_input": "Where is my order?", "llm_output": "It left today.", "score": 0.8}',
    hint: "One a line, as JSON; score from 0 (bad) to 1 (good).",
    more: false,
  },
  preference_examples: {
    id: "preferences",
    label: "Preferences",
    placeholder: '{"llm_input": "Where is my order?", "chosen": "It left today.", "rejected": "No idea."}',
    hint: "One a line, as JSON. Labels, preferences, or both.",
    more: false,
  },
  num_pairs_to_generate: NUMBER,
  num_inputs_to_generate: NUMBER,
  exploration_mode: { id: "mode", label: "Exploration", more: false },
  system_prompt: { id: "system", rows: 3, hint: "The application's own; when given, it answers the inputs." },
  scoring_spec: {
    id: "spec",
    hint: "JSON; judges each pair in place of the generator.",
    ifRequired: { hint: "JSON: a list of questions, or a dimension spec.", more: false },
  },
  batch_size: { id: "batch", placeholder: "default" },
  num_shots: { id: "shots", label: "Examples shown", placeholder: "default" },
  max_cost_usd: { id: "cost", label: "Ceiling, US$", placeholder: "none" },
  min_score: { id: "min", label: "Lowest score", placeholder: "0.5 with a spec" },
  run_parallel_batches: { id: "parallel", label: "Several batches at a time" },
};
const NOT_SHOWN = ["webhook_url"];
const ORDER = Object.keys(KNOWN);

/** Starts jobs; `started` is called with the family and the new job's id. */
export class StartForm {
  #attempt = { body: null, key: null };
  #fields = [];

  constructor(started) {
    this.started = started;
    const choices = FAMILIES.map((family, index) =>
      el(
        "label",
        {},
        el("input", { type: "radio", name: "kind", value: family.path, checked: index ? null : "" }),
        family.name,
      ),
    );
    byId("start-kind").append(...choices);
    byId("start-kind").addEventListener("change", () => this.#build());
    byId("start").addEventListener("submit", (event) => this.#submit(event));
    this.#build();
  }

  get #family() {
    const path = byId("start").elements.kind.value;
    return FAMILIES.find((family) => family.path === path);
  }

  get #controls() {
    return Object.fromEntries(this.#fields.map(({ name, control }) => [name, control]));
  }

  /** Draws the fields of the chosen family; entries of fields that both families have are kept. */
  #build() {
    const before = new Map(this.#fields.map(({ control }) => [control.id, control]));
    this.#fields = fieldsOf(this.#family);
    for (const { control } of this.#fields) {
      const entered = before.get(control.id);
      if (entered?.tagName === control.tagName) copyEntry(entered, control);
    }
    byId("start-fields").replaceChildren(...arranged(this.#fields.filter((field) => !field.more)));
    byId("start-more-fields").replaceChildren(...arranged(this.#fields.filter((field) => field.more)));
    byId("start-more").hidden = !this.#fields.some((field) => field.more);
    byId("start-problem").hidden = true;
  }

  async #submit(event) {
    event.preventDefault();
    const family = this.#family;
    const controls = this.#controls;
    clearProblems(controls, byId("start-problem"));
    const lines = {};
    const body = this.#body(lines);
    if (!body) return;
    byId("start-button").disabled = true;
    try {
      const id = await startJob(family, body, this.#key(family, body));
      this.#attempt = { body: null, key: null };
      this.started(family, id);
    } catch (error) {
      const place = (name, [index, ...rest]) =>
        name in lines && typeof index === "number" ? [`line ${lines[name][index]}`, ...rest].join(", ") : null;
      showProblems(error, controls, byId("start-problem"), place);
    } finally {
      byId("start-button").disabled = false;
    }
  }

  /** The request's body, without fields left empty; null when one cannot be read. `lines` gets the lines of lists. */
  #body(lines) {
    const body = {};
    let faulty = null;
    for (const field of this.#fields) {
      const read = readField(field, lines);
      if (read.faulty) faulty ??= field.control;
      else if (read.value !== undefined) body[field.name] = read.value;
    }
    if (!faulty) return body;
    if (faulty.closest("details")) faulty.closest("details").open = true;
    faulty.focus();
    return null;
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

/** The fields of a family's form, each with its control and the element that holds it. */
function fieldsOf(family) {
  const position = ({ name }) => (name in KNOWN ? ORDER.indexOf(name) : ORDER.length);
  return family.fields
    .filter(({ name }) => !NOT_SHOWN.includes(name))
    .sort((one, other) => position(one) - position(other))
    .map((field) => {
      const known = KNOWN[field.name] ?? {
        id: field.name,
        hint: [field.description, formOf(field)].filter(Boolean).join(" "),
        more: !field.required,
      };
      const special = { ...known.ofItems?.[field.items], ...(field.required ? known.ifRequired : null) };
      const shown = { label: titled(field.name), more: true, ...known, ...special };
      const control = controlOf(field, shown);
      const isSmall = Boolean(field.enum) || ["integer", "number"].includes(field.type);
      return { ...field, more: shown.more, isSmall, control, element: elementOf(field, shown, control) };
    });
}

/** How a field without a control of its own kind is written. */
function formOf({ type, items, enum: choices }) {
  if (type === "array") return items === "string" ? "One a line." : "One a line, as JSON.";
  return choices || ["string", "integer", "number", "boolean"].includes(type) ? null : "As JSON.";
}

function controlOf(field, { id, hint, value, rows, placeholder }) {
  const common = { id: `start-${id}`, placeholder, "aria-describedby": hint ? `start-${id}-hint` : null };
  if (field.type === "boolean") return el("input", { ...common, type: "checkbox", checked: field.default ? "" : null });
  if (field.enum) {
    const choices = field.default === undefined ? ["", ...field.enum] : field.enum;
    return el("select", common, ...choices.map((each) => option(each, each === field.default)));
  }
  if (field.type === "integer" || field.type === "number") {
    const isWhole = field.type === "integer";
    return el("input", {
      ...common,
      type: "number",
      inputmode: isWhole ? "numeric" : "decimal",
      min: field.minimum,
      max: field.maximum,
      step: isWhole ? null : "any",
      value,
      placeholder: placeholder ?? field.default,
    });
  }
  if (field.type === "string")
    return rows ? el("textarea", { ...common, rows }) : el("input", { ...common, type: "text" });
  const long = field.type === "array" ? 5 : 3;
  return el("textarea", { ...common, class: "code", rows: long, spellcheck: "false" });
}

const option = (text, isChosen) => el("option", { selected: isChosen ? "" : null }, String(text));

function elementOf(field, { id, label, hint }, control) {
  const about = hint && el("p", { class: "hint", id: `start-${id}-hint` }, hint);
  if (field.type !== "boolean")
    return el("div", { class: "field" }, el("label", { for: control.id }, label), control, about);
  const check = el("label", { class: "check" }, control, ` ${label}`);
  return KNOWN[field.name] ? check : el("div", { class: "field" }, check, about);
}

/** The fields' elements, two small ones side by side. */
function arranged(fields) {
  const rows = [];
  let pair = null;
  for (const { element, isSmall } of fields) {
    if (isSmall && !pair) rows.push((pair = el("div", { class: "pair" })));
    (isSmall ? pair : rows)[isSmall ? "append" : "push"](element);
    if (!isSmall || pair.children.length === 2) pair = null;
  }
  return rows;
}

function copyEntry(from, to) {
  if (to.type === "checkbox") to.checked = from.checked;
  else if (to.tagName !== "SELECT" || [...to.options].some(({ value }) => value === from.value)) to.value = from.value;
}

/** A field's `value`, undefined when it is empty; or `faulty`, with the reason shown at its control. */
function readField({ name, type, items, required, control }, lines) {
  if (type === "boolean") return { value: control.checked };
  if (type === "array") return readLines(control, items === "string", required, (numbers) => (lines[name] = numbers));
  if (control.value.trim() === "") return {};
  if (type === "integer" || type === "number") return { value: Number(control.value) };
  if (type === "string" || control.tagName === "SELECT") return { value: control.value };
  try {
    return { value: JSON.parse(control.value) };
  } catch (error) {
    addProblem(control, `is not valid JSON: ${error.message}`);
    return { faulty: true };
  }
}

/** The items of a list, one a line: JSON, or for a list of texts the text itself. `number` gets the items' lines. */
function readLines(control, isTexts, required, number) {
  const filled = control.value
    .split("\n")
    .map((text, index) => ({ text: text.trim(), line: index + 1 }))
    .filter(({ text }) => text);
  if (!filled.length) return required ? { value: [] } : {};
  const faults = [];
  const value = filled.map(({ text, line }) => {
    if (isTexts && !text.startsWith('"')) return text;
    try {
      return JSON.parse(text);
    } catch (error) {
      if (!isTexts) faults.push(`line ${line} is not valid JSON: ${error.message}`);
      return text;
    }
  });
  number(filled.map(({ line }) => line));
  faults.slice(0, 3).forEach((fault) => addProblem(control, fault));
  if (faults.length > 3) addProblem(control, `and ${count(faults.length - 3, "other line")}`);
  return faults.length ? { faulty: true } : { value };
}
