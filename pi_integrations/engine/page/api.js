// Requests to the engine that served this page. URLs are relative, so a proxy may put the page below a path.

const KEY = "pi-engine-key";
const SECONDS = 1000;

/** The engine did not answer at all. */
export class Unreachable extends Error {}

/** The engine answered with an error: its status, and what its `detail` says, as a text or as problems by field. */
export class Refusal extends Error {
  constructor(status, detail, retryable) {
    super(typeof detail === "string" ? detail : `the engine answered ${status}`);
    this.status = status;
    this.problems = Array.isArray(detail) ? detail : [];
    this.retryable = retryable;
  }
}

/** Tells `up`, `down` and `locked` (a key is wanted) as answers show it. */
export const connection = new EventTarget();

export const savedKey = () => sessionStorage.getItem(KEY);

export function saveKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** The response to a request; `body` is sent as JSON. Raises Unreachable or Refusal. */
export async function call(method, path, { body, headers = {}, signal, seconds = 60 } = {}) {
  const key = savedKey();
  const limit = seconds ? AbortSignal.timeout(seconds * SECONDS) : null;
  const given = {
    method,
    cache: "no-store",
    headers: { ...headers, ...(key && { "x-api-key": key }), ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.any([signal, limit].filter(Boolean)),
  };
  const response = await reached(fetch(path, given), signal);
  connection.dispatchEvent(new Event("up"));
  if (response.ok) return response;
  if (response.status === 401) connection.dispatchEvent(new CustomEvent("locked", { detail: { refused: key } }));
  throw await refusal(response);
}

/** The JSON of a response to a request. */
export async function ask(method, path, options) {
  const response = await call(method, path, options);
  return reached(response.json(), options?.signal);
}

async function reached(answer, signal) {
  try {
    return await answer;
  } catch (error) {
    if (signal?.aborted) throw error;
    connection.dispatchEvent(new Event("down"));
    throw new Unreachable("the engine does not answer");
  }
}

async function refusal(response) {
  const retryable = response.headers.get("x-should-retry") !== "false" && response.status >= 429;
  try {
    return new Refusal(response.status, (await response.json()).detail, retryable);
  } catch {
    return new Refusal(response.status, `the engine answered ${response.status}`, retryable);
  }
}
