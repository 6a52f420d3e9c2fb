// Elements and texts. What comes from the engine reaches the page through `el` and `write`, as text and never as HTML.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element; attributes that are null or undefined are left out, and strings among the children become text. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets an element's text, and hides it when there is none. */
export function write(element, text) {
  const shown = text ?? "";
  if (element.textContent !== shown) element.textContent = shown;
  element.hidden = shown === "";
}

/** Tells screen readers something that sighted people see happen. */
export function announce(text) {
  byId("announcer").textContent = text;
}

const whole = new Intl.NumberFormat("en");
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A number as people read it: 12,345 or 0.0312. */
export const figure = (value) => (Number.isInteger(value) ? whole : fine).format(value);

/** `1 row`, `2 rows`. */
export const count = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;

/** How long ago a time (seconds since 1970) was, in one unit. */
export function age(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  for (const [unit, size] of [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
  ]) {
    if (past >= size) return `${Math.floor(past / size)} ${unit}`;
  }
  return `${Math.floor(past)} s`;
}

/** The first characters of a text, and how many more there are. */
export function shortened(text, limit) {
  const more = text.length - limit;
  return more > 0 ? `${text.slice(0, limit)}… (${whole.format(more)} more characters)` : text;
}
