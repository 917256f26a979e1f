"""What a guard decides: a `Verdict` with its `Finding`s."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["ALLOW", "SEVERITY", "Action", "Finding", "Stage", "Surface", "Verdict"]

Action: TypeAlias = Literal["allow", "rewrite", "block", "flag"]
SEVERITY: dict[Action, int] = {"allow": 0, "flag": 1, "rewrite": 2, "block": 3}
"""How much an action takes from a text."""
Stage: TypeAlias = Literal["input", "output"]
Surface: TypeAlias = Literal[
    "input", "documents", "tool_results", "output", "stream", "tool_calls", "choices", "reasoning", "batch"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a guard found.

    Attributes:
        kind: What it is: `"aws_access_key_id"`, `"email"`, `"prompt_injection"`.
        start: First code point of it in the *original* text.
        end: One past its last code point.
        score: How sure the guard is, `0 <= score <= 1`.
        rule: Which rule found it.
        origin: Where the text came from: `"user"`, `"variable:name"`, `"tool:name"`, `"document:id"`, `"output"`, or
            `"reasoning"` for what the model thought before it answered.
    """

    kind: str
    start: int
    end: int
    score: float = 1.0
    rule: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What may happen to a text.

    Attributes:
        action: `allow` it, `rewrite` it (to `text`), `block` it, or `flag` it (let it pass, but say so).
        text: The text after rewriting; `None` for every other action.
        findings: What was found, by position.
        reason: Why, in words for the application's log; never holds the text that was found.
        guard: Name of the guard; the pipeline fills it in.
        stage: Whether it read what goes into the engine or what comes out.
        skipped: Why the guard had nothing to read, when it did not run (the run was blocked before it).
        error: The guard broke; this is `type: message` of what it raised, and `action` is what `on_error` says.
    """

    action: Action = "allow"
    text: str | None = None
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    guard: str = ""
    stage: Stage | None = None
    skipped: str | None = None
    error: str | None = None

    @classmethod
    def allow(cls, *findings: Finding) -> Verdict:
        """Let the text pass as it is."""
        return cls(findings=findings) if findings else ALLOW

    @classmethod
    def block(cls, reason: str, findings: Iterable[Finding] = ()) -> Verdict:
        """Let nothing pass."""
        return cls(action="block", reason=reason, findings=tuple(findings))

    @classmethod
    def rewrite(cls, text: str, findings: Iterable[Finding] = (), *, reason: str = "") -> Verdict:
        """Let `text` pass instead."""
        return cls(action="rewrite", text=text, findings=tuple(findings), reason=reason)

    @classmethod
    def flag(cls, reason: str, findings: Iterable[Finding] = ()) -> Verdict:
        """Let the text pass, and record that something was found."""
        return cls(action="flag", reason=reason, findings=tuple(findings))

    @property
    def severity(self) -> int:
        """How much the action takes from a text: 0 `allow`, 1 `flag`, 2 `rewrite`, 3 `block`."""
        return SEVERITY[self.action]

    @property
    def score(self) -> float:
        """How sure it is that something was found, `0 <= score <= 1`.

        That of the surest finding; without findings 1, or 0 where it allows.
        """
        if self.findings:
            return max(finding.score for finding in self.findings)
        return 0.0 if self.action == "allow" else 1.0

    @property
    def blocked(self) -> bool:
        """Whether nothing may pass."""
        return self.action == "block"


ALLOW = Verdict()
"""The verdict of a guard that found nothing: one object, so that it costs nothing."""
