"""Putting true values back where a model has written their placeholders."""

from __future__ import annotations

import json
import re
import secrets
import urllib.parse
from typing import Any

from llmops_sdk.guards._patterns.guard import PatternGuard, PatternStream, Rule
from llmops_sdk.guards._pii.vault import Vault
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import Verdict

__all__ = ["PLACEHOLDER", "Restorer"]

_LABEL = r"[A-Za-z][A-Za-z0-9]{0,23}(?:\\?_[A-Za-z0-9]{1,23}){0,3}"
_NUMBER = r"[0-9A-Fa-f]{1,64}"
_NUMBERED = rf"{_LABEL}(?:\\?_{_NUMBER}|(?:[ \-\u00a0]#?|#)[0-9][0-9A-Fa-f]{{0,63}})"

# What a model may make of a placeholder: another case, other brackets, none, a backslash from Markdown, a space, the
# percent signs of a URL, an ending of its language.
PLACEHOLDER = Rule(
    kind="placeholder",
    pattern=rf"\\\[{_NUMBERED}\\\]|[\[<({{\u3010] ?{_NUMBERED} ?[\]>)}}\u3011]|%5[Bb]{_LABEL}_{_NUMBER}%5[Dd]"
    rf"|[A-Za-z](?<![A-Za-z0-9_].)[A-Za-z0-9]{{0,23}}(?:\\?_[A-Za-z0-9]{{1,23}}){{0,3}}\\?_[0-9A-Fa-f]{{1,64}}"
    r"[a-z]{0,3}(?![0-9A-Za-z_])",
    hint=r"[_ \-\u00a0#][0-9A-Fa-f]",
)


class Restorer(PatternGuard):
    """Writes the values of one vault where their placeholders stand; those that it does not know stay.

    In the arguments of a tool call, which are JSON, values are escaped, once more in JSON within a string of that JSON;
    between percent signs, percent-encoded. A restorer serves one text.
    """

    name = "pii_restorer"

    def __init__(self, vault: Vault) -> None:
        super().__init__((PLACEHOLDER,))
        self._vault = vault
        self._arguments: _ArgumentsStream | None = None

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The restorer at work on one text."""
        stream = PatternStream(self, self._search, context)
        if not self.remember(context):
            return stream
        self._arguments = _ArgumentsStream(stream)
        return self._arguments

    def remember(self, context: GuardContext | None, /) -> Any:
        """Whether the text is JSON."""
        return context is not None and context.origin.startswith("tool_call:")

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """The value; `None` leaves the text as it is."""
        value = self._vault.reveal(text)
        if value is None:
            return None
        if text.startswith("%"):
            return urllib.parse.quote(value, safe="", errors="surrogatepass")
        if not memory or _escaped(value) == value:
            return value
        if self._arguments is None:
            return _escaped(value)
        return self._arguments.mark(value)


_QUOTE = re.compile(r'(\\*)"|\\+\Z')
_DEEPEST = 6


def _escaped(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


class _ArgumentsStream:
    r"""Escapes values as deep as they stand: `{"a": "..."}` once, `{"a": "{\"b\": \"...\"}"}` twice.

    The stream of the restorer leaves a mark for each such value. What is between the marks says how deep they are: a
    quotation mark after no backslash ends a string or begins one; after one it does so in JSON within that string,
    after three in JSON within that. A string is JSON if it begins with a brace or a bracket.
    """

    __slots__ = ("_backslashes", "_json", "_mark", "_marked", "_new", "_stream", "_values")

    def __init__(self, stream: PatternStream) -> None:
        self._stream = stream
        self._mark = f"\ufdd0{secrets.token_hex(8)}"  # nobody can write it
        self._marked = re.compile(rf"{self._mark}([0-9]+);")
        self._values: list[str] = []
        self._json: list[bool] = []  # whether each string that is open is JSON
        self._new = False  # whether nothing of the innermost one was seen yet
        self._backslashes = 0  # that the text ends with so far

    @property
    def verdict(self) -> Verdict:
        """See `GuardStream`."""
        return self._stream.verdict

    @property
    def held(self) -> str:
        """See `GuardStream`."""
        return self._stream.held

    def mark(self, value: str) -> str:
        """What stands for `value` until it is escaped."""
        self._values.append(value)
        return f"{self._mark}{len(self._values) - 1};"

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        return self._write(self._stream.feed(text))

    def finish(self) -> str:
        """The text has ended: return the rest."""
        return self._write(self._stream.finish())

    def _write(self, text: str) -> str:
        pieces = self._marked.split(text)
        for place, piece in enumerate(pieces):
            if place % 2 == 0:
                self._follow(piece)
                continue
            self._new = False
            value = self._values[int(piece)]
            for _ in range(max(1, len(self._json))):
                value = _escaped(value)
            pieces[place] = value
        return "".join(pieces)

    def _follow(self, piece: str) -> None:
        """Note which strings are open after `piece`."""
        seen = 0
        for match in _QUOTE.finditer(piece):
            if match.start() > seen:
                self._see(piece[seen : match.start()])
            backslashes = match.group().count("\\") + (self._backslashes if match.start() == 0 else 0)
            self._backslashes = 0
            seen = match.end()
            if match.group(1) is None:
                self._backslashes = backslashes
            else:
                self._quote(backslashes)
        if seen < len(piece):
            self._see(piece[seen:])

    def _see(self, content: str) -> None:
        self._backslashes = 0
        if self._new and (content := content.lstrip()):
            self._new = False
            self._json[-1] = content[0] in "{["

    def _quote(self, backslashes: int) -> None:
        depth = len(self._json)
        rest = backslashes % 2**depth
        level = rest.bit_length() + 1
        if rest & (rest + 1):
            return  # no such level
        if level <= depth:
            del self._json[level - 1 :]
            self._new = False
        elif depth < _DEEPEST and (not depth or self._json[-1]):
            self._json.append(False)
            self._new = True
