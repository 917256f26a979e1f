"""An optimisation, shown: sentences and a table, as text, in notebooks, and in a commit's message."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.evaluation._optimising.outcome import Candidate, Optimisation

__all__ = ["message", "page", "text"]

_HEADINGS = ("candidate", "cases", "score", "difference", "fate")
_WIDEST = 100


def text(found: Optimisation) -> str:
    """For a terminal."""
    rows = [_HEADINGS, *map(_row, found.candidates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS) - 1)]
    table = (
        "  ".join([row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in (1, 2, 3)), row[4][:_WIDEST]]).rstrip()
        for row in rows
    )
    return "\n".join([*sentences(found), "", *table])


def page(found: Optimisation) -> str:
    """For a notebook."""
    said = "".join(f"<p>{html.escape(one)}</p>" for one in sentences(found))
    head = "".join(f"<th>{one}</th>" for one in _HEADINGS)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _row(one))}</tr>" for one in found.candidates
    )
    return f"{said}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def sentences(found: Optimisation) -> Iterator[str]:
    """What was found, first of all the verdict."""
    yield f"{found.original.name}, {found.metric}: {found.why}"
    tried = len(found.candidates) - len(found.refused)
    searched = f"searched {tried} candidates on {' / '.join(map(str, found.rungs)) or 'no'} cases"
    if found.refused:
        searched += f" ({len(found.refused)} more were refused)"
    left_out = f", {found.left_out} left out" if found.left_out else ""
    yield (
        f"{searched}; cases: {found.train} to learn from, {found.trials} to try on, {found.test} to judge on"
        f"{left_out}; split {found.split[:12]}; seed {found.seed}"
    )
    cost = f"{'at least ' if found.unpriced else ''}{found.cost_usd.normalize():f} USD"
    budget = "" if found.budget_usd is None else f" of {found.budget_usd.normalize():f} USD"
    yield f"cost {cost}{budget}" + (f"; the budget ended it early: {found.exhausted}" if found.exhausted else "")
    if found.commit is not None:
        yield f"committed {found.commit[:12]} to {found.branch}"


def message(found: Optimisation) -> str:
    """The message of a commit: what changed, and the evidence."""
    comparison = None if found.contrast is None else found.contrast.comparison
    change = "" if comparison is None else f": {found.metric} {comparison.difference:+.3g}"
    lines = [f"Optimise the prompt {found.original.name}{change}", "", found.why, ""]
    tried = len(found.candidates) - len(found.refused)
    lines += [f"Verdict: {found.verdict}", f"Metric: {found.metric}"]
    if comparison is not None:
        lines += [
            f"Difference: {comparison.difference:+.6g} ({comparison.base:.6g} to {comparison.new:.6g})",
            f"Interval: {comparison.low:+.6g} to {comparison.high:+.6g} at {comparison.level:.0%}",
            f"P-value: {comparison.p_value:.3g}",
            f"Cases: {comparison.cases} that the search never saw",
        ]
    lines += [
        f"Split: {found.split}",
        f"Experiment: {found.experiment.id if found.experiment is not None else 'none'}",
        f"Winner: {found.winner}",
        f"Candidates: {tried} tried on {' / '.join(map(str, found.rungs))} cases, {len(found.refused)} refused",
        f"Against: {found.original.hash}",
        f"Seed: {found.seed}",
        f"Cost: {'at least ' if found.unpriced else ''}{found.cost_usd.normalize():f} USD",
    ]
    return "\n".join(lines)


def _row(one: Candidate) -> tuple[str, str, str, str, str]:
    standing = one.standing
    if standing is None:
        return one.label, "", "", "", f"refused: {one.refused}" if one.refused else "not tried"
    return (
        one.label,
        str(standing.cases),
        f"{standing.score:.4g}",
        f"{standing.difference:+.4g}",
        standing.fate,
    )
