"""Train the lexical model of `PromptInjection`, and say how good the guard is on sources that it was not trained on.

    python benchmarks/injection_model/train.py --data FOLDER [--more FOLDER] [--write]

Each FOLDER holds `injection.jsonl.gz`: one object a line, with `text`, `label` (1: attack), `source` and `kind`
(ordinary texts full of trigger words are of a kind that starts with `hard_benign`). Figures are printed for those of
`--data` alone. To all of these come texts made of the templates beside this file, and the documentation of Python's own
modules as ordinary prose. It needs numpy and scikit-learn. Seeds are fixed: the same data give the same model.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import inspect
import itertools
import json
import math
import pydoc_data.topics
import random
import sys
from pathlib import Path
from typing import Any

import families
import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from templates import attack, ordinary

from llmops_sdk.guards._injection import guard as _injection
from llmops_sdk.guards._injection.disguises import plain_view
from llmops_sdk.guards._injection.lexical import pairs_of, parse_model, words_of

HOME = Path(_injection.__file__).parent / "data" / "injection.txt"
LEAST_SEEN = 3
STEP = 0.02
MADE = 3_000
MADE_OF_FAMILIES = 4_000
MODEL_SHARE = 0.17  # one log-odd of the model, in evidence of the rules: between 0.05 and 0.3 recall hardly changes
BENIGN = 3  # ordinary texts to one attack, for which the rate is calibrated


def features(text: str) -> set[Any]:
    words = words_of(plain_view(text[:3_000]).text)
    return {*words, *pairs_of(words)}


def gathered(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / "injection.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def made(seed: int = 7) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = []
    for _ in range(MADE):
        rows.append({"text": attack(rng), "label": 1, "source": "templates", "kind": "attack"})
        rows.append({"text": ordinary(rng), "label": 0, "source": "templates", "kind": "hard_benign:templates"})
    rng = random.Random(seed + 4)
    for _ in range(MADE_OF_FAMILIES):
        rows.append({"text": families.attack(rng), "label": 1, "source": "families", "kind": "attack"})
        rows.append({"text": families.ordinary(rng), "label": 0, "source": "families", "kind": "hard_benign:families"})
    rng = random.Random(seed)
    prose = [*pydoc_data.topics.topics.values(), *(inspect.getdoc(m) or "" for m in list(sys.modules.values()))]
    pieces = [p[i : i + 600] for p in prose for i in range(0, len(p), 600) if len(p[i : i + 600]) > 80]
    rng.shuffle(pieces)
    return rows + [{"text": p, "label": 0, "source": "python-docs", "kind": "benign_prose"} for p in pieces[:1_500]]


def family(row: dict[str, Any]) -> str:
    return str(row["source"]).split("-")[0]


def fit(rows: list[dict[str, Any]], seen: list[set[Any]]) -> str:
    """The model as the lines of its file. Larger sources weigh more, but far less than their size."""
    counts = collections.Counter(feature for one in seen for feature in one)
    known = sorted((f for f, n in counts.items() if n >= LEAST_SEEN), key=str)
    place = {feature: number for number, feature in enumerate(known)}
    size = collections.Counter((family(row), row["label"]) for row in rows)
    weights = np.array([size[family(row), row["label"]] ** -0.3 for row in rows])
    labels = np.array([row["label"] for row in rows])
    for label in (0, 1):
        weights[labels == label] *= len(rows) / 2 / weights[labels == label].sum()
    at = [[place[f] for f in one if f in place] for one in seen]
    matrix = csr_matrix(
        (np.ones(sum(map(len, at))), np.concatenate([*at, []]).astype(int), np.cumsum([0, *map(len, at)])),
        shape=(len(rows), len(known)),
    )
    model = LogisticRegression(C=0.1, max_iter=400).fit(matrix, labels, sample_weight=weights)
    lines = [f"{model.intercept_[0]:.4f} {STEP}"]
    for feature, weight in zip(known, model.coef_[0], strict=True):
        rounded = max(-127, min(127, round(weight / STEP)))
        if abs(rounded) >= 2:
            lines.append(f"{rounded} {feature if isinstance(feature, str) else ' '.join(feature)}")
    return "\n".join(lines) + "\n"


def left_out(rows: list[dict[str, Any]], extra: list[dict[str, Any]]) -> list[float]:
    """Log-odds of each row by a model that saw nothing of its source."""
    seen, seen_extra = [features(r["text"]) for r in rows], [features(r["text"]) for r in extra]
    odds = [0.0] * len(rows)
    for name in sorted({family(row) for row in rows}):
        kept = [n for n, row in enumerate(rows) if family(row) != name]
        lines = fit([*(rows[n] for n in kept), *extra], [*(seen[n] for n in kept), *seen_extra])
        model = parse_model(lines)
        _injection.lexical_model = lambda model=model: model
        for number, row in enumerate(rows):
            if family(row) == name:
                odds[number] = _injection.gather(row["text"]).log_odds
    return odds


def wilson(hits: int, of: int) -> str:
    if not of:
        return "-"
    z, p = 1.96, hits / of
    middle, half = p + z * z / 2 / of, z * math.sqrt(p * (1 - p) / of + z * z / 4 / of / of)
    scale = 1 + z * z / of
    return f"{p:.3f} [{(middle - half) / scale:.3f}, {(middle + half) / scale:.3f}] of {of}"


def report(rows: list[dict[str, Any]], rates: list[float], threshold: float) -> None:
    groups: dict[tuple[str, str], list[bool]] = collections.defaultdict(list)
    for row, rate in zip(rows, rates, strict=True):
        hard = str(row["kind"]).startswith("hard")
        what = "attacks found" if row["label"] else "trigger words: false alarms" if hard else "ordinary: false alarms"
        for name in (family(row), "all"):
            groups[what, name].append(rate >= threshold)
    for (what, name), hits in sorted(groups.items()):
        print(f"| {what} | {name} | {wilson(sum(hits), len(hits))} |")


def wilson_upper(hits: int, of: int) -> float:
    z, p = 1.96, hits / of
    return (p + z * z / 2 / of + z * math.sqrt(p * (1 - p) / of + z * z / 4 / of / of)) / (1 + z * z / of)


def reliability(rows: list[dict[str, Any]], rates: Any, labels: Any) -> None:
    """How often texts of each band of rates are attacks, sources and labels weighing as in training."""
    size = collections.Counter((family(row), row["label"]) for row in rows)
    weights = np.array([size[family(row), row["label"]] ** -0.5 for row in rows])
    weights[labels == 0] *= BENIGN * weights[labels == 1].sum() / weights[labels == 0].sum()
    for low, high in itertools.pairwise((0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 1.01)):
        here = (rates >= low) & (rates < high)
        if here.any():
            mean, share = (np.average(one[here], weights=weights[here]) for one in (rates, labels))
            print(f"| {low:.2f} to {min(high, 1):.2f} | {here.sum()} | {mean:.2f} | {share:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--more", type=Path, help="rows to learn from as well")
    parser.add_argument("--write", action="store_true", help="write the model into the package")
    arguments = parser.parse_args()
    rows, extra = gathered(arguments.data), made()
    measured = len(rows)
    rows += gathered(arguments.more) if arguments.more else []
    odds = left_out(rows, extra)
    evidence = [_injection.gather(row["text"]).evidence for row in rows]
    labels = np.array([row["label"] for row in rows])
    low, high = _injection._MODEL_RANGE
    two = np.array(
        [(min(e, _injection._MOST_EVIDENCE), min(max(o, low), high)) for e, o in zip(evidence, odds, strict=True)]
    )
    size = collections.Counter((family(row), row["label"]) for row in rows)
    weights = np.array([size[family(row), row["label"]] ** -0.5 for row in rows])
    weights[labels == 0] *= BENIGN * weights[labels == 1].sum() / weights[labels == 0].sum()
    joint = LogisticRegression(C=10).fit(two @ [[1], [MODEL_SHARE]], labels, sample_weight=weights)
    scale, bias = float(joint.coef_[0, 0]), float(joint.intercept_[0])
    print(f"fitted: _BIAS = {bias:.2f}, _RULES_WEIGHT = {scale:.2f}, _MODEL_WEIGHT = {scale * MODEL_SHARE:.2f}")
    total = bias + scale * two @ [1, MODEL_SHARE]
    print("Left out: the lexical model alone, and the guard, on each source that the model was not trained on")
    for name, score in (("model alone", np.array(odds)), ("rules alone", two[:, 0]), ("guard", total)):
        here, truth = score[:measured], labels[:measured]
        cut = np.quantile(here[truth == 0], 0.99)
        print(f"{name}: recall {np.mean(here[truth == 1] > cut):.3f} at 1 % false alarms, above {cut:.2f}")
    rates = 1 / (1 + np.exp(-total))
    reliability(rows, rates, labels)
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        alarms = int(np.sum(rates[labels == 0] >= threshold))
        upper = wilson_upper(alarms, int(np.sum(labels == 0)))
        found = np.mean(rates[labels == 1] >= threshold)
        print(f"from {threshold}: {found:.3f} found, false alarms {alarms}, at most {upper:.4f}")
    report(rows[:measured], list(rates[:measured]), 0.5)
    if arguments.write:
        both = rows + extra
        lines = fit(both, [features(row["text"]) for row in both])
        HOME.write_text(lines, encoding="utf-8")
        print(f"wrote {HOME.name}: {len(lines.splitlines()):,} weights, {len(lines):,} bytes")


if __name__ == "__main__":
    main()
