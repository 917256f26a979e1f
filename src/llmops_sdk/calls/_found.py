"""The very texts that guards found in a run, kept so that nothing else of the run shows them.

Guards say where they found something; the texts themselves stay here, in the memory of the process. Whatever leaves
it goes through `Found.hidden` as the last step: tags, reasons, messages of errors, and texts that are shown. That is
a net below the rules of tracing, which show no text that a guard has not let pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from llmops_sdk.verdicts import Finding

__all__ = ["HIDDEN", "Found", "made_of"]

HIDDEN = "[found by a guard]"
_SHORTEST = 2
"""Fewest characters of a text that is taken out: what is shorter stands everywhere."""
_LONG = 8
"""From here on a text is told from words, and its beginning is known at the end of a text that was cut."""
_MOST = 1000
_MOST_CHARACTERS = 1_000_000
_LONG_LINE = 16
_LONGEST_END = 256
_MOST_ERRORS = 100


class Found:
    """What guards found in one run.

    Example:
        >>> found = Found()
        >>> found.add("my pin is 4711-0815", [Finding(kind="pin", start=10, end=19)])
        >>> found.hidden("no such pin: 4711-0815")
        'no such pin: [found by a guard]'
    """

    __slots__ = ("_characters", "_full", "_ordered", "_texts")

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._ordered: tuple[str, ...] | None = None
        self._characters = 0
        self._full = False

    def add(self, text: str, findings: Iterable[Finding]) -> None:
        """Note what was found in `text`, as the guard had it to read."""
        for finding in findings:
            if self._full:
                return
            one = text[max(finding.start, 0) : finding.end].strip()
            if len(one) < _SHORTEST or one in self._texts:
                continue
            forms = _forms(one)
            self._characters += sum(map(len, forms))
            if len(self._texts) + len(forms) > _MOST or self._characters > _MOST_CHARACTERS:
                self._full = True  # more than can be looked for: from now on nothing is shown
                return
            self._texts |= forms
            self._ordered = None

    def hidden(self, text: str) -> str:
        """`text` without what was found, and without the beginning of it at its end, where a text has been cut."""
        return self._hidden(text, words=True)

    def _hidden(self, text: str, *, words: bool) -> str:
        if self._full:
            return HIDDEN
        if self._ordered is None:  # the longest first: one may be a part of another
            self._ordered = tuple(sorted(self._texts, key=len, reverse=True))
        for one in self._ordered:
            short = len(one) < _LONG and one.isalpha()
            if short and not words:
                continue
            if one in text:
                # A short word stands inside of others, too.
                text = re.sub(rf"(?<!\w){re.escape(one)}(?!\w)", HIDDEN, text) if short else text.replace(one, HIDDEN)
            for length in range(min(len(one), len(text) + 1, _LONGEST_END) - 1, _LONG - 1, -1):
                if text.endswith(one[:length]):
                    text = text[:-length] + HIDDEN
                    break
        return text

    def hidden_in(self, value: Any) -> Any:
        """`value`, made of dicts, lists and texts, with every text hidden.

        Words of less than 8 letters stay: here are names that readers know, such as `"chat"`, and no sentences.
        """
        if isinstance(value, str):
            return self._hidden(value, words=False)
        if isinstance(value, dict):
            return {self.hidden_in(key): self.hidden_in(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.hidden_in(one) for one in value)
        return HIDDEN if type(value) is int and str(value) in self._texts else value

    def hide_in_error(self, error: BaseException) -> None:
        """Take what was found out of the messages of `error`, and of all errors that it was made of."""
        for one in made_of(error):
            one.args = tuple(self._plain(argument) for argument in one.args)
            for name, value in vars(one).items():
                if name != "partial_text":  # that is no message: it is the text which the application had
                    vars(one)[name] = self._notes(value) if name == "__notes__" else self._plain(value)
        for one in made_of(error):
            for link in ("__cause__", "__context__"):
                cause = getattr(one, link)
                if cause is not None and self._is_in(f"{cause!r} {cause}"):
                    setattr(one, link, None)  # it makes its message of something else, so it has to go

    def _notes(self, notes: Any) -> Any:
        return [self._plain(note) for note in notes] if isinstance(notes, list) else notes

    def _is_in(self, text: str) -> bool:
        return self._full or any(one in text for one in self._texts)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, bytes):
            return self.hidden(value.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        return value

    def __bool__(self) -> bool:
        return bool(self._texts) or self._full

    def __repr__(self) -> str:
        return f"<Found: {len(self._texts)}>"


def _forms(text: str) -> set[str]:
    """How `text` may be written where it is quoted: as it is, in JSON, by `repr`, and its long lines each alone."""
    lines = [line.strip() for line in text.splitlines()] if "\n" in text else []
    forms = {text, *(line for line in lines if len(line) >= _LONG_LINE)}
    if not text.isalnum():
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
    return forms


def made_of(error: BaseException) -> list[BaseException]:
    """`error`, what caused it, and the errors of a group."""
    found: list[BaseException] = []
    ahead = [error]
    while ahead and len(found) < _MOST_ERRORS:
        one = ahead.pop()
        if any(one is known for known in found):  # a chain may be a circle
            continue
        found.append(one)
        ahead += [inner for inner in (one.__cause__, one.__context__) if inner is not None]
        if isinstance(one, BaseExceptionGroup):
            ahead += one.exceptions
    return found
