"""The difference of two versions of a prompt, and whether the code around it can go on as before."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._comparing import showing
from llmops_sdk.prompts._comparing.changes import CODES, PromptChange, changed
from llmops_sdk.prompts._comparing.contracts import output_changes, parameter_changes, variable_changes
from llmops_sdk.prompts._comparing.uses import use_changes
from llmops_sdk.prompts._comparing.wording import other_changes, section_changes
from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._variables import Variable, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["PromptDiff", "Verdict", "diff"]

Verdict: TypeAlias = Literal["same", "compatible", "unclear", "breaking"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PromptDiff:
    """What changed between two versions. Print it; in a notebook it shows itself, and rich prints it in colours.

    Attributes:
        name: Name of the prompt.
        old: What the old version is called.
        new: What the new version is called.
        changes: What changed: what breaks first, then what could not be told, then the rest.
        waived: Codes of changes that are accepted.
    """

    name: str
    old: str
    new: str
    changes: tuple[PromptChange, ...]
    waived: frozenset[str] = frozenset()

    @property
    def verdict(self) -> Verdict:
        """The worst effect of a change that is not waived; `"same"` where nothing changed."""
        if not self.changes:
            return "same"
        effects = {change.effect for change in self.breaking}
        return "breaking" if "breaking" in effects else "unclear" if effects else "compatible"

    @property
    def breaking(self) -> tuple[PromptChange, ...]:
        """The changes that break the code around the prompt, or may; without those that are waived."""
        return tuple(one for one in self.changes if one.effect != "compatible" and one.code not in self.waived)

    @property
    def compatible(self) -> bool:
        """Whether the code around the prompt can go on as before. What could not be told counts as breaking."""
        return not self.breaking

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "verdict": self.verdict,
            "waived": sorted(self.waived),
            "changes": [change.to_json() for change in self.changes],
        }

    def to_markdown(self) -> str:
        """For a comment on a pull request."""
        return showing.markdown(self)

    def __str__(self) -> str:
        return "\n".join("".join(piece for piece, _ in line).rstrip() for line in showing.lines(self))

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text  # noqa: PLC0415  (rich calls this, so it is there; nobody else pays for it)

        for line in showing.lines(self):
            yield Text.assemble(*line)

    def _repr_html_(self) -> str:
        return showing.page(self)


def diff(old: Prompt, new: Prompt, /, *, waive: Collection[str] = ()) -> PromptDiff:
    """What changed from one prompt to another.

    Args:
        old: What is in use.
        new: What shall be.
        waive: Codes of changes that are accepted, although they break something or could not be told.

    Raises:
        ConfigurationError: There is no such code.

    Example:
        >>> old = Prompt.from_string("{{ question }}", variables={"question": "any"})
        >>> new = Prompt.from_string("{{ question }}", variables={"question": "str"})
        >>> difference = diff(old, new)
        >>> difference.verdict, difference.changes[0].code
        ('breaking', 'variable-narrowed')
    """
    codes = (waive,) if isinstance(waive, str) else tuple(waive)
    for code in codes:
        if code not in CODES:
            raise ConfigurationError(
                f"no change has the code {code!r}; there are {', '.join(CODES)}.{did_you_mean(str(code), CODES)}"
            )
    order = ("breaking", "unclear", "compatible")
    changes = sorted(_changes(old, new), key=lambda change: order.index(change.effect))
    return PromptDiff(
        name=new.name, old=_called(old), new=_called(new), changes=tuple(changes), waived=frozenset(codes)
    )


def _changes(old: Prompt, new: Prompt) -> Iterator[PromptChange]:
    before, after = old.content, new.content
    found = [
        *variable_changes(_as_used(before), _as_used(after)),
        *_declared_as_used(before, after),
        *output_changes(before.output, after.output),
        *parameter_changes(before.parameters, after.parameters),
        *section_changes(before.sections, after.sections),
        *use_changes(before, after),
        *other_changes(before, after),
    ]
    yield from found
    if not found and old.hash != new.hash:
        yield changed("content-changed", "content", "its hash is another", old.hash, new.hash)
    if old.description != new.description:
        words = "the description is another"
        yield changed("description-changed", "description", words, old.description, new.description)


def _as_used(content: PromptContent) -> dict[str, Variable]:
    """The variables: what a history shows are messages, even where nobody declared that."""
    histories = {section.name for section in content.sections if section.kind == "history"}
    return {
        name: replace(one, type="messages") if name in histories else one for name, one in content.variables.items()
    }


def _declared_as_used(old: PromptContent, new: PromptContent) -> Iterator[PromptChange]:
    """Histories that are declared as messages now, or are no more: they take the same."""
    before, after = _as_used(old), _as_used(new)
    for name, variable in new.variables.items():
        if name in before and before[name].type == after[name].type and old.variables[name].type != variable.type:
            words = f"{name!r} is declared as {variable.type}, and takes messages as before"
            yield changed("variable-widened", f"variables.{name}", words, old.variables[name].type, variable.type)


def _called(prompt: Prompt) -> str:
    """`prod (1a2b3c4)`, or what of it is known."""
    if prompt.commit is None:
        return prompt.version or f"hash {prompt.hash[:8]}"
    commit = prompt.commit[:7]
    return f"{prompt.version} ({commit})" if prompt.version and prompt.version != prompt.commit else commit
