"""What changed for the code around a prompt: for who gives its variables, reads its answer, and runs its tools.

A variable is narrowed where values that the old version takes are refused by the new one; an answer is widened where
the new version allows what the old schema refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from llmops_sdk.prompts._comparing._schemas import CannotTellError, Gap, gaps, properties_of
from llmops_sdk.prompts._comparing.accepting import type_gaps
from llmops_sdk.prompts._comparing.changes import PromptChange, changed, differ, shown
from llmops_sdk.prompts._variables import Variable, said_of

__all__ = ["output_changes", "parameter_changes", "variable_changes"]

_OF_THE_ANSWER = ("logprobs", "n", "tool_choice")


def variable_changes(old: Mapping[str, Variable], new: Mapping[str, Variable]) -> Iterator[PromptChange]:
    """What changed in the variables."""
    for name, variable in old.items():
        if name not in new:
            where = f"variables.{name}"
            yield changed("variable-removed", where, f"{name!r} is gone", _declaration(variable))
        else:
            yield from _variable_changes(variable, new[name])
    for name, variable in new.items():
        if name not in old:
            code = "variable-added" if variable.optional else "variable-added-required"
            kind = "optional" if variable.optional else "required"
            yield changed(code, f"variables.{name}", f"{name!r} is new and {kind}", None, _declaration(variable))


def _declaration(variable: Variable) -> str | None:
    return shown({"type": variable.type, **said_of(variable)})


def _variable_changes(old: Variable, new: Variable) -> Iterator[PromptChange]:
    name, where = old.name, f"variables.{old.name}"
    before, after = ({one.name: getattr(each, one.name) for one in fields(each) if one.compare} for each in (old, new))
    for key in before:
        if key in ("type", "schema") or not differ(before[key], after[key]):
            continue
        was, now = shown(before[key]), shown(after[key])
        if key == "optional":
            code, words = ("variable-optional", "optional") if new.optional else ("variable-required", "required")
            yield changed(code, where, f"{name!r} is {words} now", was, now)
        elif key == "trusted":
            code, words = ("variable-trusted", "trusted") if new.trusted else ("variable-untrusted", "not trusted")
            yield changed(code, where, f"{name!r} is {words} now", was, now)
        elif key == "fence":
            code = "variable-unfenced" if new.fence is None else "variable-fence"
            yield changed(code, where, f"the fence of {name!r} is {now or 'gone'}", was, now)
        elif key in ("default", "description"):
            yield changed(f"variable-{key}", where, f"the {key} of {name!r} is another", was, now)
        else:
            yield changed("variable-changed", where, f"`{key}` of {name!r} is another", was, now)
    if differ(*((one["type"], one["schema"]) for one in (before, after))) or old.annotation != new.annotation:
        yield from _type_changes(old, new)


def _type_changes(old: Variable, new: Variable) -> Iterator[PromptChange]:
    where, name = f"variables.{old.name}", old.name
    before, after = (one.type if one.schema is None else shown(one.schema) for one in (old, new))
    found = list(type_gaps(old, new))
    for gap in found:
        code = "variable-narrowed" if gap.certain else "variable-unclear"
        part = f"{name}.{gap.path}" if gap.path else name
        message = f"what is given for {part!r} {gap.problem}, by the old declaration"
        yield changed(code, where, message, before, after)
    if not found:
        yield changed("variable-widened", where, f"{name!r} takes all that it took", before, after)


def output_changes(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[PromptChange]:
    """What changed in the schema of the answer."""
    if old is None or new is None:
        if old is not new:
            code, words = ("output-added", "JSON now") if old is None else ("output-removed", "free text now")
            yield changed(code, "output", f"the answer is {words}", shown(old), shown(new))
        return
    if not differ(old, new):
        return
    between = gaps(new, old)
    try:
        found = list(_property_changes(old, new, between))
    except CannotTellError as exc:
        found = [changed("output-unclear", "output", f"the answer cannot be compared: {exc}", shown(old), shown(new))]
    explained = {change.where for change in found} - {"output"}
    for gap in between:
        where = f"output.{gap.path}" if gap.path else "output"
        if where not in explained:
            code = "output-widened" if gap.certain else "output-unclear"
            part = f"{gap.path!r} of the answer" if gap.path else "the answer"
            found.append(changed(code, where, f"{part} {gap.problem}", shown(old), shown(new)))
    yield from found
    if not found:
        yield changed("output-narrowed", "output", "all new answers are as before", shown(old), shown(new))


def _property_changes(old: Mapping[str, Any], new: Mapping[str, Any], between: Sequence[Gap]) -> Iterator[PromptChange]:
    before, after = properties_of(old), properties_of(new)
    for path in _outermost(before, after):
        yield changed("output-property-removed", f"output.{path}", f"{path!r} is gone", shown(before[path].schema))
    refused = {gap.path for gap in between}
    for path in _outermost(after, before):
        schema = after[path].schema
        holder = path.rpartition(".")[0]
        closed = before[holder].closed if holder in before else old.get("additionalProperties") is False
        code = "output-property-refused" if closed and path in refused else "output-property-added"
        if closed or path not in refused:
            yield changed(code, f"output.{path}", f"{path!r} is new", None, shown(schema))


def _outermost(paths: Mapping[str, object], others: Mapping[str, object]) -> list[str]:
    """The paths that the others do not have, without those inside of one of them."""
    found: list[str] = []
    for path in paths:
        if path not in others and not any(path.startswith((f"{one}.", f"{one}[")) for one in found):
            found.append(path)
    return found


def parameter_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[PromptChange]:
    """What changed in the parameters; a `response_schema` among them is the schema of the answer."""
    yield from output_changes(old.get("response_schema"), new.get("response_schema"))
    yield from _tool_changes(_by_name(old.get("tools", ())), _by_name(new.get("tools", ())))
    for name in dict.fromkeys((*old, *new)):
        if name in ("response_schema", "tools") or not differ(old.get(name), new.get(name)):
            continue
        before, after = shown(old.get(name)), shown(new.get(name))
        code = "parameter-answer" if name in _OF_THE_ANSWER else "parameter-changed"
        code = "parameter-unclear" if name == "extra" else code
        message = f"`{name}` was {_or_not_set(before)} and is {_or_not_set(after)}"
        yield changed(code, f"parameters.{name}", message, before, after)


def _or_not_set(text: str | None) -> str:
    return "not set" if text is None else " ".join(text.split())


def _by_name(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The tools by their names; one that a provider runs by itself is called by its type."""
    named: dict[str, Mapping[str, Any]] = {}
    for tool in tools:
        inner = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
        name = called = str(inner.get("name") or tool.get("type") or "tool")
        number = 1
        while called in named:
            number += 1
            called = f"{name}#{number}"
        named[called] = inner
    return named


def _tool_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[PromptChange]:
    if list(old) != list(new) and old.keys() == new.keys():
        yield changed("tool-order", "tools", "the tools stand in another order", ", ".join(old), ", ".join(new))
    for name in dict.fromkeys((*old, *new)):
        where, before, after = f"tools.{name}", shown(old.get(name)), shown(new.get(name))
        if name not in old:
            yield changed("tool-added", where, f"the tool {name!r} is new", None, after)
        elif name not in new:
            yield changed("tool-removed", where, f"the tool {name!r} is gone", before)
        elif differ(old[name], new[name]):
            found = gaps(*(one[name].get("parameters", True) for one in (new, old)))
            for gap in found:
                code = "tool-arguments" if gap.certain else "tool-unclear"
                part = f"{gap.path!r} of {name!r}" if gap.path else f"what {name!r} is given"
                yield changed(code, where, f"{part} {gap.problem}", before, after)
            if not found:
                yield changed("tool-changed", where, f"the tool {name!r} is described otherwise", before, after)
