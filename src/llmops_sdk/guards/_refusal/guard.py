"""`Refusal`: answers that refuse."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.guards._patterns.ignored import ignored
from llmops_sdk.guards._refusal.rules import REFUSAL_RULES, RefusalRule
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["Refusal"]

HEAD = 400
"""Characters from the beginning of an answer in which a refusal has to begin."""


# What a model cannot do by its make, and what a program cannot: no refusals.
_TECHNICAL = re.compile(
    r"\b(?:can(?:no|')t|cannot|unable to|not able to)\s(?:\w+ )?(?:provide|give|offer|share|answer)(?: you)?(?: with)?"
    r" (?:a |an |any |the )?(?:more |exact |precise |definitive |definite |accurate |real-?time |live |current "
    r"|up-to-date |further |specific |better |complete |full |single |certain )"
    r"|\bwithout (?:more|further|seeing|knowing|additional|access|the (?:file|code|log|full))\b",
)
_SENTENCE_END = re.compile(r"[.!?\n]")
_STRAIGHT = str.maketrans("\u2019\u2018\u00b4`\t\u00a0\u0142", "''''  l", "*_") | {ord("\u00df"): "ss"}


@functools.lru_cache(maxsize=1)
def _compiled() -> tuple[tuple[RefusalRule, re.Pattern[str]], ...]:
    return tuple((rule, re.compile(rule.pattern)) for rule in REFUSAL_RULES)


_HINT = re.compile(
    r"\b(?:"
    r"can't|cannot|can not|not|won't|unable|sorry|afraid|declin|refus|against|violat|apolog|comfortable|"
    r"rather|illegal|unethical|inappropriate|harmful|request|ne |contraire|dois|me vois|nicht|kein|"
    r"ablehnen|gegen|no |debo|tengo|niego|va en|non |devo|mi rifiuto|contro|nao |tenho|recuso|vai contra|"
    r"niet|geen|tegen|weigeren|moet|nie |inte"
    r")|\u043d\u0435 |[\u6211\u3067\u3044]"
)
"""Something of this is in every refusal that the rules know."""


def _plain(head: str) -> str:
    """`head` in small letters, without accents, with straight apostrophes."""
    if head.isascii():
        return head.lower().translate(_STRAIGHT)
    letters = unicodedata.normalize("NFKD", head.lower().translate(_STRAIGHT))
    plain = "".join(character for character in letters if not unicodedata.combining(character))
    # Kana are not taken apart.
    return plain if not re.search("[\u3040-\u30ff]", head) else head.lower()


class Refusal(Guard):
    """Finds answers that refuse: "I'm sorry, but I can't help with that".

    Rules in English, French, German, Spanish, Italian, Portuguese and Dutch, a few in Polish, Swedish, Russian,
    Chinese and Japanese; no model. Only the first 400 characters are read, as refusals come first. What cannot be done
    technically ("the function cannot return `None`", "I cannot see the image") is no refusal, and neither is a report
    of one ("he said he could not help").

    In a stream that is flagged everything flows on at once; one that is blocked waits for those 400 characters.

    Names and arguments of tool calls, and reasoning, are no answers: they are not read (`waived`).

    Args:
        threshold: Combined score from which on an answer counts, `0 < threshold <= 1`.
        action: `"flag"` (the default) or `"block"`.
        ignore: Texts, and compiled patterns, that excuse: a sentence that holds one is no refusal. Patterns read the
            sentence in small letters, without accents; texts may be written in any way.
        options: See `GuardOptions`.

    Example:
        >>> Refusal().check("I'm sorry, but I can't help with that.").action
        'flag'
        >>> Refusal().check("Sorry for the delay! You can't import it from there.").action
        'allow'
    """

    blocking = False
    waived: frozenset[Surface] = frozenset({"tool_calls", "reasoning"})

    def __init__(
        self,
        *,
        threshold: float = 0.6,
        action: Literal["flag", "block"] = "flag",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
        if action not in ("flag", "block"):
            raise ConfigurationError(f'action={action!r} is neither "flag" nor "block"; nothing can be rewritten here')
        self.threshold: float = threshold
        self.action: Literal["flag", "block"] = action
        self.window = 0 if action == "flag" else HEAD
        self._ignored = ignored(ignore)

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        score, languages, end = self._judge(text[:HEAD])
        if score < self.threshold or not languages:
            return ALLOW
        rule = ",".join(languages)
        finding = Finding(kind="refusal", start=0, end=end, score=score, rule=rule)
        return Verdict(action=self.action, findings=(finding,), reason=f"refusal, score {score:.2f} ({rule})")

    def rate(self, text: str, context: GuardContext | None = None, /) -> float:
        """The combined score of the rules that match."""
        return self._judge(text[:HEAD])[0]

    def _judge(self, head: str) -> tuple[float, list[str], int]:
        """The combined score, the languages of the rules that match, and where the finding ends."""
        plain = _plain(head)
        if _HINT.search(plain) is None:
            return 0.0, [], 0
        unlikely = 1.0
        languages: list[str] = []
        end = 0
        for rule, pattern in _compiled():
            match = pattern.search(plain)
            if match is None or self._spared(plain, match):
                continue
            unlikely *= 1 - rule.score
            end = max(end, match.end())
            if rule.language not in languages:
                languages.append(rule.language)
        # Taking accents off may have moved the end.
        return round(1 - unlikely, 6), languages, min(end, len(head))

    def _spared(self, plain: str, match: re.Match[str]) -> bool:
        if _TECHNICAL.search(plain, match.start(), min(len(plain), match.end() + 60)):
            return True
        if self._ignored is None:
            return False
        start = max(plain.rfind(mark, 0, match.start()) for mark in ".!?\n") + 1
        end = _SENTENCE_END.search(plain, match.end())
        sentence = plain[start : len(plain) if end is None else end.end()]
        return any(_plain(text) in sentence for text in self._ignored.texts) or any(
            pattern.search(sentence) for pattern in self._ignored.patterns
        )

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return _HeadStream(self, context.origin)


class _HeadStream:
    """A `Refusal` at work on one stream: it decides once the head of the text is there."""

    def __init__(self, guard: Refusal, origin: str) -> None:
        self._guard = guard
        self._origin = origin
        self._head = ""
        self._decided = False
        self.verdict = ALLOW

    @property
    def held(self) -> str:
        """What was fed, and not emitted."""
        return "" if self._decided or self._guard.action == "flag" else self._head

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        if self._decided:
            return "" if self.verdict.blocked else text
        self._head += text
        flows = self._guard.action == "flag"
        if len(self._head) < HEAD:
            return text if flows else ""
        return self._decide(text if flows else self._head)

    def finish(self) -> str:
        """The text has ended: return the rest that may be emitted."""
        return "" if self._decided else self._decide("" if self._guard.action == "flag" else self._head)

    def _decide(self, pending: str) -> str:
        verdict = self._guard.check(self._head)
        self.verdict = replace(
            verdict, findings=tuple(replace(found, origin=self._origin) for found in verdict.findings)
        )
        self._decided, self._head = True, ""
        return "" if self.verdict.blocked else pending
