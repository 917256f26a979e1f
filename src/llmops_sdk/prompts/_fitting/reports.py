"""What fitting a prompt came to: the request, what was cut, and the tokens of each section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmops_sdk.calls import Cut
from llmops_sdk.errors import ContextLengthError
from llmops_sdk.messages import Request
from llmops_sdk.prompts._sections import Section, way_of

__all__ = ["FitReport", "does_not_fit", "labels_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What fitting a prompt came to.

    Attributes:
        request: The request, `tokens <= budget`.
        tokens: Its tokens, with what the chat template adds.
        budget: The most that were allowed.
        cuts: What was cut, in the order in which it was.
        sections: Tokens of each section, by name (or role), as it stands in the request; without what is between them.
        counter: What counted: a tokenizer, an engine, `"estimate"`.
        doubt: Why `tokens` may be others than the model will see; `None` where they are exact.
    """

    request: Request
    tokens: int
    budget: int
    cuts: tuple[Cut, ...]
    sections: Mapping[str, int]
    counter: str
    doubt: str | None

    @property
    def exact(self) -> bool:
        """Whether the model will see so many tokens."""
        return self.doubt is None

    def __str__(self) -> str:
        counted = f"by {self.counter}" if self.doubt is None else f"by {self.counter}; {self.doubt}"
        lines = [f"{self.tokens:,} of {self.budget:,} tokens ({counted})", *_table(self.sections.items())]
        lines += [f"cut: {cut.section} from {cut.before:,} to {cut.after:,} tokens, {cut.how}" for cut in self.cuts]
        return "\n".join(lines)


def labels_of(sections: Sequence[Section]) -> list[str]:
    """A name for each section, each used once: its own, or its role."""
    labels: list[str] = []
    for section in sections:
        label = section.name or (section.kind if section.kind == "examples" else section.role)
        same = sum(one == label or one.startswith(f"{label}-") for one in labels)
        labels.append(f"{label}-{same + 1}" if same else label)
    return labels


def does_not_fit(
    prompt: str, tokens: int, budget: int, sections: Sequence[tuple[str, Section, int]]
) -> ContextLengthError:
    """The error when all that may be cut is cut; `sections` has the tokens that each had before."""
    rows = [(f"{label} ({_said(section)})", size) for label, section, size in sections]
    table = "\n".join(_table(rows))
    return ContextLengthError(
        f"the prompt {prompt!r} has {tokens:,} tokens after all cuts that it allows, and {budget:,} are the most. Give "
        f"more sections a priority (`[user priority=1 shrink=end]`), shorter variables, or allow more tokens:\n{table}",
        tokens=tokens,
        window=budget,
    )


def _said(section: Section) -> str:
    return "never cut" if section.priority is None else f"priority {section.priority}, {way_of(section)}"


def _table(rows: Iterable[tuple[str, int]]) -> list[str]:
    rows = list(rows)
    width = max((len(label) for label, _ in rows), default=0)
    return [f"  {label:<{width}} {size:>9,}" for label, size in rows]
