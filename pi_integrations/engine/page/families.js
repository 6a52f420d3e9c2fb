// The families of jobs, as the engine's registry describes them: paths, items and their columns, request fields.
const TITLES = { llm_input: "Input", llm_output: "Output" };
const PAUSE = 1500;

/** Every family, in the engine's order. Paths are relative, so a proxy may put the page below a path. */
export const FAMILIES = (await load()).map((family) => ({
  ...family,
  path: family.path.slice(1),
  name: titled(family.kind),
  columns: family.columns.map((name) => [name, TITLES[name] ?? titled(name)]),
}));

async function load() {
  for (;;) {
    try {
      const answer = await fetch("page/families.json");
      if (answer.ok) return await answer.json();
    } catch {
      // The engine stopped after it sent this file; it is tried again.
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

/** A name of the API as a title: `batch_size` is `Batch size`. */
export function titled(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** The family at a path, or undefined. */
export const familyAt = (path) => FAMILIES.find((family) => family.path === path);

/** A line of a `/data` stream as a row: an object with a value per column. */
export function readRow(family, line) {
  try {
    const value = family.items === "json" || line.startsWith('"') ? JSON.parse(line) : line;
    return asRow(family, value);
  } catch {
    return asRow(family, line);
  }
}

/** An item of a job's status or of its stream as a row. */
export function asRow(family, value) {
  const hasColumns = typeof value === "object" && value !== null && family.columns.some(([name]) => name in value);
  return hasColumns ? value : { [family.columns[0][0]]: typeof value === "string" ? value : JSON.stringify(value) };
}
