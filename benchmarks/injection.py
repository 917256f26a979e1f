"""How well rules, a packaged classifier and both together tell prompt injections from benign texts.

    python benchmarks/injection.py --data FOLDER [--data FOLDER ...] [--write FILE]

Each FOLDER holds `injection.jsonl.gz` (`text`, `label`, `source`, `kind`). Needs the extra `injection-model`. Weights
of combinations are never fitted to the rows that they are measured on: those with a fitted part are fitted on all
other folders. Intervals are of 95 %.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmops_sdk.guards import Guard, PromptInjection
from llmops_sdk.guards._quality.evaluation import Evaluation, Rated, rate_rows, summarise
from llmops_sdk.guards._quality.rows import LabelledText, read_rows
from llmops_sdk.guards._quality.table import interval, share
from llmops_sdk.guards.classifier import Classifier

Pair = tuple[float, float]
COMBINED: dict[str, Callable[[float, float], float]] = {
    "rules alone": lambda rules, model: rules,
    "classifier alone": lambda rules, model: model,
    "the larger": max,
    "the mean": lambda rules, model: (rules + model) / 2,
    "independent evidence, 1 - (1 - r)(1 - c)": lambda rules, model: 1 - (1 - rules) * (1 - model),
    "cascade: asked at r < 0.55, its score counts": lambda rules, model: rules if rules >= 0.55 else model,
    "cascade: asked at 0.05 <= r < 0.55": lambda rules, model: model if 0.05 <= rules < 0.55 else rules,
    "cascade: asked at r < 0.9, independent evidence": lambda rules, model: (
        rules if rules >= 0.9 else 1 - (1 - rules) * (1 - model)
    ),
}


def features(pair: Pair) -> tuple[float, float, float]:
    """A constant, and both scores as evidence (log odds)."""
    clipped = [min(max(one, 1e-4), 1 - 1e-4) for one in pair]
    return (1.0, *(math.log(one / (1 - one)) for one in clipped))


def fitted(pairs: Sequence[Pair], labels: Sequence[bool]) -> Callable[[float, float], float]:
    """Logistic regression by gradient descent, both labels weighing the same."""
    rows = [features(pair) for pair in pairs]
    weight = {label: 1 / max(1, sum(one == label for one in labels)) for label in (True, False)}
    weights = [0.0, 0.1, 0.1]
    for _ in range(400):
        steps = [0.0, 0.0, 0.0]
        for row, label in zip(rows, labels, strict=True):
            error = weight[label] * (label - odds(weights, row))
            steps = [step + error * one for step, one in zip(steps, row, strict=True)]
        weights = [one + 0.2 * step for one, step in zip(weights, steps, strict=True)]
    return lambda rules, model: odds(weights, features((rules, model)))


def odds(weights: Sequence[float], row: Sequence[float]) -> float:
    return 1 / (1 + math.exp(-sum(a * b for a, b in zip(weights, row, strict=True))))


def rated(guard: Guard, rows: Sequence[LabelledText]) -> list[float]:
    return [one.score for one in asyncio.run(rate_rows(guard, rows, concurrency=None, progress=None))]


def measured(rows: Sequence[LabelledText], scores: Sequence[float]) -> Evaluation:
    ones = [Rated(row, score, score >= 0.5, 0.0) for row, score in zip(rows, scores, strict=True)]
    return summarise(PromptInjection(threshold=0.5), ones, max_fpr=0.01, confidence=0.95)


def report(folders: Sequence[Path]) -> Iterable[str]:
    rules, model = PromptInjection(), Classifier.packaged("stackone-defender", most_characters=10_000_000)
    data = {folder: read_rows(folder / "injection.jsonl.gz") for folder in folders}
    pairs = {folder: list(zip(rated(rules, rows), rated(model, rows), strict=True)) for folder, rows in data.items()}
    yield "# Prompt injection: rules, a classifier, and both"
    yield ""
    yield f"{datetime.date.today().isoformat()}. r: `PromptInjection().rate`; c: `Classifier.packaged()`'s."
    for folder, rows in data.items():
        combined = dict(COMBINED)
        others = [other for other in folders if other != folder]
        if others:
            learnt = [pair for other in others for pair in pairs[other]]
            labels = [row.label for other in others for row in data[other]]
            combined["logistic, fitted on the other folders"] = fitted(learnt, labels)
        reports = {
            name: measured(rows, [combine(*pair) for pair in pairs[folder]]) for name, combine in combined.items()
        }
        attacks = sum(row.label for row in rows)
        yield f"\n## {folder.name}: {attacks:,} attacks, {len(rows) - attacks:,} benign\n"
        yield "| score | AUC | recall at 1 % false alarms | recall at 0.5 | false alarms | on hard benign |"
        yield "|---|---|---|---|---|---|"
        for name, one in reports.items():
            cells = (one.recall_at_max_fpr, one.recall, one.false_alarms, one.hard_benign)
            yield f"| {name} | {interval(one.auc)} | {' | '.join(map(share, cells))} |"
        yield "\n| source | " + " | ".join(f"{name}: recall at 1 %" for name in list(reports)[:5]) + " |"
        yield "|---|---|---|---|---|---|"
        for number, group in enumerate(reports["rules alone"].by_source):
            if group.recall.of:
                cells = [share(one.by_source[number].recall_at_max_fpr) for one in list(reports.values())[:5]]
                yield f"| {group.name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--write", type=Path, help="Markdown file to write as well")
    options = parser.parse_args()
    text = "\n".join(report(options.data))
    print(text)
    if options.write is not None:
        options.write.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
