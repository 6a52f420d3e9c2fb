// The scoring playground: a spec, an exchange, and what the engine makes of them.
import { ask } from "./api.js";
import { announce, byId } from "./dom.js";
import { EXAMPLES, INPUT, OUTPUT } from "./examples.js";
import { addProblem, clearProblems, showProblems } from "./problems.js";
import { drawScores } from "./scores.js";

/** Sets the playground going. */
export function startPlayground() {
  byId("score-input").value = INPUT;
  byId("score-output").value = OUTPUT;
  useExample("questions");
  for (const button of document.querySelectorAll("[data-example]")) {
    button.addEventListener("click", () => useExample(button.dataset.example));
  }
  byId("score-format").addEventListener("click", () => {
    const spec = readSpec();
    if (spec !== undefined) byId("score-spec").value = JSON.stringify(spec, null, 2);
  });
  byId("score").addEventListener("submit", score);
  byId("score").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("score").requestSubmit();
  });
}

function useExample(name) {
  byId("score-spec").value = JSON.stringify(EXAMPLES[name], null, 2);
  clearProblems(fields(), byId("score-problem"));
}

const fields = () => ({
  scoring_spec: byId("score-spec"),
  llm_input: byId("score-input"),
  llm_output: byId("score-output"),
  aggregation_method: byId("score-method"),
});

function readSpec() {
  clearProblems(fields(), byId("score-problem"));
  try {
    return JSON.parse(byId("score-spec").value);
  } catch (error) {
    addProblem(byId("score-spec"), `is not valid JSON: ${error.message}`);
    byId("score-spec").focus();
    return undefined;
  }
}

async function score(event) {
  event.preventDefault();
  const spec = readSpec();
  if (spec === undefined || byId("score-button").disabled) return;
  const method = byId("score-method").value;
  const body = {
    llm_input: byId("score-input").value,
    llm_output: byId("score-output").value,
    scoring_spec: spec,
    ...(method && { aggregation_method: method }),
  };
  byId("score-button").disabled = true;
  byId("scores-body").classList.add("stale");
  const began = performance.now();
  try {
    const result = await ask("POST", "scoring_system/score", {
      body,
      headers: { "x-pi-unscored": byId("score-policy").value },
      seconds: 600,
    });
    byId("scores-empty").hidden = true;
    drawScores(byId("scores-body"), spec, result, performance.now() - began);
    byId("scores-body").classList.remove("stale");
    // On a narrow screen the scores are below everything else.
    if (byId("scores").getBoundingClientRect().top > innerHeight - 80) byId("scores").scrollIntoView();
    announce(`Total score ${result.total_score.toFixed(2)}`);
  } catch (error) {
    showProblems(error, fields(), byId("score-problem"));
  } finally {
    byId("score-button").disabled = false;
  }
}
