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

class ShortVariables(_TypedDict):
    text: str

class ShortResult(_Result):
    @property
    def output(self) -> _Any | None: ...

class ShortPipeline(_Pipeline):
    @_overload
    def run(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[ShortVariables]) -> ShortResult: ...
    @_overload
    def run(self, variables: ShortVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> ShortResult: ...
    @_overload
    async def arun(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[ShortVariables]) -> ShortResult: ...
    @_overload
    async def arun(self, variables: ShortVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> ShortResult: ...
    @_overload
    def stream(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[ShortVariables]) -> _SyncStream: ...
    @_overload
    def stream(self, variables: ShortVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> _SyncStream: ...
    @_overload
    def astream(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[ShortVariables]) -> _PipelineStream: ...
    @_overload
    def astream(self, variables: ShortVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> _PipelineStream: ...
    def __or__(self, other: _Any, /) -> _Self: ...

class Short(_Prompt):
    def render(self, /, **variables: _Unpack[ShortVariables]) -> _Request: ...
    def render_from(self, variables: ShortVariables, /) -> _Request: ...
    def __or__(self, other: _Any, /) -> ShortPipeline: ...

class SupportAnswerCustomerAddress(_TypedDict):
    street: _NotRequired[str]

SupportAnswerCustomer = _TypedDict(
    'SupportAnswerCustomer',
    {
        'name': str,
        'zip-code': _NotRequired[str],
        'address': _NotRequired[SupportAnswerCustomerAddress],
    },
)

SupportAnswerVariables = _TypedDict(
    'SupportAnswerVariables',
    {
        'question': str,
        'count': _NotRequired[int | None],
        'tone': _Literal['low', 'high'],
        'since': _NotRequired[_datetime.date | str | None],
        'class': str,
        'customer': SupportAnswerCustomer,
    },
)

class SupportAnswerOutputSource(_TypedDict):
    id: int
    parent: _NotRequired[SupportAnswerOutputSource]

class SupportAnswerOutput(_TypedDict):
    answer: str
    sources: list[SupportAnswerOutputSource]

class SupportAnswerResult(_Result):
    @property
    def output(self) -> SupportAnswerOutput | None: ...

class SupportAnswerPipeline(_Pipeline):
    @_overload
    def run(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[SupportAnswerVariables]) -> SupportAnswerResult: ...
    @_overload
    def run(self, variables: SupportAnswerVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> SupportAnswerResult: ...
    @_overload
    async def arun(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[SupportAnswerVariables]) -> SupportAnswerResult: ...
    @_overload
    async def arun(self, variables: SupportAnswerVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> SupportAnswerResult: ...
    @_overload
    def stream(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[SupportAnswerVariables]) -> _SyncStream: ...
    @_overload
    def stream(self, variables: SupportAnswerVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> _SyncStream: ...
    @_overload
    def astream(self, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ..., **more: _Unpack[SupportAnswerVariables]) -> _PipelineStream: ...
    @_overload
    def astream(self, variables: SupportAnswerVariables, /, *, deadline_s: float | None = ..., budget_usd: _Decimal | float | str | None = ..., tags: _Mapping[str, _Any] | None = ..., hooks: _Sequence[_Hook] = ...) -> _PipelineStream: ...
    def __or__(self, other: _Any, /) -> _Self: ...

class SupportAnswer(_Prompt):
    def render(self, /, **variables: _Unpack[SupportAnswerVariables]) -> _Request: ...
    def render_from(self, variables: SupportAnswerVariables, /) -> _Request: ...
    def __or__(self, other: _Any, /) -> SupportAnswerPipeline: ...

@_overload
def load(spec: _Literal['short', 'short@prod'], /, *, repository: _PromptRepository | None = ...) -> Short: ...
@_overload
def load(spec: _Literal['support/answer', 'support/answer@prod'], /, *, repository: _PromptRepository | None = ...) -> SupportAnswer: ...
