// The kinds of jobs. A new one is an entry here: its path and its name; how its rows are written, if it has any, and
// their columns; and, if the form can start it, which field of the request says how many.
const PAIR = [
  ["llm_input", "Input"],
  ["llm_output", "Output"],
];

export const FAMILIES = [
  {
    path: "data/generate_input_response_pairs",
    name: "Pairs",
    kind: "pairs",
    rows: "json",
    columns: PAIR,
    number: "num_pairs_to_generate",
  },
  {
    path: "data/generate",
    name: "Inputs",
    kind: "inputs",
    rows: "text",
    columns: [["llm_input", "Input"]],
    number: "num_inputs_to_generate",
  },
];

/** The family at a path, or undefined. */
export const familyAt = (path) => FAMILIES.find((family) => family.path === path);

/** A line of a `/data` stream as a row: an object with a value per column. */
export function readRow(family, line) {
  try {
    const value = family.rows === "json" || line.startsWith('"') ? JSON.parse(line) : line;
    return asRow(family, value);
  } catch {
    return asRow(family, line);
  }
}

/** A row as the status tells it, or as a stream does, as an object. */
export function asRow(family, value) {
  const isObject = typeof value === "object" && value !== null;
  return isObject ? value : { [family.columns[0][0]]: String(value) };
}
