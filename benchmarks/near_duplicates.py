"""One check-and-add of the near-duplicate index at growing sizes, beside the comparison with every earlier text.

    python benchmarks/near_duplicates.py [--rows 1000 10000 100000] [--checks 2000]

Texts are made here from invented words, whose frequencies fall as those of a language do. "mixed": 8 to 60 words, one
in four a rewording of an earlier text. "one template": a frame of 12 words that all share and 6 of their own, the hard
case, since very many pairs come near the threshold without reaching it. Each line is measured in a process of its own,
after all rows are in. CPU is the mean, for machines that others use too. Brute force compares sets of the same shingles
with `&` and `|` and is the truth for recall: of the checked texts that have a match among the rows, the share for which
the index finds one just as similar.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from _tables import print_table

from pi_integrations.engine.synthesis.near_duplicates import NearDuplicates
from pi_integrations.engine.synthesis.shingles import shingles

BRUTE_FORCE_UP_TO = 10_000
BRUTE_FORCE_CHECKS = 300
THRESHOLD = 0.7


def vocabulary(rng: random.Random, size: int = 5000) -> list[str]:
    """Invented words of two to four syllables."""
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 4))) + rng.choice("stnr ").strip() for _ in range(size)]


class Writer:
    """Makes texts, the same ones for the same seed."""

    def __init__(self, kind: str, seed: int) -> None:
        self._rng = random.Random(seed)
        self._words = vocabulary(random.Random(0))
        self._weights = [1 / (rank + 10) for rank in range(len(self._words))]
        self._frame = self._draw(12)
        self._templated = kind == "one template"
        self._written: list[list[str]] = []

    def text(self) -> str:
        """The next text."""
        if self._templated:
            return " ".join(self._frame[:6] + self._draw(3) + self._frame[6:] + self._draw(3))
        reword = self._written and self._rng.random() < 0.25
        self._written.append(self._reworded() if reword else self._draw(self._rng.randint(8, 60)))
        return " ".join(self._written[-1]).capitalize() + "."

    def _draw(self, count: int) -> list[str]:
        return self._rng.choices(self._words, weights=self._weights, k=count)

    def _reworded(self) -> list[str]:
        """An earlier text with up to a third of its words replaced."""
        words = list(self._rng.choice(self._written))
        for _ in range(self._rng.randint(0, len(words) // 3)):
            words[self._rng.randrange(len(words))] = self._draw(1)[0]
        return words


def resident() -> float:
    """MiB of memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def milliseconds(call: Callable[[str], object], texts: list[str]) -> list[float]:
    """The time of each call."""
    spent = []
    for text in texts:
        started = time.perf_counter()
        call(text)
        spent.append((time.perf_counter() - started) * 1e3)
    return sorted(spent)


def brute_force(rows: list[str], checked: list[str], index: NearDuplicates) -> tuple[str, str]:
    """Median ms a check of all rows, and the recall of `index`, which holds the same rows."""
    sets = [frozenset(shingles(text).tolist()) for text in rows]
    truth: list[float] = []

    def check(text: str) -> None:
        query = frozenset(shingles(text).tolist())
        truth.append(max(len(query & other) / len(query | other) for other in sets))

    spent = milliseconds(check, checked)
    matches = [(text, best) for text, best in zip(checked, truth, strict=True) if best >= THRESHOLD]
    found = sum((match := index.similar(text)) is not None and match.similarity == best for text, best in matches)
    return f"{statistics.median(spent):.2f}", f"{found}/{len(matches)}" if matches else "no match"


def measured(kind: str, rows: int, checks: int) -> list[str]:
    """One line of the table."""
    writer = Writer(kind, seed=1)
    texts = [writer.text() for _ in range(rows)]
    more = [writer.text() for _ in range(checks)]
    NearDuplicates(THRESHOLD).extend(texts[:100])  # loads what loads lazily
    before, started = resident(), time.perf_counter()
    index = NearDuplicates(THRESHOLD)
    index.extend(texts)
    rebuilt, memory = time.perf_counter() - started, resident() - before
    exact, recall = "", ""
    if rows <= BRUTE_FORCE_UP_TO:
        exact, recall = brute_force(texts, more[:BRUTE_FORCE_CHECKS], index)
    cpu = time.process_time()
    spent = milliseconds(lambda text: (index.similar(text), index.add(text)), more)
    cpu = (time.process_time() - cpu) * 1e3 / checks
    median, p99 = statistics.median(spent), spent[int(len(spent) * 0.99)]
    ratio = f"{float(exact) / median:.0f}×" if exact else ""
    each = memory * 1024 / rows
    return [
        *(kind, f"{rows:,}", f"{median:.3f}", f"{p99:.3f}", f"{spent[-1]:.2f}", f"{cpu:.3f}"),
        *(f"{memory:.1f}", f"{each:.1f}", f"{rebuilt:.2f}", exact, ratio, recall),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--checks", type=int, default=2_000)
    arguments = parser.parse_args()
    cases = [(kind, rows, arguments.checks) for kind in ("mixed", "one template") for rows in arguments.rows]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        lines = pool.starmap(measured, cases, chunksize=1)
    print_table(
        f"Near-duplicates at threshold {THRESHOLD}: one check-and-add, {arguments.checks:,} of them after the rows",
        [
            "texts",
            "rows",
            "median ms",
            "p99 ms",
            "max ms",
            "CPU ms",
            "MiB",
            "KiB/row",
            "rebuild s",
            "brute ms",
            "faster",
            "recall",
        ],
        lines,
    )


if __name__ == "__main__":
    main()
