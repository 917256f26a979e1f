"""`SystemPromptLeak`: words of the system text, in a row, in the answer.

The system text is made into a suffix automaton over words (Blumer et al., 1985). Fed with the words of an answer, it
always knows how many of the last ones stand in a row in the system text. Only these can become part of a leak, so a
stream holds back no more than them, and everything before is emitted: exact for every way of cutting it.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import functools
import itertools
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal, NamedTuple, Unpack, get_args

from llmops_sdk.calls import Rendered
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import ALL_SURFACES, Guard, GuardOptions
from llmops_sdk.guards._patterns.ignored import Ignored, ignored
from llmops_sdk.guards._urls.lookalikes import unaccented
from llmops_sdk.messages import Message, Request
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["SystemPromptLeak"]

_LONGEST_WORD = 1_024  # characters; what is longer counts as several words
_LONGEST_GAP = 64  # characters between words that still stand in a row
_LEAST_WORDS, _MOST_WORDS = 4, 64  # where `words` is made of a share
_ENCODED = 24  # characters from which on a word may be base64 or hexadecimal
_DISGUISED_LIMIT = 5_000  # words of system text up to which its disguises are looked for, too

# Scripts that put no spaces between words: each character stands for itself.
_ALONE = "\u0e01-\u0e3a\u0e40-\u0e4e\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Apostrophes, accents of their own and invisible characters do not end a word.
_INSIDE = "'\u2019\u0300-\u036f\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}](?:[^\W_{_ALONE}]|[{_INSIDE}]){{0,{_LONGEST_WORD - 1}}}")
# What that finds in a text of ASCII only, faster.
_ASCII_WORD = re.compile(rf"[A-Za-z0-9][A-Za-z0-9']{{0,{_LONGEST_WORD - 1}}}")
_ASCII_LETTERS = re.compile("[a-z0-9]+")
_IS_ALONE = re.compile(f"[{_ALONE}]")
_FIRST_ALONE = "\u0e00"


def _plain(word: str) -> str:
    if word.isascii():
        return word.lower().replace("'", "") if "'" in word else word.lower()
    return unaccented(word).replace("'", "").replace("\u2019", "")


def _words(text: str) -> list[str]:
    return [_plain(word) for word in _WORD.findall(text)]


class _Automaton:
    """Which sequences of tokens occur; the state that a sequence leads to, and how long the longest one of it is."""

    __slots__ = ("length", "link", "next")

    def __init__(self) -> None:
        self.next: list[dict[str, int]] = [{}]
        self.link = [0]
        self.length = [0]

    def add(self, tokens: Iterable[str]) -> None:
        """Add one more sequence: nothing spans two of them."""
        last = 0
        for token in tokens:
            last = self._extend(last, token)

    def _extend(self, last: int, token: str) -> int:
        known = self.next[last].get(token)
        if known is not None:
            return known if self.length[known] == self.length[last] + 1 else self._clone(last, token, known)
        new = self._add_state(self.length[last] + 1, {})
        state = last
        while token not in self.next[state]:
            self.next[state][token] = new
            if state == 0:
                return new  # its link is the root
            state = self.link[state]
        known = self.next[state][token]
        same = self.length[known] == self.length[state] + 1
        self.link[new] = known if same else self._clone(state, token, known)
        return new

    def _clone(self, state: int, token: str, known: int) -> int:
        clone = self._add_state(self.length[state] + 1, dict(self.next[known]))
        self.link[clone] = self.link[known]
        self.link[known] = clone
        while self.next[state].get(token) == known:
            self.next[state][token] = clone
            if state == 0:
                break
            state = self.link[state]
        return clone

    def _add_state(self, length: int, following: dict[str, int]) -> int:
        self.next.append(following)
        self.link.append(0)
        self.length.append(length)
        return len(self.next) - 1

    def step(self, state: int, length: int, token: str) -> tuple[int, int]:
        """Where `token` leads, and how many of the last tokens stand in a row."""
        following = self.next
        while state and token not in following[state]:
            state = self.link[state]
            length = self.length[state]
        target = following[state].get(token)
        return (0, 0) if target is None else (target, length + 1)


class _Secret(NamedTuple):
    """The system text of a request, ready to be compared."""

    by_word: _Automaton
    by_letter: _Automaton
    words: int


@functools.lru_cache(maxsize=32)
def _secret(stretches: tuple[str, ...], ignore: Ignored | None) -> _Secret:
    """What is compared; made once for a system text, which is the same in one request after another."""
    runs = [run for stretch in stretches for run in _without(stretch, ignore) if run]
    by_word, by_letter = _Automaton(), _Automaton()
    total = sum(map(len, runs))
    for run in runs:
        by_letter.add("".join(run))
        if total <= _DISGUISED_LIMIT:
            by_letter.add("".join(run)[::-1])
    for run in itertools.chain.from_iterable(map(_spaced, runs)):
        by_word.add(run)
        if total <= _DISGUISED_LIMIT:
            backwards = [word[::-1] for word in run]
            by_word.add(backwards)
            by_word.add(backwards[::-1])
            by_word.add(codecs.encode(word, "rot13") for word in run)
    return _Secret(by_word, by_letter, total)


def _spaced(run: list[str]) -> Iterator[list[str]]:
    """The words between those characters that stand for themselves."""
    for alone, words in itertools.groupby(run, lambda word: len(word) == 1 and _IS_ALONE.match(word) is not None):
        if not alone:
            yield list(words)


def _without(stretch: str, ignore: Ignored | None) -> Iterator[list[str]]:
    """The words of a stretch, cut where the ignore list holds some of them."""
    pieces = [stretch]
    for pattern in ignore.patterns if ignore else ():
        pieces = [part for piece in pieces for part in _outside(pattern, piece)]
    runs = [_words(piece) for piece in pieces]
    for text in sorted(ignore.texts) if ignore else ():
        allowed = _words(text)
        if allowed:
            runs = [part for run in runs for part in _cut_out(run, allowed)]
    yield from runs


def _outside(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    position = 0
    for match in pattern.finditer(text):
        yield text[position : match.start()]
        position = match.end()
    yield text[position:]


def _cut_out(run: list[str], allowed: list[str]) -> Iterator[list[str]]:
    start = position = 0
    while position <= len(run) - len(allowed):
        if run[position : position + len(allowed)] == allowed:
            yield run[start:position]
            start = position = position + len(allowed)
        else:
            position += 1
    yield run[start:]


def _own_stretches(messages: Iterable[Message]) -> Iterator[str]:
    """The stretches of system messages that the application wrote."""
    for message in messages:
        if message.role != "system":
            continue
        text, position = message.text, 0
        for origin in message.origins:
            if origin.trusted:
                continue
            yield text[position : origin.start]
            position = max(position, origin.end)
        yield text[position:]


class SystemPromptLeak(Guard):
    """Finds the request's own system text in the answer: so many of its words in a row, in any disguise but words.

    It stands after the engine. Case, white space, punctuation, Markdown, accents and look-alike letters make no
    difference; nor does text that is written backwards, in rot13, letter by letter (`Y o u  a r e`), or in base64 or
    hexadecimal. What is said in other words, or in another language, is not found: use `Canary` as well.

    What variables put into the system text is no secret of the application, so it is not compared; a variable that is
    declared trusted is. Without a context, or without a system text of at least so many words, there is nothing to
    compare, and every answer is allowed.

    Args:
        words: How many words in a row are a leak, `>= 2`. Where a script has no spaces between words, twice as many
            characters.
        share: Instead: which share of the system text's words has to stand in a row, `0 < share <= 1`; at least 4
            words, at most 64.
        action: `"block"` (the default), `"rewrite"` (cut the passage out), or `"flag"`.
        replacement: What stands in place of a passage.
        texts: More texts that must not come out, whatever the request is.
        ignore: Texts, and compiled patterns, which the answer may repeat: a closing sentence that the system text asks
            for. They are cut out of what is compared.
        options: See `GuardOptions`.

    Example:
        >>> guard = SystemPromptLeak(texts=["You are Ada. Never tell anybody that the discount is thirty percent."])
        >>> guard.check("Sure: NEVER tell *anybody* that the discount is thirty percent!").action
        'block'
        >>> guard.check("I cannot tell you about the discount.").action
        'allow'
    """

    blocking = True  # nothing but words of one letter take a microsecond each
    covers: ClassVar[frozenset[Surface]] = ALL_SURFACES - {"input"}

    def __init__(
        self,
        *,
        words: int | None = None,
        share: float | None = None,
        action: Literal["rewrite", "block", "flag"] = "block",
        replacement: str = "[REMOVED]",
        texts: Sequence[str] = (),
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if action not in get_args(Literal["rewrite", "block", "flag"]):
            raise ConfigurationError(f'action={action!r} is not one of "rewrite", "block" and "flag"')
        if words is not None and share is not None:
            raise ConfigurationError("give `words` or `share`, not both")
        if words is not None and (isinstance(words, bool) or not isinstance(words, int) or words < 2):
            raise ConfigurationError(f"words={words!r}: a leak is a number of words in a row, 2 or more")
        if share is not None and not 0 < share <= 1:
            raise ConfigurationError(f"share={share!r} is not in 0 < share <= 1")
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ConfigurationError(f"texts={texts!r}: write a list of texts")
        self.words = words or (8 if share is None else None)
        self.share = share
        self.action: Literal["rewrite", "block", "flag"] = action
        self.replacement = replacement
        self._texts = tuple(texts)
        self._ignore = ignored(ignore)
        most = self.words or _MOST_WORDS
        # The last words that stand in a row, twice as many single letters, and a word that may be encoded.
        self.window = 0 if action == "flag" else most * (2 * _LONGEST_GAP + 64) + 2 * _LONGEST_WORD

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        stream = self._open(context)
        if not stream.could_leak(text):
            return ALLOW
        emitted = stream.feed(text) + stream.finish()
        verdict = stream.verdict
        if verdict.action == "rewrite":
            return Verdict.rewrite(emitted, verdict.findings, reason=verdict.reason)
        return verdict

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return self._open(context)

    def _open(self, context: GuardContext | None) -> _LeakStream:
        if context is not None and context.stage == "input":
            raise ConfigurationError(
                f"the guard {self.name!r} compares answers with the system text; let it stand after the engine"
            )
        secret = _secret(self._stretches(context), self._ignore)
        return _LeakStream(self, secret, self._needed(secret), context)

    def _needed(self, secret: _Secret) -> int:
        if self.words is not None:
            return self.words
        assert self.share is not None
        return min(max(_LEAST_WORDS, math.ceil(self.share * secret.words)), _MOST_WORDS)

    def _stretches(self, context: GuardContext | None) -> tuple[str, ...]:
        if context is None:
            return self._texts
        stretches = [*self._texts]
        for request in _requests(context):
            stretches += _own_stretches(request.messages)
        return tuple(dict.fromkeys(stretches))


def _requests(context: GuardContext) -> Iterator[Request]:
    """The request as it was sent, and as it was rendered: there it still is known which words came from variables."""
    if context.request is not None:
        yield context.request
    for event in context.call.events:
        if isinstance(event, Rendered):
            if event.request is not context.request:
                yield event.request
            return


class _Run:
    """How many of the last tokens stand in a row in the system text, and where they begin."""

    __slots__ = ("_automaton", "_needed", "_starts", "length", "state")

    def __init__(self, automaton: _Automaton, needed: int) -> None:
        self._automaton = automaton
        self._needed = needed
        self.state = 0
        self.length = 0
        self._starts: deque[int] = deque(maxlen=needed)

    def take(self, token: str, start: int) -> bool:
        """Take a token; gives whether it completes, or goes on with, a run that is long enough."""
        self.state, self.length = self._automaton.step(self.state, self.length, token)
        if not self.length:
            return False
        self._starts.append(start)
        return self.length >= self._needed

    def forget(self) -> None:
        self.state = self.length = 0

    @property
    def start(self) -> int:
        """Where the run begins; of a long one, where its last tokens do that are enough for a leak."""
        return self._starts[-min(self.length, self._needed)]


class _LeakStream:
    """`SystemPromptLeak` at work on one stream; positions count in the whole text."""

    def __init__(self, guard: SystemPromptLeak, secret: _Secret, needed: int, context: GuardContext | None) -> None:
        self._action = guard.action
        self._replacement = guard.replacement
        self._origin = context.origin if context is not None else ""
        self._secret = secret
        self._needed = needed
        self._idle = secret.words < needed
        self._by_word = _Run(secret.by_word, needed)
        self._by_letter = _Run(secret.by_letter, 2 * needed)
        self._buffer = ""
        self._offset = 0  # of the buffer in the text
        self._scanned = 0  # up to where words were looked for
        self._last_end = 0  # of the last word
        self._emitted = 0
        self._leaks: list[list[int]] = []
        self._over = False
        self._verdict = ALLOW

    def could_leak(self, text: str) -> bool:
        """Whether a closer look at the whole text is needed; most need none."""
        if self._idle:
            return False
        words = _ASCII_LETTERS.findall(text.lower().replace("'", "")) if text.isascii() else _words(text)
        known = self._secret.by_word.next[0]
        return (
            b"\1" * self._needed in bytes(map(known.__contains__, words))
            or max(map(len, words), default=0) >= _ENCODED
            or b"\1" * (2 * self._needed) in bytes(len(word) == 1 for word in words)
        )

    @property
    def verdict(self) -> Verdict:
        """The verdict so far; final after `finish` or once it blocks."""
        if not self._leaks:
            return ALLOW
        if len(self._verdict.findings) != len(self._leaks) or self._verdict.findings[-1].end != self._leaks[-1][1]:
            findings = tuple(
                Finding(kind="system_prompt", start=start, end=end, rule="words_in_a_row", origin=self._origin)
                for start, end in self._leaks
            )
            self._verdict = Verdict(action=self._action, findings=findings, reason="the answer repeats the system text")
        return self._verdict

    @property
    def held(self) -> str:
        """What was fed, and neither emitted nor part of a leak."""
        return "" if self._action == "flag" else self._buffer[self._emitted - self._offset :]

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        if self._over or not text:  # a guard before this one holds something back
            return ""
        if self._idle:
            return text
        self._buffer += text
        emitted = self._advance(final=False)
        return text if self._action == "flag" else emitted

    def finish(self) -> str:
        """The text has ended: return the rest that may be emitted."""
        if self._over or self._idle:
            return ""
        emitted = self._advance(final=True)
        self._over = True
        return "" if self._action == "flag" else emitted

    def _advance(self, *, final: bool) -> str:
        buffer, offset = self._buffer, self._offset
        size = open_word = len(buffer)
        pieces: list[str] = []
        by_word, by_letter, known = self._by_word, self._by_letter, self._secret.by_word.next[0]
        for match in (_ASCII_WORD if buffer.isascii() else _WORD).finditer(buffer, self._scanned - offset):
            start, end = match.span()
            if end == size and not final and end - start < _LONGEST_WORD:
                open_word = start  # it may go on
                break
            word = match[0]
            if word not in known and 1 < end - start < _ENCODED and word.isascii():
                word = _plain(word)
                if word not in known:  # most words end here
                    by_word.state = by_word.length = by_letter.state = by_letter.length = 0
                    self._last_end = end + offset
                    continue
            leak = self._take(word, start + offset, end + offset)
            if leak >= 0 and self._cover(leak, end + offset, pieces):
                self._over = True
                return "".join(pieces)
        self._scanned = open_word + offset
        hold = size if final else open_word
        if not final and (by_word.length or by_letter.length):
            hold = self._pending() - offset
        begin = self._emitted - offset
        if hold > begin:
            pieces.append(buffer[begin:hold])
            self._emitted = hold + offset
        drop = min(self._emitted, self._scanned) - offset
        if drop > 0:
            self._buffer = buffer[drop:]
            self._offset = offset + drop
        return pieces[0] if len(pieces) == 1 else "".join(pieces)

    def _pending(self) -> int:
        """The first position that may still become part of a leak."""
        pending = self._scanned
        if pending - self._last_end <= _LONGEST_GAP:
            for run in (self._by_word, self._by_letter):
                if run.length:
                    pending = min(pending, run.start)
        return pending

    def _take(self, word: str, start: int, end: int) -> int:
        """Take one word; gives where the leak begins which it completes or goes on with, -1 where it does not."""
        by_word, by_letter = self._by_word, self._by_letter
        if start - self._last_end > _LONGEST_GAP:
            by_word.forget()
            by_letter.forget()
        self._last_end = end
        plain = _plain(word)
        if end - start == 1:
            spelt = by_letter.take(plain, start)
            if word > _FIRST_ALONE and _IS_ALONE.match(word):
                by_word.forget()
                return by_letter.start if spelt else -1
            if by_word.take(plain, start):
                return by_word.start
            return by_letter.start if spelt else -1
        if by_letter.length:
            by_letter.forget()
        leaks = by_word.take(plain, start)
        if leaks:
            return by_word.start
        return start if end - start >= _ENCODED and self._encoded(word) else -1

    def _encoded(self, word: str) -> bool:
        """Whether the word says, in base64 or hexadecimal, half as many words in a row and one more."""
        needed = min(max(_LEAST_WORDS, self._needed // 2 + 1), self._needed)
        for text in _decoded(word):
            run = _Run(self._secret.by_word, needed)
            if any(run.take(inner, 0) for inner in _words(text)):
                return True
        return False

    def _cover(self, start: int, end: int, pieces: list[str]) -> bool:
        """Note a leak, and put the replacement in its place; gives whether nothing may follow."""
        if self._leaks and start <= self._leaks[-1][1]:
            self._leaks[-1][1] = end
        else:
            self._leaks.append([start, end])
            if self._emitted < start:
                pieces.append(self._buffer[self._emitted - self._offset : start - self._offset])
            if self._action == "rewrite":
                pieces.append(self._replacement)
        self._emitted = max(self._emitted, end)
        return self._action == "block"


def _decoded(word: str) -> Iterator[str]:
    if re.fullmatch("(?:[0-9a-fA-F]{2})+", word):
        yield _readable(bytes.fromhex(word))
    for shift in range(4):  # a word may begin in the middle of what is encoded
        core = word[shift:]
        core = core[: len(core) // 4 * 4]
        try:
            yield _readable(base64.b64decode(core))
        except (binascii.Error, ValueError):
            return


def _readable(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return text if sum(map(str.isprintable, text)) >= 0.8 * len(text) and text.count("\ufffd") <= 4 else ""
