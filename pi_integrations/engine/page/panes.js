// The two panes of a job: a box of lines each, fed by a stream, that shows the last few hundred and counts them all.
import { byId, count, el, figure, shortened, write } from "./dom.js";
import { readRow } from "./families.js";

const SHOWN = 500;
const SHOWN_CHARACTERS = 4000;
const GATHER = 60;
const NEAR = 40;
const STATE = /^[A-Z]+$/;

/** A box of lines; nothing is drawn after `signal` aborts. */
class Pane {
  total = 0;
  #waiting = [];
  #timer = null;
  // Who has scrolled up to read is left there.
  #following = true;

  constructor(name, stream, signal) {
    this.stream = stream;
    this.signal = signal;
    this.box = byId(`${name}-scroll`);
    this.counter = byId(`${name}-count`);
    this.list.replaceChildren();
    this.#drawCount();
    this.#keepEnd();
  }

  #keepEnd() {
    const { box, signal } = this;
    let width = box.clientWidth;
    const scrolled = () => {
      // A box that becomes narrower scrolls by itself.
      if (box.clientWidth === width) this.#following = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    };
    box.addEventListener("scroll", scrolled, { signal });
    const watcher = new ResizeObserver(() => {
      width = box.clientWidth;
      this.#toEnd();
    });
    watcher.observe(box);
    signal.addEventListener("abort", () => watcher.disconnect());
  }

  #toEnd() {
    if (this.#following) this.box.scrollTop = this.box.scrollHeight;
  }

  /** Takes lines; they are drawn some at a time. */
  add(lines) {
    this.total += lines.length;
    this.#waiting = this.#waiting.concat(lines).slice(-SHOWN);
    this.#timer ??= setTimeout(() => this.#draw(), GATHER);
  }

  #draw() {
    this.#timer = null;
    if (this.signal.aborted) return;
    const lines = this.#waiting;
    this.#waiting = [];
    const first = this.total - lines.length;
    this.list.append(...lines.map((line, index) => this.element(line, first + index)));
    while (this.list.children.length > SHOWN) this.list.firstChild.remove();
    this.#toEnd();
    this.#drawCount();
    this.drawn?.();
  }

  #drawCount() {
    write(
      this.counter,
      this.total > SHOWN ? `the last ${SHOWN} of ${figure(this.total)}` : this.total ? figure(this.total) : "",
    );
  }
}

/** A job's rows; `changed` is called when more were drawn. */
export class RowsPane extends Pane {
  constructor(family, signal, changed) {
    super("job-data", "data", signal);
    this.family = family;
    this.changed = changed;
    const columns = family.columns.map(([, title]) => el("th", { scope: "col" }, title));
    byId("job-head").replaceChildren(el("tr", {}, el("th", { scope: "col" }, "#"), ...columns));
    byId("job-no-rows").hidden = false;
  }

  get list() {
    return byId("job-rows");
  }

  element(line, index) {
    const row = readRow(this.family, line);
    const number = el("button", { type: "button", "aria-expanded": "false", title: "Whole text" }, figure(index + 1));
    const total =
      typeof row.scores?.total_score === "number"
        ? el("span", { class: "total", title: "Total score" }, row.scores.total_score.toFixed(2))
        : null;
    const cells = this.family.columns.map(([name]) =>
      el("td", {}, el("div", { class: "text" }, shortened(asText(row[name]), SHOWN_CHARACTERS))),
    );
    const made = el("tr", {}, el("td", { class: "index" }, number, total), ...cells);
    number.addEventListener("click", () => number.setAttribute("aria-expanded", String(made.classList.toggle("open"))));
    return made;
  }

  drawn() {
    byId("job-no-rows").hidden = this.total > 0;
    this.changed();
  }
}

/** A job's messages; `turned` is called when one says that the job's state is another. */
export class MessagesPane extends Pane {
  constructor(signal, turned) {
    super("job-messages", "messages", signal);
    this.turned = turned;
  }

  add(lines) {
    super.add(lines);
    if (lines.some((line) => STATE.test(line))) this.turned();
  }

  get list() {
    return byId("job-messages");
  }

  element(line) {
    const metrics = readMetrics(line);
    if (metrics)
      return el(
        "li",
        { class: "metric" },
        ...metrics.flatMap(([name, value]) => [el("span", {}, `${name} `, el("b", {}, value)), " "]),
      );
    return el("li", { class: STATE.test(line) ? "mark" : null }, shortened(line, SHOWN_CHARACTERS));
  }
}

function asText(value) {
  return typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
}

/** The names and values of a line that is a JSON object, without zeros and nulls; null for any other line. */
function readMetrics(line) {
  if (!line.startsWith("{")) return null;
  try {
    const values = Object.entries(JSON.parse(line)).filter(([, value]) => value !== null && value !== 0);
    return values.map(([name, value]) => [
      name.replaceAll("_", " "),
      shortened(typeof value === "number" ? figure(value) : asText(value), 200),
    ]);
  } catch {
    return null;
  }
}
