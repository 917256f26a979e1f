"""What changed between two versions, and what each kind of change means for those who use the prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from llmops_sdk.prompts._comparing.texts import Piece, pieces, unified
from llmops_sdk.prompts._content import canonical

__all__ = ["CODES", "Effect", "PromptChange", "changed", "differ", "shown"]

Effect: TypeAlias = Literal["compatible", "unclear", "breaking"]
"""For the code that fills the prompt, and the code that reads the answer. `"unclear"`: it could not be told."""

_SHORT = 60
"""Characters of a value that is written on one line."""

CODES: dict[str, tuple[Effect, str]] = {
    "variable-removed": ("breaking", "a caller that still gives it is refused"),
    "variable-added": ("compatible", "it may be left out"),
    "variable-added-required": ("breaking", "a caller that does not know it is refused"),
    "variable-required": ("breaking", "a caller that leaves it out is refused"),
    "variable-optional": ("compatible", "it may be left out now"),
    "variable-default": ("compatible", "who leaves it out gets another text"),
    "variable-narrowed": ("breaking", "values that were taken are refused"),
    "variable-unclear": ("unclear", "whether values that were taken are refused could not be told"),
    "variable-widened": ("compatible", "it takes more values"),
    "variable-trusted": ("breaking", "guards look less hard at it: what callers give may be a stranger's text"),
    "variable-untrusted": ("compatible", "guards look harder at it"),
    "variable-unfenced": ("breaking", "a stranger's text stands in the prompt without its fence"),
    "variable-fence": ("compatible", "it stands in a fence, or in another one"),
    "variable-description": ("compatible", "words for people"),
    "variable-changed": ("unclear", "something else of its declaration changed"),
    "output-added": ("breaking", "the answer was free text and is JSON"),
    "output-removed": ("breaking", "the answer was JSON of a schema and is free"),
    "output-property-removed": ("breaking", "a reader may look for it"),
    "output-property-added": ("compatible", "the old schema takes properties that it does not know"),
    "output-property-refused": ("breaking", "the old schema is closed (`additionalProperties: false`)"),
    "output-widened": ("breaking", "answers are possible that the old schema refuses"),
    "output-unclear": ("unclear", "whether the old schema takes all new answers could not be told"),
    "output-narrowed": ("compatible", "the old schema takes all new answers"),
    "section-added": ("compatible", "text"),
    "section-removed": ("compatible", "text; a variable that goes with it is its own change"),
    "section-text": ("compatible", "text"),
    "section-moved": ("compatible", "the same text at another place"),
    "section-heading": ("compatible", "its name, its priority or another option"),
    "section-role": ("compatible", "somebody else says it"),
    "section-system": ("breaking", "what was said by others is the system's now: a stranger's text in it is obeyed"),
    "template-unclear": ("unclear", "code in a text takes variables apart otherwise; it may fail for old values"),
    "parameter-changed": ("compatible", "the model answers otherwise"),
    "parameter-unclear": ("unclear", "what an engine makes of `extra` is not known: it may form the answer"),
    "parameter-answer": ("breaking", "what an answer consists of: how many texts, tool calls, probabilities"),
    "tool-added": ("breaking", "the application has to be able to run it"),
    "tool-removed": ("compatible", "the model asks for it no more"),
    "tool-arguments": ("breaking", "it is called with arguments that the application does not know"),
    "tool-unclear": ("unclear", "whether the application knows all new arguments could not be told"),
    "tool-changed": ("compatible", "its words, or fewer arguments"),
    "tool-order": ("compatible", "the same tools in another order"),
    "partial-changed": ("compatible", "text that the prompt includes"),
    "examples-changed": ("compatible", "what the model is shown"),
    "description-changed": ("compatible", "words for people"),
    "content-changed": ("unclear", "something else that the prompt renders from changed"),
}
"""Code of a change -> its effect, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptChange:
    """One change between two versions of a prompt.

    Attributes:
        code: Its kind, a key of `CODES`.
        where: What changed: `"variables.question"`, `"output.items[].price"`, `"sections.system"`.
        message: The change in words.
        old: What was there, as text; `None` where nothing was.
        new: What is there, as text; `None` where nothing is.
    """

    code: str
    where: str
    message: str
    old: str | None = None
    new: str | None = None

    @property
    def effect(self) -> Effect:
        """Whether those who use the prompt can go on as before."""
        return CODES[self.code][0]

    @property
    def reason(self) -> str:
        """Why it has this effect."""
        return CODES[self.code][1]

    def unified(self, *, context: int = 3) -> str:
        """The difference by lines, as `diff -u` writes it, with `context` lines around each change."""
        return unified(self.old or "", self.new or "", f"old {self.where}", f"new {self.where}", context=context)

    def words(self) -> tuple[Piece, ...]:
        """The difference by words: (`"same"`, `"removed"` or `"added"`, the text) in order."""
        return tuple(pieces(self.old or "", self.new or ""))

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "code": self.code,
            "effect": self.effect,
            "where": self.where,
            "message": self.message,
            "reason": self.reason,
            "old": self.old,
            "new": self.new,
        }


def changed(code: str, where: str, message: str, old: str | None = None, new: str | None = None) -> PromptChange:
    """A change, from what stands in most of them."""
    return PromptChange(code=code, where=where, message=message, old=old, new=new)


def differ(one: object, other: object) -> bool:
    """Whether two values are different for a prompt's hash: `1` is neither `1.0` nor `true`, keys have no order."""
    return canonical(one) != canonical(other)


def shown(value: object) -> str | None:
    """A value as text that can be compared by lines; `None` where there is none."""
    if value is None or isinstance(value, str):
        return value
    short = json.dumps(value, ensure_ascii=False, default=repr)
    return short if len(short) <= _SHORT else json.dumps(value, indent=2, ensure_ascii=False, default=repr)
