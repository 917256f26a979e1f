"""Guards that look for patterns: rules as data, a scan that is cheap where nothing is found, and exact streams.

How findings become decisions, for a whole text and for a stream alike:

* Each rule is searched from left to right; after a match it goes on at the end of that match, after one that its
  validator refuses one character further on.
* What findings cover, the longest and the first rule first, is decided in `cover`.
* What the ignore list holds is searched no further, and is no finding.
* In a stream, text is decided up to the leftmost position where a match could still begin or grow. When that is looked
  for makes no difference to what is emitted in the end, only to how soon.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, TypeAlias, Unpack, get_args

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.guards._patterns.cover import Cover, Found, PatternAction, found_at
from llmops_sdk.guards._patterns.ignored import Ignored, ignored
from llmops_sdk.guards._patterns.prefixes import Shape, Unstreamable, join_prefixes, read_shape
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import Verdict

__all__ = ["PatternAction", "PatternGuard", "PatternStream", "Rule", "search_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    r"""One kind of thing to find.

    Attributes:
        kind: What it finds, as findings name it: `"email"`.
        pattern: A regular expression. In a stream it may look ahead by one character only, and should have a limit on
            every repeat.
        literals: Texts of which one is in every match; without any of them in a text the pattern is not tried.
            They are compared without regard to case when `folded` is true (write them in lower case then).
        hint: A cheaper pattern that matches somewhere inside of every match, where no literal does.
        accepts: Looks at a match (and at nothing outside of it) and says whether it counts. A text that it gives is the
            kind of the finding.
        group: Number of the group that is the finding; 0 for the whole match, -1 for the one group that took part.
        score: How sure a match is, `0 <= score <= 1`.
        flags: Flags of `re`; ASCII unless said otherwise, so that `\b` and `\d` mean the same next to any script.
    """

    kind: str
    pattern: str
    literals: tuple[str, ...] = ()
    folded: bool = False
    hint: str | None = None
    accepts: Callable[[re.Match[str]], bool | str | None] | None = None
    group: int = 0
    score: float = 1.0
    flags: int = int(re.ASCII)


class _Gate(NamedTuple):
    literals: tuple[str, ...]
    folded: bool
    hint: re.Pattern[str] | None


_Literals: TypeAlias = tuple[tuple[str, int], ...]


def _by_sign(literals: list[tuple[str, int]]) -> tuple[tuple[str, _Literals], ...]:
    """Group literals by a punctuation mark in them: one look for the mark spares the search for all of its group."""
    groups: dict[str, list[tuple[str, int]]] = {}
    for literal, gate in literals:
        sign = next((character for character in literal if not character.isalnum()), "")
        groups.setdefault(sign, []).append((literal, gate))
    return tuple((sign, tuple(group)) for sign, group in groups.items())


# Where so many characters are held back, they are looked at again only when a quarter has been added: a look costs as
# much as they are long, and a stream may bring them one by one.
_LONG_HOLD = 256
# Up to so many places a pattern is tried at each of them, instead of searched for.
_FEW_PLACES = 8
# In texts up to this long one pattern of all literals is faster than one search for each.
_SHORT = 160
# What `str.lower` makes an ASCII letter of, besides its capital.
_ALSO_LOWERED = {"k": "\u212a", "i": "\u0130"}

_Letters: TypeAlias = "dict[str, _Letters]"


def _any_of(literals: Sequence[tuple[str, bool]]) -> re.Pattern[str] | None:
    """A pattern that finds one of the literals, each with whether it is folded; `None` where there are none."""
    tree: _Letters = {}
    for text, folded in literals:
        for first in _cases(text[0]) if folded else text[0]:
            branch = tree.setdefault(re.escape(first), {})
            for character in text[1:]:
                cases = _cases(character) if folded else character
                branch = branch.setdefault(f"[{cases}]" if len(cases) > 1 else re.escape(character), {})
            branch[""] = {}
    return re.compile(_source(tree)) if tree else None


def _set_of(literals: Sequence[tuple[str, bool, int]]) -> Callable[[str], list[int] | None] | None:
    """A search for all literals at once, which gives the numbers of those found; `None` without the extra `fast`."""
    try:
        import re2  # noqa: PLC0415  (optional, and only where literals are searched)
    except ImportError:
        return None
    literal_set = re2.Set.SearchSet()
    for text, folded, _ in literals:
        literal_set.Add(f"(?i:{re2.escape(text)})" if folded else re2.escape(text))
    literal_set.Compile()
    match: Callable[[str], list[int] | None] = literal_set.Match
    return match if literals else None


def _cases(character: str) -> str:
    return "".join(dict.fromkeys((character, *character.upper()[:1], *_ALSO_LOWERED.get(character, ""))))


def _source(tree: _Letters) -> str:
    # Where a literal ends, longer ones that begin with it add nothing.
    return "" if "" in tree else f"(?:{'|'.join(letter + _source(rest) for letter, rest in tree.items())})"


class _Search:
    """The compiled rules of a guard; immutable, and shared by all guards with the same rules."""

    def __init__(self, rules: tuple[Rule, ...], ignore: Ignored | None = None) -> None:
        self.rules = rules
        self._ignore = ignore
        try:
            self._patterns = [re.compile(rule.pattern, rule.flags) for rule in rules]
            hints = [re.compile(rule.hint, rule.flags) if rule.hint else None for rule in rules]
        except re.error as error:
            raise ConfigurationError(f"not a regular expression: {error.pattern!r}: {error}") from error
        # Rules that wait for the same thing stand behind one gate, which is tried once for all of them.
        behind_gate: dict[_Gate, list[int]] = {}
        for number, rule in enumerate(rules):
            behind_gate.setdefault(_Gate(rule.literals, rule.folded, hints[number]), []).append(number)
        self._gates = tuple((gate.hint, tuple(numbers)) for gate, numbers in behind_gate.items())
        literals = [(text, gate.folded, n) for n, gate in enumerate(behind_gate) for text in gate.literals]
        self._exact = _by_sign([(text, n) for text, folded, n in literals if not folded])
        self._folded = _by_sign([(text, n) for text, folded, n in literals if folded])
        self._gate_of = [n for _, _, n in literals]
        self._fast = _set_of(literals)
        self._any = _any_of([(text, folded) for text, folded, _ in literals])
        self._always = tuple(n for n, gate in enumerate(behind_gate) if not gate.literals)

    def __reduce__(self) -> tuple[Any, ...]:
        return search_for, (self.rules, self._ignore)

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...] | None:
        """The shapes of all rules, `None` where one of them cannot be followed in a stream."""
        try:
            shapes = tuple(read_shape(rule.pattern, rule.flags) for rule in self.rules)
        except Unstreamable:
            return None
        return None if any(shape.longest is None for shape in shapes) else shapes

    @functools.cached_property
    def partial(self) -> re.Pattern[str]:
        """Finds the leftmost position where a match could still begin or grow."""
        return join_prefixes(self.shapes or ())

    @functools.cached_property
    def behind(self) -> int:
        """Characters of left context that the patterns look at."""
        return max((shape.behind for shape in self.shapes or ()), default=0)

    @functools.cached_property
    def shortest(self) -> int:
        """No match is shorter than this."""
        return min((shape.shortest for shape in self.shapes or ()), default=1)

    @functools.cached_property
    def reaches(self) -> tuple[int, ...]:
        """How far each rule looks from where a match begins, the character after it included."""
        return tuple((shape.longest or 0) + 1 for shape in self.shapes or ())

    @functools.cached_property
    def longest(self) -> int:
        """No match is longer than this."""
        return max((shape.longest or 0 for shape in self.shapes or ()), default=0)

    @functools.cached_property
    def most_held(self) -> int:
        """No more characters are held back than this, and the one that a lookahead may want to see."""
        return self.longest + (self.longest // 8 if self.longest >= _LONG_HOLD else 0)

    def find(self, text: str, start: int, stop: int, offset: int, resume: dict[int, int]) -> list[Found]:
        """All findings of matches that begin in `text[start:stop]`, with `offset` added.

        `resume` holds where each rule goes on (with `offset`); it is read and updated.
        """
        if stop < len(text):  # no match that begins before `stop` sees more
            text = text[: stop + self.longest + 1]
        if (
            len(text) - start <= _SHORT
            and not self._always
            and (self._any is None or not self._any.search(text, start))
        ):
            return []
        ahead = text[start:] if start else text
        open_gates = self._open_gates(ahead)
        found: list[Found] = []
        for gate in sorted({*open_gates, *self._always}) if open_gates else self._always:
            hint, numbers = self._gates[gate]
            if hint is not None and hint.search(ahead) is None:
                continue
            for number in numbers:
                self._find_one(number, text, start=start, stop=stop, offset=offset, resume=resume, found=found)
        return found

    def _open_gates(self, text: str) -> list[int]:
        """The gates of which a literal is in the text: what a text costs in which nothing is to be found."""
        if self._fast is not None and len(text) > _SHORT:
            with contextlib.suppress(UnicodeEncodeError):  # RE2 takes no lone surrogates
                return [self._gate_of[number] for number in self._fast(text) or ()]
        open_gates: list[int] = []
        for sign, literals in self._exact:
            if sign in text:
                open_gates += [gate for literal, gate in literals if literal in text]
        if self._folded:
            lowered = text.lower()
            for sign, literals in self._folded:
                if sign in lowered:
                    open_gates += [gate for literal, gate in literals if literal in lowered]
        return open_gates

    def _find_one(
        self,
        number: int,
        text: str,
        *,
        start: int,
        stop: int,
        offset: int,
        resume: dict[int, int],
        found: list[Found],
    ) -> None:
        rule = self.rules[number]
        pattern = self._patterns[number]
        # Where few places are asked for, none behind them is tried.
        search = pattern.search if stop - start > _FEW_PLACES else functools.partial(_match_between, pattern, stop)
        end_of_search = len(text) if stop == len(text) else stop + self.reaches[number]
        position = max(start, resume.get(number, 0) - offset)
        while position < stop:
            match = search(text, position, end_of_search)
            if match is None or match.start() >= stop:
                return
            begin, end = match.span(rule.group if rule.group >= 0 else match.lastindex or 0)
            accepted = begin < end and (rule.accepts is None or rule.accepts(match))
            if accepted:
                if self._ignore is None or not self._ignore.holds(text[begin:end]):
                    kind = accepted if isinstance(accepted, str) else rule.kind
                    found.append(found_at(begin + offset, end + offset, number, kind, rule.score))
                position = match.end()
                resume[number] = position + offset
            else:
                position = match.start() + 1


def _match_between(pattern: re.Pattern[str], stop: int, text: str, start: int, end: int) -> re.Match[str] | None:
    """The first match that begins in `text[start:stop]`."""
    for place in range(start, stop):
        match = pattern.match(text, place, end)
        if match is not None:
            return match
    return None


@functools.lru_cache(maxsize=128)
def search_for(rules: tuple[Rule, ...], ignore: Ignored | None = None) -> _Search:
    return _Search(rules, ignore)


class PatternGuard(Guard):
    r"""A guard made of rules. Subclasses say which, and what stands in place of a finding.

    Its check takes microseconds, so it runs inline. In a stream it holds back only what may still become a match, at
    most `window` characters.

    Args:
        rules: What to find.
        action: `"rewrite"` (put a replacement in its place), `"block"`, or `"flag"` (let it pass, but report it).
        ignore: Texts, and compiled patterns, that are no findings: a finding that equals one, or that one matches from
            its first to its last character, does not count.
        options: See `GuardOptions`.

    Example:
        >>> PatternGuard([Rule(kind="ticket", pattern=r"ticket-\d{4,8}")]).check("see ticket-12345").text
        'see [ticket]'
    """

    blocking = False
    inert_ascii: ClassVar[bool] = False
    """Whether no match of any rule holds a printable character of ASCII: most pieces of a stream then pass unread."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        action: PatternAction = "rewrite",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if action not in get_args(PatternAction):
            raise ConfigurationError(f'action={action!r} is not one of "rewrite", "block" and "flag"')
        self.action: PatternAction = action
        self._search = search_for(tuple(rules), ignored(ignore))
        if self._search.shapes is None:
            self.window = None
        else:
            # The one character more is the one that a lookahead may want to see.
            self.window = 0 if action == "flag" else self._search.most_held + 1

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What this guard looks for."""
        return self._search.rules

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        found = self._search.find(text, 0, len(text), 0, {})
        if not found:
            return Verdict.allow()
        cover = self.cover(context)
        cover.add(found)
        written = cover.decide(text, 0, len(text), 0)
        return replace(cover.verdict, text=written) if cover.verdict.action == "rewrite" else cover.verdict

    def cover(self, context: GuardContext | None) -> Cover:
        """Makes of findings what may be emitted, for one text."""
        rules, memory = self._search.rules, self.remember(context)
        return Cover(
            self.action,
            lambda found, text, extends: self.replace(rules[found.rank], text, memory, extends=extends),
            origin="" if context is None else context.origin,
            rule_of=lambda found: rules[found.rank].kind,
        )

    def prepare(self) -> None:
        """Compile what streams need; all guards with the same rules share it."""
        if self.window is not None:
            self._search.partial  # noqa: B018  (a cached property)

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream; `None` where its patterns need the whole text."""
        return None if self.window is None else PatternStream(self, self._search, context)

    def remember(self, context: GuardContext | None, /) -> Any:
        """What `replace` needs to know from one finding to the next, for one text."""
        return None

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """What stands in place of `text`; `None` leaves it as it is, and then it is no finding.

        `extends`: the finding overlaps the one before it, and `text` is only what that one had not covered.
        """
        return "" if extends else f"[{rule.kind}]"


class PatternStream:
    """A `PatternGuard` at work on one stream. Its verdict holds no text: that was emitted."""

    def __init__(self, guard: PatternGuard, search: _Search, context: GuardContext | None) -> None:
        self._search = search
        self._cover = guard.cover(context)
        self._passes = guard.action == "flag"
        self._inert = guard.inert_ascii
        self._buffer = ""  # text that is not decided yet, after a little that is, for patterns that look back
        self._undecided = 0  # where in the buffer the undecided text begins
        self._offset = 0  # of the buffer in the text
        self._look_from = 0  # how much undecided text there has to be before it is looked at again
        self._resume: dict[int, int] = {}
        self._over = False

    @property
    def verdict(self) -> Verdict:
        """The verdict so far; final after `finish` or once it blocks."""
        return self._cover.verdict

    @property
    def held(self) -> str:
        """What has been fed, and neither emitted nor covered by a finding; a guard that may fail open gives it back."""
        return "" if self._passes else self._buffer[max(self._undecided, self._cover.end - self._offset) :]

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        if self._over or not text:
            return ""
        buffer = self._buffer + text
        undecided = self._undecided
        size = len(buffer)
        if self._inert and undecided + len(text) == size and text.isprintable() and text.isascii():
            self._keep(buffer, size)
            return text
        if size - undecided < self._look_from:
            self._buffer = buffer
            return text if self._passes else ""
        search, cover = self._search, self._cover
        start = size - search.longest  # of what begins before that, the end has been seen
        match = search.partial.search(buffer, max(undecided, start))
        decided = size if match is None else match.start()
        held = size - decided
        self._look_from = min(held + held // 4, search.most_held) if held >= _LONG_HOLD else 0
        if decided == undecided:
            self._buffer = buffer
            return text if self._passes else ""
        # Most chunks end here or need no search: nothing as short as this can hold a match.
        if size - undecided >= search.shortest:
            cover.add(search.find(buffer, undecided, decided, self._offset, self._resume))
        if cover.waiting or cover.end > self._offset:
            emitted = cover.decide(buffer, undecided, decided, self._offset)
            self._over = cover.blocks
        else:
            emitted = buffer[undecided:decided]
        self._keep(buffer, decided)
        return text if self._passes else emitted

    def finish(self, text: str = "") -> str:
        """The text has ended, perhaps after a last piece: return the rest that may be emitted."""
        if self._over:
            return ""
        buffer, self._buffer = self._buffer + text, ""
        self._cover.add(self._search.find(buffer, self._undecided, len(buffer), self._offset, self._resume))
        emitted = self._cover.decide(buffer, self._undecided, len(buffer), self._offset)
        self._over = True
        return text if self._passes else emitted

    def _keep(self, buffer: str, decided: int) -> None:
        kept = max(0, decided - self._search.behind)
        self._buffer = buffer[kept:]
        self._undecided = decided - kept
        self._offset += kept
