"""A difference for people: as lines with styles, as Markdown, and as HTML with everything escaped."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, TypeAlias

from llmops_sdk.prompts._comparing.changes import PromptChange

if TYPE_CHECKING:
    from llmops_sdk.prompts._comparing.difference import PromptDiff

__all__ = ["Line", "lines", "markdown", "page"]

Line: TypeAlias = "list[tuple[str, str]]"
"""Pieces of text, each with a style as rich writes it."""

_STYLES = {"same": "dim", "compatible": "green", "unclear": "yellow", "breaking": "bold red", "waived": "dim"}
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_COLOURS = {
    "same": "#6b7280",
    "compatible": "#1a7f4b",
    "unclear": "#946c00",
    "breaking": "#c62828",
    "waived": "#6b7280",
}
_WORDS = {
    "same": "{}",
    "removed": "<del style='color:#c62828'>{}</del>",
    "added": "<ins style='color:#1a7f4b'>{}</ins>",
}
_WRITTEN = ("sections.", "partials.", "description")
_SHORT = 120
_WORDS_AT_MOST = 20_000
"""Characters of a text whose words are compared for a notebook; a longer one is compared by lines."""


def lines(diff: PromptDiff) -> Iterator[Line]:
    """The whole text."""
    yield [
        (diff.name, "bold"),
        (f"  {diff.old} → {diff.new}  ", ""),
        (diff.verdict, _STYLES[diff.verdict]),
    ]
    width = max((len(change.code) for change in diff.changes), default=0)
    for change, hunks in _with_hunks(diff):
        effect = _effect(diff, change)
        yield []
        yield [
            (f"{effect:<10}  ", _STYLES[effect]),
            (f"{change.code:<{width}}  ", "bold"),
            (f"{change.where}: {change.message}", ""),
            (_values(change), "dim"),
        ]
        if change.effect != "compatible":
            yield [(f"{'':12}{change.reason}", "dim")]
        for line in hunks:
            yield [(f"{'':12}{line}", _DIFF_STYLES.get(line[0], ""))]


def _effect(diff: PromptDiff, change: PromptChange) -> str:
    return "waived" if change.effect != "compatible" and change.code in diff.waived else change.effect


def _with_hunks(diff: PromptDiff) -> Iterator[tuple[PromptChange, list[str]]]:
    """Each change with its difference by lines, where that is not shown already and says more than the message."""
    seen = set()
    for change in diff.changes:
        texts = (change.old, change.new)
        shows = change.old != change.new and texts not in seen and not _values(change)
        seen.add(texts)
        yield change, change.unified().split("\n")[2:] if shows else []


def _values(change: PromptChange) -> str:
    """What was and what is, where both are short and no text that somebody wrote for a model."""
    old, new = change.old, change.new
    if change.where.startswith(_WRITTEN) or "\n" in f"{old}{new}" or len(f"{old}{new}") > _SHORT or old == new:
        return ""
    return f"  ({old} → {new})" if old and new else f"  ({old or new})"


def markdown(diff: PromptDiff) -> str:
    """As Markdown: a table of the changes, and what changed in the texts."""
    rows = [
        f"| {'**' * (effect == 'breaking')}{effect}{'**' * (effect == 'breaking')} | `{change.code}` "
        f"| `{_cell(change.where)}` | {_cell(change.message + _values(change))} |"
        for change in diff.changes
        for effect in (_effect(diff, change),)
    ]
    head = f"### `{diff.name}`: {diff.verdict}\n\n`{diff.old}` → `{diff.new}`"
    table = ["| effect | code | where | what |", "|---|---|---|---|", *rows] if rows else ["Nothing changed."]
    texts = [
        f"`{change.where}`\n\n{fence}diff\n{body}\n{fence}"
        for change, hunks in _with_hunks(diff)
        if hunks
        for body in ("\n".join(hunks),)
        for fence in (_fence(body),)
    ]
    return "\n\n".join([head, "\n".join(table), *texts]) + "\n"


def _fence(text: str) -> str:
    """A fence of backticks that is not in the text."""
    ticks = "```"
    while ticks in text:
        ticks += "`"
    return ticks


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def page(diff: PromptDiff) -> str:
    """As HTML for notebooks."""
    title = f"{diff.name} {diff.old} → {diff.new}"
    rows = "".join(_row(diff, change, hunks) for change, hunks in _with_hunks(diff))
    verdict = f"<b style='color:{_COLOURS[diff.verdict]}'>{diff.verdict}</b>"
    return f"<table><caption>{escape(title)} {verdict}</caption>{rows}</table>"


def _row(diff: PromptDiff, change: PromptChange, hunks: list[str]) -> str:
    effect = _effect(diff, change)
    message = escape(change.message + _values(change))
    cells = (
        f"<b style='color:{_COLOURS[effect]}'>{effect}</b>",
        f"<code>{change.code}</code><br>{escape(change.where)}",
        f"<span title='{escape(change.reason)}'>{message}</span>{_texts(change, hunks)}",
    )
    return "<tr>" + "".join(f"<td style='text-align:left;vertical-align:top'>{cell}</td>" for cell in cells) + "</tr>"


def _texts(change: PromptChange, hunks: list[str]) -> str:
    if not hunks:
        return ""
    if len(change.old or "") + len(change.new or "") > _WORDS_AT_MOST:
        words = escape("\n".join(hunks))
    else:
        words = "".join(_WORDS[kind].format(escape(text)) for kind, text in change.words())
    return f"<pre style='white-space:pre-wrap;text-align:left'>{words}</pre>"
