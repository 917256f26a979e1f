"""Guards that look for phrases, in whole texts and in streams alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, Unpack, get_args

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.guards._patterns.ignored import ignored
from llmops_sdk.guards._phrases.matcher import Found, Phrases
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["PhraseAction", "PhraseGuard"]

PhraseAction: TypeAlias = Literal["rewrite", "block", "flag"]


class PhraseGuard(Guard):
    """A guard made of phrases. Subclasses say which, and what stands in place of one.

    In a stream it holds back the word that is being written, and what may still become a phrase: at most `window`
    characters. One that blocks decides at the first phrase.

    Args:
        phrases: (phrase, what it stands for).
        kind: The kind of its findings; their `rule` is what the phrase stands for.
        inflected: Whether words match in other forms, too.
        action: `"rewrite"`, `"block"` or `"flag"`.
        ignore: Phrases that are no findings, neither are those that begin in them; and compiled patterns that match
            all of a finding.
        options: See `GuardOptions`.
    """

    blocking = False

    def __init__(
        self,
        phrases: Iterable[tuple[str, str]],
        *,
        kind: str,
        inflected: bool,
        action: PhraseAction,
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if action not in get_args(PhraseAction):
            raise ConfigurationError(f"action={action!r} is not one of {', '.join(map(repr, get_args(PhraseAction)))}")
        ignoring = ignored(ignore)
        spared = () if ignoring is None else sorted(ignoring.texts)
        # What is ignored comes first: of two phrases with the same words the first one counts.
        self._phrases = Phrases([*((text, None) for text in spared), *phrases], inflected=inflected)
        self._spared = () if ignoring is None else ignoring.patterns
        self._kind = kind
        self.action: PhraseAction = action
        self.window = 0 if action == "flag" else self._phrases.window

    def replacement(self, written: str, rule: str, /) -> str:
        """What stands in place of the phrase `written`."""
        return f"[{self._kind}]"

    def counts(self, written: str, rule: str, /) -> bool:
        """Whether a phrase that was found is a finding."""
        return True

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        found = self._phrases.find(text)
        if not found:
            return ALLOW
        stream = _PhraseStream(self, context)
        written = stream.settle(text, found, len(text))
        verdict = stream.verdict
        return replace(verdict, text=written) if verdict.action == "rewrite" else verdict

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return None if self.window is None else _PhraseStream(self, context)

    def _is_finding(self, written: str, found: Found) -> bool:
        if found.value is None or any(pattern.fullmatch(written) for pattern in self._spared):
            return False
        return self.counts(written, found.value)


class _PhraseStream:
    """A `PhraseGuard` at work on one stream. Its verdict holds no text: that was emitted."""

    def __init__(self, guard: PhraseGuard, context: GuardContext | None) -> None:
        self._guard = guard
        self._origin = "" if context is None else context.origin
        self._buffer = ""
        self._offset = 0
        self._findings: list[Finding] = []
        self._verdict = ALLOW
        self._over = False

    @property
    def verdict(self) -> Verdict:
        """The verdict so far."""
        if len(self._verdict.findings) != len(self._findings):
            reason = f"found {', '.join(sorted({finding.rule for finding in self._findings}))}"
            self._verdict = Verdict(action=self._guard.action, findings=tuple(self._findings), reason=reason)
        return self._verdict

    @property
    def held(self) -> str:
        """What was fed, and not emitted."""
        return "" if self._guard.action == "flag" else self._buffer

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        if self._over:
            return ""
        return self._read(self._buffer + text, text, final=False)

    def finish(self) -> str:
        """The text has ended: return the rest that may be emitted."""
        if self._over:
            return ""
        emitted = self._read(self._buffer, "", final=True)
        self._over = True
        return emitted

    def _read(self, buffer: str, fresh: str, *, final: bool) -> str:
        found, decided = self._guard._phrases.scan(buffer, final=final)
        emitted = self.settle(buffer, found, decided) if found else buffer[:decided]
        self._buffer = buffer[decided:]
        self._offset += decided
        return fresh if self._guard.action == "flag" else emitted

    def settle(self, text: str, found: Sequence[Found], decided: int) -> str:
        """Decide about the phrases in `text`: what may be emitted of it up to `decided`."""
        guard, offset = self._guard, self._offset
        pieces: list[str] = []
        position = 0
        for one in found:
            written = text[one.start : one.end]
            if not guard._is_finding(written, one):
                continue
            start, end = one.start + offset, one.end + offset
            self._findings.append(
                Finding(kind=guard._kind, start=start, end=end, rule=str(one.value), origin=self._origin)
            )
            if guard.action == "flag":
                continue
            pieces.append(text[position : one.start])
            if guard.action == "block":
                self._over = True
                return "".join(pieces)
            pieces.append(guard.replacement(written, one.value))
            position = one.end
        pieces.append(text[position:decided])
        return "".join(pieces)
