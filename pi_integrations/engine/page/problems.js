// An error of the engine, shown at the fields it is about.
import { Refusal } from "./api.js";

/**
 * Shows what went wrong with a request.
 *
 * `fields` maps the request's field names to controls, `rest` is where everything else goes, and `place` may say where
 * in a control's text a problem is.
 */
export function showProblems(error, fields, rest, place = () => null) {
  clearProblems(fields, rest);
  const others = [];
  const problems = error instanceof Refusal ? error.problems : [];
  for (const { loc, msg } of problems) {
    const [name, ...inside] = loc[0] === "body" ? loc.slice(1) : loc;
    const where = place(name, inside) ?? path(inside);
    if (fields[name]) addProblem(fields[name], where ? `${where}: ${msg}` : msg);
    else others.push([path(loc.slice(1)), msg].filter(Boolean).join(": "));
  }
  if (!problems.length) others.push(error.message);
  rest.textContent = others.map(sentence).join("\n");
  rest.hidden = !others.length;
  const first = Object.values(fields).find((control) => control.getAttribute("aria-invalid"));
  if (first?.closest("details")) first.closest("details").open = true;
  first?.focus();
}

/** Removes what was shown. */
export function clearProblems(fields, rest) {
  rest.hidden = true;
  for (const control of new Set(Object.values(fields))) {
    control.removeAttribute("aria-invalid");
    document.getElementById(`${control.id}-problem`)?.remove();
    describe(control, false);
  }
}

/** Shows a problem below a control. */
export function addProblem(control, message) {
  const id = `${control.id}-problem`;
  let shown = document.getElementById(id);
  if (!shown) {
    shown = document.createElement("p");
    shown.id = id;
    shown.className = "problem";
    control.after(shown);
  }
  shown.textContent += (shown.textContent && "\n") + sentence(message);
  control.setAttribute("aria-invalid", "true");
  describe(control, true);
}

function describe(control, problem) {
  const own = `${control.id}-problem`;
  const others = (control.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== own);
  const ids = problem ? [own, ...others] : others;
  if (ids.length) control.setAttribute("aria-describedby", ids.join(" "));
  else control.removeAttribute("aria-describedby");
}

const path = (parts) =>
  parts
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");

const sentence = (text) => (/^[a-z](?![\w]*[_[.])/.test(text) ? text[0].toUpperCase() + text.slice(1) : text);
