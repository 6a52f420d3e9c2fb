// Scores as bars: a question a line, with its number, how it was read, and the reason where it has none.
import { count, el, figure } from "./dom.js";

/** Shows a result of `POST /scoring_system/score` in `place`. */
export function drawScores(place, spec, result, milliseconds) {
  const rows = result.dimension_scores
    ? dimensionRows(spec, result)
    : questionRows(
        flatQuestions(spec),
        result.question_scores ?? {},
        result.unscored ?? {},
        result.provenance?.questions ?? {},
      );
  const body = el("tbody", {}, ...rows);
  const table = el("table", { class: "scores" }, el("colgroup", {}, el("col"), el("col", { class: "measure" })), body);
  place.replaceChildren(totalScore(result.total_score), table, foot(result, milliseconds));
}

function totalScore(total) {
  return el("div", { class: "total-score" }, el("span", { class: "value" }, total.toFixed(2)), bar(total));
}

/** The wording of each question by the key of its score. */
function flatQuestions(spec) {
  const questions = Array.isArray(spec) ? spec : [];
  return new Map(
    questions.map((question) => [question.label?.trim() ? question.label : question.question, question.question]),
  );
}

function dimensionRows(spec, { dimension_scores: scores, unscored = {}, provenance }) {
  return (spec.dimensions ?? []).flatMap((dimension) => {
    const { label } = dimension;
    const wording = new Map((dimension.sub_dimensions ?? []).map((sub) => [sub.label, sub.description]));
    const found = scores[label] ?? { subdimension_scores: {}, total_score: null };
    const head = row(label, dimension.description, measure(found.total_score, null));
    return [
      head,
      ...questionRows(
        wording,
        found.subdimension_scores,
        unscored?.[label] ?? {},
        provenance?.questions?.[label] ?? {},
        "sub",
      ),
    ];
  });
}

function questionRows(wording, scores, reasons, made, kind = null) {
  const keys = new Set([...wording.keys(), ...Object.keys(scores), ...Object.keys(reasons)]);
  return [...keys]
    .filter((key) => key in scores || key in reasons)
    .map((key) => {
      const text = wording.get(key) === key ? null : wording.get(key);
      const how = made[key];
      const said = [text, how?.explanation, reasons[key]].filter(Boolean);
      return row(key, said, measure(scores[key], how), kind);
    });
}

function row(label, said, measured, kind) {
  const lines = [said ?? []].flat().map((line) => el("span", { class: "why" }, String(line)));
  const head = el("th", { scope: "row" }, el("span", { class: "label" }, label), ...lines);
  return el("tr", { class: kind }, head, measured);
}

function measure(score, how) {
  const cell = el("td", { class: "measure" });
  if (typeof score === "number")
    cell.append(el("div", {}, bar(score), el("span", { class: "value" }, score.toFixed(2))));
  else cell.append(el("div", { class: "none" }, "unscored"));
  const method = how?.read ? `${how.method}: ${how.read}` : how?.method;
  if (method) cell.append(el("span", { class: "method", title: how.model ?? null }, method));
  return cell;
}

/** A bar for the eye; the number beside it is for everybody. */
function bar(score) {
  const fill = el("i", { class: score < 0.4 ? "low" : score < 0.7 ? "mid" : "high" });
  fill.style.width = `${100 * score}%`;
  return el("div", { class: "bar", "aria-hidden": "true" }, fill);
}

function foot({ provenance, usage }, milliseconds) {
  const parts = [el("span", {}, `${figure(Math.round(milliseconds))} ms`)];
  if (provenance) parts.unshift(el("span", {}, "judge ", el("code", {}, provenance.judge)));
  const tokens = (usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0);
  if (tokens) parts.push(el("span", {}, count(tokens, "token")));
  if (typeof usage?.cost_usd === "number") parts.push(el("span", {}, `US$ ${figure(usage.cost_usd)}`));
  return el("p", { class: "scores-foot" }, ...parts);
}
