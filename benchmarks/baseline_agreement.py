"""How often the baseline judge prefers the response that people preferred, beside taking the longer response.

    python benchmarks/baseline_agreement.py --data PATH

PATH is a folder that holds `pandalm/testset-v1.json` (WeOpenML/PandaLM, Apache-2.0): an instruction, an input, two
responses and three annotators each. Pairs count where most annotators preferred the same response. A tie of the two
scores, or of the two lengths, counts half. Intervals are 95 % percentile bootstraps over pairs, paired for the
difference. The judge's weights were set by hand and rebalanced once after a look at these pairs, so its figure is not
one on unseen data.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pi_integrations.engine.judges.baseline import BaselineJudge
from pi_integrations.engine.judges.protocol import Exchange

FloatArray = npt.NDArray[np.float64]

QUESTION = "Is this a good response to the input?"
RESAMPLES = 10_000
SEED = 20_261_121


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one input; `preferred` is 1 or 2."""

    llm_input: str
    responses: tuple[str, str]
    preferred: int


def read_pairs(path: Path) -> list[Pair]:
    """The pairs with a majority for one response. A few responses in the file are `true` and not text."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    pairs = []
    for row in rows:
        choice, votes = Counter(row[f"annotator{n}"] for n in (1, 2, 3)).most_common(1)[0]
        if votes >= 2 and choice in (1, 2):
            llm_input = "\n".join(_text(row[field]) for field in ("instruction", "input") if _text(row[field]))
            pairs.append(Pair(llm_input, (_text(row["response1"]), _text(row["response2"])), choice))
    return pairs


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def agreement(pairs: list[Pair], measure: Callable[[Pair, str], float]) -> FloatArray:
    """1, 0 or, for a tie, 0.5 per pair."""
    first, second = (np.array([measure(pair, pair.responses[n]) for pair in pairs]) for n in (0, 1))
    sign = np.array([1 if pair.preferred == 1 else -1 for pair in pairs])
    hits: FloatArray = (np.sign(first - second) * sign + 1) / 2
    return hits


def interval(values: FloatArray) -> tuple[float, float]:
    """The middle 95 % of the mean over resampled pairs."""
    draws = np.random.default_rng(SEED).integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def report(name: str, values: FloatArray, note: str = "") -> None:
    """One line of the table, in percent."""
    low, high = interval(values)
    print(f"{name:<24} {100 * values.mean():6.1f} %   [{100 * low:.1f}, {100 * high:.1f}]   {note}".rstrip())


def ties(hits: FloatArray) -> str:
    """How many pairs counted half."""
    return f"{int((hits == 0.5).sum())} ties"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pandalm/testset-v1.json")
    pairs = read_pairs(parser.parse_args().data / "pandalm" / "testset-v1.json")
    judge, runner = BaselineJudge(), asyncio.Runner()

    def score(pair: Pair, response: str) -> float:
        [verdict] = runner.run(judge.answer(Exchange(pair.llm_input, response), [QUESTION]))
        if verdict.score is None:
            raise SystemExit(f"a response is unscored: {verdict.reason}")
        return verdict.score

    started = time.process_time()
    with runner:
        by_score = agreement(pairs, score)
    spent = time.process_time() - started
    by_length = agreement(pairs, lambda _, response: len(response))
    print(f"{len(pairs)} pairs with a majority; question: {QUESTION!r}; ties count half")
    print(f"{'higher wins':<24} {'agreement':>8}   95 % interval")
    report(f"score of {judge.fingerprint}", by_score, ties(by_score))
    report("length in characters", by_length, ties(by_length))
    report("difference", by_score - by_length)
    print(f"CPU per response: {1e6 * spent / (2 * len(pairs)):.0f} µs, one question each")


if __name__ == "__main__":
    main()
