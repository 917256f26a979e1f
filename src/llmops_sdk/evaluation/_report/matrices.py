"""Confusion matrices, where a metric says which class an answer has and which was expected."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from llmops_sdk.evaluation._report.texts import cut, escape
from llmops_sdk.evaluation.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.plan import Plan
    from llmops_sdk.evaluation._running.reading import Reading

__all__ = ["matrices"]

_MOST_CLASSES = 12
_OTHERS = "all others"
_NOTHING = "(none)"
_MOST_CHARACTERS = 60


def matrices(reading: Reading, plan: Plan) -> str:
    """The section; empty where no metric gives classes."""
    found: defaultdict[tuple[str, str], Counter[tuple[str, str | None]]] = defaultdict(Counter)
    sizes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    named = set()
    for name, arm, expected, said, number in reading.classes():
        found[name, arm][expected, said] += number
        sizes[name][expected] += number
        if said is not None:
            sizes[name][said] += number
            named.add(name)
    drawn = []
    for name in (one for one in sizes if one in named):  # others say what was expected for reasons of their own
        classes = [one for one, _ in sizes[name].most_common(_MOST_CLASSES)]
        classes = sorted(classes) + ([_OTHERS] if len(sizes[name]) > len(classes) else [])
        drawn += [_matrix(name, arm, classes, found[name, arm]) for arm in plan.arms if (name, arm) in found]
    if not drawn:
        return ""
    return (
        '<section aria-labelledby="matrices"><h2 id="matrices">Classes</h2><p class="note">A row is what was expected, '
        "a column what the answer was, the last one where it named none; on the framed diagonal they agree.</p>"
        f'<div class="pictures">{"".join(drawn)}</div></section>'
    )


def _matrix(name: str, arm: str, classes: list[str], counts: Counter[tuple[str, str | None]]) -> str:
    gathered: Counter[tuple[str, str | None]] = Counter()
    for (expected, said), number in counts.items():
        gathered[_in(expected, classes), None if said is None else _in(said, classes)] += number
    named: list[str | None] = [*classes]
    if any(said is None for _, said in counts):
        named.append(None)
    head = "".join(f'<th scope="col">{_name(_NOTHING if one is None else one)}</th>' for one in named)
    rows = "".join(
        f'<tr><th scope="row">{_name(expected)}</th>'
        + "".join(
            f"<td{' class=' + chr(34) + 'right' + chr(34) if expected == said != _OTHERS else ''}>"
            f"{gathered[expected, said]:,}</td>"
            for said in named
        )
        + "</tr>"
        for expected in classes
    )
    return (
        f'<figure><table class="confusion"><caption>{escape(name)}: {escape(arm)}</caption>'
        f'<thead><tr><th scope="col">expected \\ said</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="note">{escape(ConfusionMatrix.of_pairs(counts).in_words())}</p></figure>'
    )


def _in(one: str, classes: list[str]) -> str:
    return one if one in classes else _OTHERS


def _name(one: str) -> str:
    return escape(cut(one, _MOST_CHARACTERS))
