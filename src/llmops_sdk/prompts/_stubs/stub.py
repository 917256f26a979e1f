"""The stub of an application's prompts: a class for each, with its variables and its output, and `load`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._stubs.names import Names, class_name
from llmops_sdk.prompts._stubs.schema_types import Field, TypesOfSchemas
from llmops_sdk.prompts._variables import Variable

__all__ = ["type_stub"]

_HEAD = """\
# Written by `llmops types`. Do not edit it: run the command again.
# ruff: noqa
# fmt: off
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
# pyright: reportUnusedImport=false

import datetime as _datetime
from collections.abc import Mapping as _Mapping, Sequence as _Sequence
from decimal import Decimal as _Decimal
from pathlib import PurePath as _PurePath
from typing import (
    Any as _Any,
    Literal as _Literal,
    NotRequired as _NotRequired,
    Self as _Self,
    TypedDict as _TypedDict,
    Unpack as _Unpack,
    overload as _overload,
)

from llmops_sdk import (
    Document as _Document,
    Message as _Message,
    Pipeline as _Pipeline,
    Prompt as _Prompt,
    Request as _Request,
    Result as _Result,
)
from llmops_sdk.messages import ImagePart as _ImagePart
from llmops_sdk.pipelines import PipelineStream as _PipelineStream, SyncStream as _SyncStream
from llmops_sdk.prompts import PromptRepository as _PromptRepository
from llmops_sdk.protocols import Hook as _Hook
"""

_OF_KIND = {
    "any": "object",
    "str": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "list": "list[_Any] | tuple[_Any, ...]",
    "mapping": "_Mapping[_Any, _Any]",
    "date": "_datetime.date | str",
    "datetime": "_datetime.datetime | str",
    "document": "_Document",
    "documents": "_Document | list[_Document] | tuple[_Document, ...]",
    "messages": "_Sequence[_Message | _Mapping[str, _Any]]",  # a list of `dict` is none of `Mapping`
    "image": "_ImagePart | str | bytes | _PurePath",
}

_OPTIONS = {
    "deadline_s": "float | None",
    "budget_usd": "_Decimal | float | str | None",
    "tags": "_Mapping[str, _Any] | None",
    "hooks": "_Sequence[_Hook]",
}
"""What a pipeline's `run` takes beside variables; with a variable of such a name they go in as a mapping."""


def type_stub(prompts: Iterable[Prompt], /, *, versions: Sequence[str] = ()) -> str:
    """The text of a stub file (`.pyi`) with `load` for these prompts, and a class for each.

    Args:
        prompts: The prompts, as the working tree has them.
        versions: Labels, tags or branches that `load` takes behind the name of each, `"support/answer@prod"`.

    Example:
        >>> text = type_stub([Prompt.from_string("Hi {{ name }}", name="hello", variables={"name": "str"})])
        >>> "class Hello(_Prompt):" in text, "    name: str" in text
        (True, True)
    """
    ordered = sorted(prompts, key=lambda one: one.name)
    names = Names(["load"])
    classes = [names.new(class_name(one.name)) for one in ordered]
    texts = [_HEAD]
    for prompt, own in zip(ordered, classes, strict=True):
        types = TypesOfSchemas(names)
        body = list(_class_of(prompt, own, types, names))
        texts += [*types.classes, *body]
    texts.append("".join(_loads(ordered, classes, versions)))
    return "\n".join(texts)


def _class_of(prompt: Prompt, own: str, types: TypesOfSchemas, names: Names) -> Iterator[str]:
    fields = [_field(one, own, types) for one in prompt.content.variables.values()]
    variables = types.typed_dict(f"{own}Variables", fields)
    output = "_Any" if prompt.content.output is None else types.of(prompt.content.output, f"{own}Output", given=False)
    result, pipeline = names.new(f"{own}Result"), names.new(f"{own}Pipeline")
    # What is blocked, or is no JSON, has no output.
    yield f"class {result}(_Result):\n    @property\n    def output(self) -> {output} | None: ...\n"
    takes_keywords = not any(one.name in _OPTIONS for one in fields)
    runs = "".join(_runs(variables, result, takes_keywords=takes_keywords))
    yield f"class {pipeline}(_Pipeline):\n{runs}    def __or__(self, other: _Any, /) -> _Self: ...\n"
    yield (
        f"class {own}(_Prompt):\n"
        f"    def render(self, /, **variables: _Unpack[{variables}]) -> _Request: ...\n"
        f"    def render_from(self, variables: {variables}, /) -> _Request: ...\n"
        f"    def __or__(self, other: _Any, /) -> {pipeline}: ...\n"
    )


def _field(variable: Variable, own: str, types: TypesOfSchemas) -> Field:
    kind = _OF_KIND[variable.type]
    if variable.schema is not None:
        kind = types.of(variable.schema, f"{own}{class_name(variable.name)}", given=True)
    return Field(variable.name, f"{kind} | None" if variable.optional else kind, not variable.optional)


def _runs(variables: str, result: str, *, takes_keywords: bool) -> Iterator[str]:
    """The faces of a pipeline that take variables, as a mapping or as keywords."""
    faces = {
        "def run": result,
        "async def arun": result,
        "def stream": "_SyncStream",
        "def astream": "_PipelineStream",
    }
    options = ", ".join(f"{name}: {kind} = ..." for name, kind in _OPTIONS.items())
    for face, gives in faces.items():
        if takes_keywords:
            yield "    @_overload\n"
            yield f"    {face}(self, /, *, {options}, **more: _Unpack[{variables}]) -> {gives}: ...\n"
            yield "    @_overload\n"
        yield f"    {face}(self, variables: {variables}, /, *, {options}) -> {gives}: ...\n"


def _loads(prompts: Sequence[Prompt], classes: Sequence[str], versions: Sequence[str]) -> Iterator[str]:
    for prompt, own in zip(prompts, classes, strict=True):
        specs = ", ".join(ascii(f"{prompt.name}{version}") for version in ("", *(f"@{one}" for one in versions)))
        # One alone is no overload; without a line for other texts, a name that is mistyped is an error.
        yield "@_overload\n" if len(prompts) > 1 else ""
        yield f"def load(spec: _Literal[{specs}], /, *, repository: _PromptRepository | None = ...) -> {own}: ...\n"
