// The top of the page: whether the engine answers, its judge, and the form for a key.
import { ask, connection, saveKey, savedKey } from "./api.js";
import { announce, byId, write } from "./dom.js";

const BEAT = 10_000;
const IMPATIENT_BEAT = 1500;
const KEY_WANTED = "This engine asks for a key. It stays in this tab and is gone when the tab is closed.";
let state = "connecting";
let timer = null;

/** Watches the engine from now on; calls `back` when it answers again, and `changed` when there is another key. */
export function watchHealth({ back, changed }) {
  connection.addEventListener(
    "up",
    () => state === "down" && (turn("up"), announce("The engine is back"), look(), back()),
  );
  connection.addEventListener("down", () => state !== "down" && (turn("down"), plan(IMPATIENT_BEAT)));
  connection.addEventListener("locked", (event) => askForKey(event.detail.refused));
  byId("key-form").addEventListener("submit", (event) => useKey(event, changed));
  byId("forget-key").addEventListener("click", () => changeKey(null, changed));
  document.addEventListener("visibilitychange", () => document.hidden || look());
  byId("forget-key").hidden = !savedKey();
  look();
}

function turn(to) {
  state = to;
  byId("health").className = `health ${to}`;
  const since = new Date().toLocaleTimeString([], { timeStyle: "medium", hour12: false });
  write(
    byId("gone"),
    to === "down" ? `The engine at ${location.host} does not answer since ${since}. Trying again until it does.` : null,
  );
  if (to === "down") byId("health-text").textContent = "no answer";
}

async function look() {
  plan(state === "down" ? IMPATIENT_BEAT : BEAT);
  if (document.hidden) return;
  try {
    const { judge } = await ask("GET", "healthz", { seconds: 5 });
    turn("up");
    byId("health-text").textContent = `judge ${judge}`;
  } catch {
    // `call` has reported it.
  }
}

function plan(pause) {
  clearTimeout(timer);
  timer = setTimeout(look, pause);
}

function askForKey(refused) {
  // Another request may have been refused for the same key, and a better one be in use by now.
  if (refused && savedKey() && savedKey() !== refused) return;
  const first = byId("key-form").hidden;
  byId("key-form").hidden = false;
  byId("forget-key").hidden = true;
  if (first) byId("key-note").textContent = KEY_WANTED;
  if (refused) {
    saveKey(null);
    byId("key-note").textContent = "The engine does not know this key.";
    byId("key").setAttribute("aria-invalid", "true");
  }
  if (first || refused) byId("key").focus();
}

function useKey(event, changed) {
  event.preventDefault();
  const key = byId("key").value.trim();
  if (!key) return;
  if (!/^[\x21-\x7e]+$/.test(key)) {
    byId("key-note").textContent = "A key has no spaces and no letters beyond ASCII.";
    return;
  }
  changeKey(key, changed);
}

function changeKey(key, changed) {
  saveKey(key);
  byId("key").value = "";
  byId("key").removeAttribute("aria-invalid");
  byId("key-form").hidden = true;
  byId("forget-key").hidden = !key;
  changed();
}
