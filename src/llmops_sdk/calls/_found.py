"""The very texts that guards found in a run, kept so that nothing else of the run shows them.

Guards say where they found something; the texts themselves stay here, in the memory of the process. Whatever leaves
it goes through `Found.hidden` as the last step: tags, reasons, messages of errors, and texts that are shown. That is
a net below the rules of tracing, which show no text that a guard has not let pass.
"""

from __future__ import annotations

import contextlib
import difflib
import html
import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes

from llmops_sdk.errors import EngineError, LlmopsError
from llmops_sdk.verdicts import Verdict

__all__ = ["HIDDEN", "UNTOLD", "Found", "made_of"]

_Sequence = TypeVar("_Sequence", str, list[str])

HIDDEN = "[found by a guard]"
UNTOLD = "[withheld: a guard found something, and did not say where]"
_SHORTEST = 2
"""Fewest characters of a text that is taken out: what is shorter stands everywhere."""
_SHORTEST_WORD = 4
_LONG = 8
"""From here on a text is told from words, and its beginning is known at the end of a text that was cut."""
_MOST = 1000
_MOST_CHARACTERS = 1_000_000
_LONG_LINE = 16
_DEEPEST = 2
"""How often a text is quoted in a quotation."""
_LONGEST_END = 256
_MOST_ERRORS = 100
_MOST_WORDS = 400
"""That differ between a text and what a guard made of it."""
_CUT = "…"
"""Stands at the end of a text that was cut."""
_ITS_OWN = ("strerror", "filename", "filename2", "msg", "text", "reason", "object", "doc")
"""Where errors of Python keep what they make their message of, beside their arguments."""
_PLAIN = re.compile(r"[ !#-&(-\[\]-~]*")
"""One line that JSON and `repr` quote as it is."""
_UNRESERVED = re.compile(r"[0-9A-Za-z._~-]*")
"""What URLs and HTML quote as it is."""


class Found:
    """What guards found in one run.

    Attributes:
        untold: Whether a guard has acted without saying where, or found too much: no free text can be cleaned then.

    Example:
        >>> from llmops_sdk.verdicts import Finding
        >>> found = Found()
        >>> found.note("my pin is 4711-0815", Verdict.flag("a pin", [Finding(kind="pin", start=10, end=19)]))
        True
        >>> found.hidden("no such pin: 4711-0815")
        'no such pin: [found by a guard]'
    """

    __slots__ = ("_characters", "_ordered", "_read", "_texts", "untold")

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._ordered: tuple[tuple[str, str], ...] | None = None
        self._characters = 0
        self._read: list[str] = []
        self.untold = False

    def note(self, text: str, verdict: Verdict) -> bool:
        """Note what a guard found in `text`, as it had it to read; gives whether it is known what that was."""
        if verdict.findings:
            told = all(finding.start < finding.end for finding in verdict.findings)
            # What a guard calls by its own name ("owl" by the rule `owl`) is in its rules, and no secret of the run.
            texts = [(text[max(one.start, 0) : one.end], one) for one in verdict.findings]
            secret = [text for text, one in texts if text.lower() not in (one.kind.lower(), one.rule.lower())]
            told = self._add(secret) and told
        elif verdict.error is not None or verdict.action == "allow":
            return True
        else:
            gone = None if verdict.text is None else _gone(text, verdict.text)
            told = gone is not None and self._add(gone)
        if not told:
            self.untold = True
            self._read.append(text)
        return told

    def _add(self, texts: Iterable[str]) -> bool:
        for text in texts:
            one = text.strip()
            if len(one) < _SHORTEST or one in self._texts:
                continue
            forms = _forms(one)
            self._characters += sum(map(len, forms))
            if len(self._texts) + len(forms) > _MOST or self._characters > _MOST_CHARACTERS:
                return False  # more than can be looked for
            self._texts |= forms
            self._ordered = None
        return True

    def hidden(self, text: str) -> str:
        """`text` without what was found, and without the beginning of it at its end, where a text has been cut."""
        return UNTOLD if self.untold else self.unquoting(text)

    def hidden_tag(self, tag: Any) -> Any:
        """A tag: hidden like a text, but where a guard did not say what it found only if a word of it was read there.

        Runs are found by their tags, which are the application's own.
        """
        if not isinstance(tag, str):
            return self.hidden_in(tag)
        if self._read:
            words = [word for word in re.findall(r"\w+", tag) if len(word) >= _SHORTEST_WORD]
            if any(word in text for text in self._read for word in words):
                return UNTOLD
        return self.unquoting(tag)

    def unquoting(self, text: str) -> str:
        """The same for a text that is not to quote anybody by itself, such as the reason of a guard."""
        return self._hidden(text, words=True)

    def _hidden(self, text: str, *, words: bool) -> str:
        lowered = text.lower()
        for one, low in self._in_order():
            if len(one) < _LONG and one.isalpha():
                if words and one in text:  # a short word stands inside of others, too
                    text = re.sub(rf"(?<!\w){re.escape(one)}(?!\w)", HIDDEN, text)
                    lowered = text.lower()
                continue
            if low in lowered:
                text = re.sub(re.escape(one), HIDDEN, text, flags=re.IGNORECASE)
                lowered = text.lower()
            if low[:_LONG] in lowered[-_LONGEST_END:]:
                text = _without_its_begin(text, low)
                lowered = text.lower()
        return text

    def _in_order(self) -> tuple[tuple[str, str], ...]:
        """What was found, each with itself in small letters; the longest first, as one may be a part of another."""
        if self._ordered is None:
            self._ordered = tuple((one, one.lower()) for one in sorted(self._texts, key=len, reverse=True))
        return self._ordered

    def hidden_in(self, value: Any) -> Any:
        """`value`, made of dicts, lists and texts, with every text hidden.

        Words of less than 8 letters stay: here are names that readers know, such as `"chat"`, and no sentences.
        """
        written = _written_in(value).lower()  # mostly there is nothing, and that is soon seen
        return self._hidden_in(value) if any(low[:_LONG] in written for _, low in self._in_order()) else value

    def _hidden_in(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._hidden(value, words=False)
        if isinstance(value, dict):
            return {self._hidden_in(key): self._hidden_in(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._hidden_in(one) for one in value)
        return HIDDEN if type(value) is int and str(value) in self._texts else value

    def hide_in_error(self, error: BaseException) -> None:
        """Take what was found out of the messages of `error`, and of all errors that it was made of."""
        for one in made_of(error):
            if self.untold and isinstance(one, LlmopsError) and not isinstance(one, EngineError):
                continue  # the library's own words
            one.args = tuple(self._argument(argument) for argument in one.args)
            for name, value in vars(one).items():
                if name != "partial_text":  # that is no message: it is the text which the application had
                    vars(one)[name] = self._plain(value)
            for name in _ITS_OWN:
                value = getattr(one, name, None)
                if isinstance(value, str) and value != (clean := self.hidden(value)):
                    with contextlib.suppress(AttributeError, TypeError):  # it may not be changed
                        setattr(one, name, clean)
        for one in made_of(error):
            for link in ("__cause__", "__context__"):
                cause = getattr(one, link)
                if cause is not None and self._is_in(f"{cause!r} {cause}"):
                    setattr(one, link, None)  # it makes its message of something else, so it has to go

    def _is_in(self, text: str) -> bool:
        lowered = text.lower()
        return any(low in lowered for _, low in self._in_order())

    def _argument(self, value: Any) -> Any:
        """An argument of an error, which is told by its `repr`."""
        plain = self._plain(value)
        if plain is value and not isinstance(value, str | bytes | BaseException) and self._is_in(said := repr(value)):
            return self.hidden(said)
        return plain

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, bytes):
            return self.hidden(value.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        if type(value) in (dict, list, tuple):
            if type(value) is dict:
                return {self._plain(key): self._plain(one) for key, one in value.items()}
            return type(value)(self._plain(one) for one in value)
        return value

    def __bool__(self) -> bool:
        return bool(self._texts) or self.untold

    def __repr__(self) -> str:
        return f"<Found: {len(self._texts)}>"


def _without_its_begin(text: str, low: str) -> str:
    """`text` without the beginning of what was found (`low`, in small letters) at its end, where it was cut."""
    kept = text.removesuffix(_CUT)
    for length in range(min(len(low), len(kept) + 1, _LONGEST_END) - 1, _LONG - 1, -1):
        if kept[-length:].lower() == low[:length]:
            return kept[:-length] + HIDDEN + text[len(kept) :]
    return text


def _written_in(value: Any) -> str:
    """All texts and whole numbers in `value`, line by line."""
    # For each span that is written: lists that are built at once cost half of a generator.
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return "\n".join([one if type(one) is str else _written_in(one) for one in value])
    return str(value) if isinstance(value, str) or type(value) is int else ""


def _gone(before: str, after: str) -> list[str] | None:
    """What was taken out of a text, word by word; `None` where too much has changed to say."""
    old, new = _without_what_is_left(before.split(), after.split())
    if len(old) > _MOST_WORDS or len(new) > _MOST_WORDS:
        return None
    gone: list[str] = []
    for what, start, end, start_new, end_new in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what in ("replace", "delete"):
            words, instead = old[start:end], new[start_new:end_new]
            if len(words) != len(instead):
                words, instead = [" ".join(words)], [" ".join(instead)]
            for one, other in zip(words, instead, strict=True):
                left, _ = _without_what_is_left(one, other)
                gone += [left, *left.split()]
    return gone


def _without_what_is_left(old: _Sequence, new: _Sequence) -> tuple[_Sequence, _Sequence]:
    """Both without the beginning and the end that they have in common."""
    begin = _in_common(old, new)
    old, new = old[begin:], new[begin:]
    end = _in_common(old[::-1], new[::-1])
    return old[: len(old) - end], new[: len(new) - end]


def _in_common(old: _Sequence, new: _Sequence) -> int:
    pairs = enumerate(zip(old, new, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(old), len(new)))


def _forms(text: str) -> set[str]:
    """How `text` may be written where it is quoted: line by line, in URLs, in HTML, in JSON, by `repr`, twice so."""
    forms = {text, *(line for line in text.splitlines() if len(line) >= _LONG_LINE)}
    if not _UNRESERVED.fullmatch(text):
        data = text.encode(errors="surrogatepass")
        forms |= {quote_from_bytes(data), quote_from_bytes(data, safe=""), html.escape(text)}
        forms.add(quote_from_bytes(data, safe=" ").replace(" ", "+"))
    if _PLAIN.fullmatch(text):  # most of it: cards, addresses, keys
        return forms
    for _ in range(_DEEPEST):
        for form in tuple(forms):
            forms |= {json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1], repr(form)[1:-1]}
    return forms


def made_of(error: BaseException) -> list[BaseException]:
    """`error`, what caused it, and the errors of a group, or among its arguments."""
    found: list[BaseException] = []
    ahead = [error]
    while ahead and len(found) < _MOST_ERRORS:
        one = ahead.pop()
        if any(one is known for known in found):  # a chain may be a circle
            continue
        found.append(one)
        ahead += [inner for inner in (one.__cause__, one.__context__, *one.args) if isinstance(inner, BaseException)]
        if isinstance(one, BaseExceptionGroup):
            ahead += one.exceptions
    return found
