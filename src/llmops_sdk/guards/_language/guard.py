"""`Language`: in which languages a text may be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._language.profiles import LANGUAGES, UNKNOWN, identify
from llmops_sdk.guards._segments import Segment, SegmentGuard
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["Language"]

_LONGEST = 800
_SHORTEST = 300


class Language(SegmentGuard):
    """Lets texts pass that are written in allowed languages.

    A text is judged by passages of some 300 to 800 characters, each by its script, its function words and its endings;
    so a paragraph in another language is found, and streams flow. Code in fences and backticks, tags and URLs are
    left out. Short texts, names and tables are of no known language: `unknown` says what happens to them.

    Names and arguments of tool calls, and reasoning, may be in any language: they are not read (`waived`).

    Args:
        allow: Codes of the languages (ISO 639-1: `"en"`, `"fr"`).
        unknown: What a passage in no known language means: `"allow"` (the default), or `"block"`. To block it the
            whole text is judged at once, so a stream waits for its end.
        threshold: How sure it has to be that a passage is in another language, `0 < threshold <= 1`.
        action: `"block"` (the default) or `"flag"`.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: A language is not known, or none is allowed.

    Example:
        >>> Language(allow=["en"]).check("Das ist nicht die Sprache, die wir erwartet haben.").reason
        'in de, which is not allowed'
    """

    blocking = False
    waived: frozenset[Surface] = frozenset({"tool_calls", "reasoning"})

    def __init__(
        self,
        *,
        allow: Sequence[str],
        unknown: Literal["allow", "block"] = "allow",
        threshold: float = 0.5,
        action: Literal["block", "flag"] = "block",
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(longest=_LONGEST, shortest=_SHORTEST, **options)
        if isinstance(allow, str) or not allow:
            raise ConfigurationError(f'allow={allow!r}: write a list of languages, such as ["en", "fr"]')
        strange = sorted(set(allow) - LANGUAGES)
        if strange:
            raise ConfigurationError(f"unknown languages {strange}; there are {', '.join(sorted(LANGUAGES))}")
        if unknown not in ("allow", "block"):
            raise ConfigurationError(f'unknown={unknown!r} is neither "allow" nor "block"')
        if action not in ("block", "flag"):
            raise ConfigurationError(f'action={action!r} is neither "block" nor "flag"; nothing can be rewritten here')
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
        self.allow = frozenset(allow)
        self.unknown = unknown
        self.threshold: float = threshold
        self.action = action
        if unknown == "block":
            self.window = None

    def prepare(self) -> None:
        """Read the profiles."""
        identify("the profile of this sentence is read now")

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        if self.unknown == "block":
            return self.judge(Segment(text, "", 0), context)
        verdict = super().check(text, context)
        assert isinstance(verdict, Verdict)
        return verdict

    def judge(self, segment: Segment, context: GuardContext | None, /) -> Verdict:
        """Decide about one passage."""
        language, sure = self._judge(segment.text)
        if sure < self.threshold:
            return ALLOW
        finding = Finding(kind="language", start=0, end=len(segment.text), score=sure, rule=language)
        said = "in no known language" if language == UNKNOWN else f"in {language}, which is not allowed"
        return Verdict(action=self.action, findings=(finding,), reason=said)

    def rate(self, text: str, context: GuardContext | None = None, /) -> float:
        """How sure it is that the text, as a whole, is in another language."""
        return self._judge(text)[1]

    def _judge(self, text: str) -> tuple[str, float]:
        found = identify(text)
        if found.language == UNKNOWN:
            return UNKNOWN, 1.0 if self.unknown == "block" else 0.0
        return found.language, 0.0 if found.language in self.allow else found.confidence

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return None if self.window is None else super().open_stream(context)
