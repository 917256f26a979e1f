"""A summary of gates for a pull request: the verdict first, a table, and the cases that became worse, folded.

Whatever comes from models or from files of others stands in `<code>` and `<pre>`, with its punctuation as entities:
there it is text, and neither Markdown, HTML nor a mention of anybody.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmops_sdk.evaluation._experiment.words import counted
from llmops_sdk.evaluation._gate.result import CaseDrop, GateCheck, GateResult

__all__ = ["LONGEST", "gate_markdown"]

LONGEST = 65_536
"""Characters of a comment on GitHub."""

_MARKS = {"passed": "✅", "failed": "❌", "unsure": "❔", "reported": "·"}
_NOTE = (
    "Passed: the whole interval of the change lies within what is allowed. Failed: the whole of it lies beyond. "
    "Otherwise nobody can tell from so many cases."
)
_PUNCTUATION = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w\s.,;%+()…→▲▼=∞-]|_")
_LONGEST_ANSWER = 600
_LONGEST_NAME = 120
_SPARE = 200
"""Characters for the line that says what was left out."""


def gate_markdown(
    results: Sequence[GateResult], /, *, errors: Mapping[str, str] | None = None, longest: int = LONGEST
) -> str:
    """The verdicts as Markdown for GitHub, GitLab and others.

    Args:
        results: What gates found.
        errors: Name of a suite that could not be judged -> why.
        longest: Characters at most; what does not fit is counted.
    """
    blocks = [("❌ could not be judged", name, [_pre(error)]) for name, error in (errors or {}).items()]
    heads = [f"## {said}: {_code(name)}\n\n" + "\n".join(rest) for said, name, rest in blocks]
    whole = "\n\n".join(heads)
    share = (longest - len(whole)) // max(len(results), 1) - 2
    parts = [*heads, *(_bounded(_parts(one), share) for one in results)]
    return _cut("\n\n".join(parts) + "\n", longest)


def _parts(result: GateResult) -> Iterator[str]:
    verdict = {"unsure": "cannot tell"}.get(result.verdict, result.verdict)
    labels = f"{_code(result.candidate)} against {_code(result.base)}"
    yield f"## {_MARKS[result.verdict]} {verdict}: {_code(result.suite)}, {labels}\n\n"
    if result.same:
        yield "The pipeline is the same at both, so nothing was run.\n"
        return
    yield f"{counted(result.cases, 'case')}; {result.cells_said}.\n\n"
    yield f"| | score | {_code(result.base)} | {_code(result.candidate)} | change | interval | may change by |\n"
    yield "|---|---|---:|---:|---:|---:|---:|\n"
    yield from (_row(one) for one in result.checks)
    yield f"\n{_NOTE}\n"
    for one in result.checks:
        if one.verdict in ("failed", "unsure"):
            yield f"\n* {_code(str(one), _LONGEST_ANSWER)}\n"
    if result.failures:
        yield f"\n**{counted(result.failed, 'cell')} failed or were not run**\n"
        for failure in result.failures:
            what = failure.metric or "the run"
            yield _details(f"{_code(failure.case)}: {_code(what)} at {_code(failure.arm)}", [_pre(failure.error)])
    if result.dropped:
        yield f"\n**{counted(result.dropped, 'case')} became worse**\n"
        yield from (_case(one) for one in result.worst)


def _row(check: GateCheck) -> str:
    arrow = ""
    if check.contrast is not None and check.contrast.comparison is not None:
        change = check.contrast.comparison.difference
        arrow = "▲ " if change > 0 else "▼ " if change < 0 else "= "
    cells = (check.before, check.after, arrow + check.change, check.interval, check.allowed)
    return f"| {_MARKS[check.verdict]} {check.said} | {_code(check.score)} | {' | '.join(map(_safe, cells))} |\n"


def _case(drop: CaseDrop) -> str:
    changes = ", ".join(f"{_code(name)} {old:g} → {new:g}" for name, (old, new) in drop.scores.items())
    inside = [f"asked\n{_pre(_text(drop.case.input))}"]
    if drop.case.expected is not None:
        inside.append(f"expected\n{_pre(_text(drop.case.expected))}")
    inside += [f"{_code(label)}\n{_pre(said)}" for label, said in drop.answers.items()]
    return _details(f"{_code(drop.case.id)}: {changes}", inside)


def _details(summary: str, inside: Iterable[str]) -> str:
    return f"\n<details><summary>{summary}</summary>\n\n" + "\n\n".join(inside) + "\n\n</details>\n"


def _bounded(parts: Iterator[str], longest: int) -> str:
    """As many parts as fit, in whole; the others are counted."""
    kept, length, left = list[str](), 0, 0
    for part in parts:
        if left or length + len(part) > longest - _SPARE:
            left += 1
        else:
            kept.append(part)
            length += len(part)
    more = f"\n{left:,} more parts do not fit in here; the report has them.\n" if left else ""
    return "".join(kept) + more


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _text(given: object) -> str:
    if isinstance(given, Mapping):
        return "\n".join(f"{name}: {value}" for name, value in given.items())
    return str(given)


def _pre(text: str) -> str:
    over = len(text) - _LONGEST_ANSWER
    shown = html.escape(_plain(text[:_LONGEST_ANSWER], keep="\n"))
    shown += f"… ({over:,} more characters)" if over > 0 else ""
    return f"<pre>{shown}</pre>"


def _code(text: str, longest: int = _LONGEST_NAME) -> str:
    return f"<code>{_safe(text if len(text) <= longest else text[: longest - 1] + '…')}</code>"


def _safe(text: str) -> str:
    """Punctuation as entities, but for that of numbers: GitHub makes links even of what only looks like one."""
    return _PUNCTUATION.sub(lambda found: f"&#{ord(found[0])};", _plain(text))


def _plain(text: str, keep: str = "") -> str:
    """Without what is not seen: control characters, and marks that turn the direction of what follows."""
    return "".join(one if one.isprintable() or one in keep else " " for one in text)
