"""Every scanner of LLM-Guard behind our `Guard`, under its own name and with its own arguments.

`llm_guard.BanSubstrings(["a"])`, `llm_guard.output.NoRefusalLight()`, or by name: `llm_guard.Scanner("Secrets")`. A
scanner that LLM-Guard has for both sides is the one of the input, which reads a text alone and so can stand on either
side of the engine; `llm_guard.output` has those that compare an answer with its question.

The extra `llm-guard` installs gorget, which continues LLM-Guard. It is imported when a guard is prepared, not before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards import _llm_guard_scanning as scanning
from llmops_sdk.guards._guard import ALL_SURFACES, GuardOptions
from llmops_sdk.guards._isolation.guard import verdict_of
from llmops_sdk.guards._segments import Segment, SegmentGuard
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import Surface, Verdict

__all__ = ["Model", "Scanner", "Side", "input", "output"]

Side: TypeAlias = Literal["input", "output"]

_SIDES = {"input": scanning.INPUT, "output": scanning.OUTPUT}
_VAULT = "guards.llm_guard: the vault of this run"
_OUTPUT_ONLY: frozenset[Surface] = ALL_SURFACES - {"input", "documents", "tool_results"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Weights in a local folder (safetensors or ONNX), or on the hub; LLM-Guard's own record, without importing it.

    Attributes:
        path: The folder or the name on the hub.
        onnx_path: The same for the ONNX file, where `use_onnx=True` is given to the scanner.
        onnx_filename: That file.
        revision: Which revision, for the hub.
        kwargs: For the model.
        pipeline_kwargs: For the pipeline. What is not given is as in the scanner's own model.
        tokenizer_kwargs: For the tokenizer.
    """

    path: str
    onnx_path: str | None = None
    onnx_filename: str = "model.onnx"
    revision: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    pipeline_kwargs: dict[str, Any] = field(default_factory=dict)
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)


class Scanner(SegmentGuard):
    """One scanner of LLM-Guard.

    A text that the scanner finds invalid is blocked, unless the scanner can clean it: then what is left passes. Of a
    text that was cleaned nothing passes before the scanner finds the rest valid.

    Args:
        scanner: Its name.
        positional: Its arguments by position.
        side: `"input"` or `"output"`; the input unless there is only an output scanner of that name.
        action: What an invalid text means: `"rewrite"` (where the scanner cleans it; else `"block"`), `"block"`, or
            `"flag"`.
        by: `"text"`: it reads whole texts, and a stream passes when it has ended. `"sentence"`: it reads sentence by
            sentence, and streams flow; a finding that needs more than a sentence is missed then.
        longest_text: Most characters of a text; a longer one is an error of the guard, so that time and memory are
            bounded.
        allow_requests: For `URLReachability`: it may send requests to URLs that a model wrote.
        arguments: Its arguments by name, and the options of every guard (`GuardOptions`).

    Raises:
        ConfigurationError: There is no such scanner, or it cannot be made: of that, most is known when the guard is
            prepared, as that is when LLM-Guard and the models are loaded.
    """

    def __init__(
        self,
        scanner: str,
        /,
        *positional: Any,
        side: Side | None = None,
        action: Literal["rewrite", "block", "flag"] = "rewrite",
        by: Literal["text", "sentence"] = "text",
        longest_text: int = 1_000_000,
        allow_requests: bool = False,
        **arguments: Any,
    ) -> None:
        self.side: Side = side or _side(scanner)
        if self.side not in _SIDES or by not in ("text", "sentence"):
            raise ConfigurationError(f"side={side!r} is 'input' or 'output', and by={by!r} is 'text' or 'sentence'")
        options = GuardOptions(name=scanning.snake(scanner))
        for key in GuardOptions.__annotations__.keys() & arguments.keys():
            options[key] = arguments.pop(key)  # type: ignore[literal-required]
        super().__init__(**options)
        self.scanner = scanner
        self._ours: dict[str, Any] = {"action": action, "allow_requests": allow_requests, "longest_text": longest_text}
        self._given = (positional, arguments)
        self._by = by
        self._loaded: scanning.Scanning | None = None
        try:
            scanning.check_options(scanner, arguments, **self._ours)
        except scanning.ScannerError as exc:
            raise ConfigurationError(str(exc)) from exc
        if by == "text":
            self.window = None
        if self.side == "output":
            # It compares with a question, or judges an answer; before the engine a pipeline refuses it.
            self.covers = _OUTPUT_ONLY  # type: ignore[misc]

    def prepare(self) -> None:
        """Import LLM-Guard and load the scanner's model.

        Raises:
            ConfigurationError: The scanner cannot be made; the message names the folder of its model.
            MissingDependencyError: LLM-Guard is not installed.
        """
        self._scanning()

    def _scanning(self) -> Any:
        if self._loaded is None:
            positional, arguments = self._given
            try:
                self._loaded = scanning.load(f"{self.side}.{self.scanner}", positional, arguments, **self._ours)
            except scanning.LibraryMissingError as exc:
                raise MissingDependencyError("guards.llm_guard", package="gorget", extra="llm-guard") from exc
            except scanning.ScannerError as exc:
                raise ConfigurationError(str(exc)) from exc
        return self._loaded

    def _vault(self, context: GuardContext | None) -> Any:
        """The placeholders of this run: `Anonymize` writes there, `Deanonymize` reads there."""
        if context is None or self.scanner not in ("Anonymize", "Deanonymize"):
            return None
        fresh = type(self._scanning()._scanner._vault)()
        return context.call.state.setdefault(_VAULT, fresh)

    def _verdict(self, text: str, context: GuardContext | None) -> Verdict:
        prompt = scanning.asked(context.request) if context is not None and self.side == "output" else ""
        said = self._scanning().verdict(text, prompt, self._vault(context))
        return verdict_of(said, text, self.name)

    def check(self, text: str, context: GuardContext | None = None, /) -> Any:
        """The verdict on `text`; loads what has to be loaded, if `prepare` has not."""
        return self._verdict(text, context) if self._by == "text" else super().check(text, context)

    def judge(self, segment: Segment, context: GuardContext | None, /) -> Verdict:
        """The verdict on a sentence."""
        return self._verdict(segment.text, context)

    def rate(self, text: str, context: GuardContext | None = None, /) -> float:
        """The scanner's own risk, `0 <= risk <= 1`; over 0.5 it finds the text invalid.

        LLM-Guard rounds it to tenths of -1 to 1, so there are 21 values.
        """
        prompt = scanning.asked(context.request) if context is not None and self.side == "output" else ""
        risk: float = self._scanning().rate(text, prompt, self._vault(context))
        return risk

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream; `None` unless `by="sentence"`."""
        return None if self._by == "text" else super().open_stream(context)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}  # what is loaded is loaded again where the pickle goes


def _side(scanner: str) -> Side:
    return "output" if scanner in scanning.OUTPUT and scanner not in scanning.INPUT else "input"


class _Scanners:
    """The scanners of one side, by name."""

    def __init__(self, side: Side) -> None:
        self._side: Side = side

    def __getattr__(self, name: str) -> Callable[..., Scanner]:
        if name.startswith("_") or name not in _SIDES[self._side]:
            raise AttributeError(
                f"LLM-Guard has no {self._side} scanner {name!r} that is known here; there are "
                f"{', '.join(_SIDES[self._side])}; `Scanner(name, side={self._side!r})` takes any"
            )
        return functools.partial(Scanner, name, side=self._side)

    def __dir__(self) -> Sequence[str]:
        return _SIDES[self._side]


input = _Scanners("input")  # noqa: A001  (LLM-Guard's own word)
output = _Scanners("output")


def __getattr__(name: str) -> Callable[..., Scanner]:
    if name in scanning.INPUT or name in scanning.OUTPUT:
        return functools.partial(Scanner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its scanners are listed by dir()")


def __dir__() -> list[str]:
    return sorted({*__all__, *scanning.INPUT, *scanning.OUTPUT})
