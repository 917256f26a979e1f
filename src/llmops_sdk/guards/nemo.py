"""`NeMo`: the rails of NVIDIA NeMo Guardrails as a guard.

NeMo judges, and this library does the streaming: NeMo's own streams emit before they check. NeMo Guardrails is imported
when the guard is first needed, with its usage statistics off.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import importlib.util
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, Unpack

from llmops_sdk import environment, loops
from llmops_sdk.costs import time_left
from llmops_sdk.errors import ClosedError, ConfigurationError, DeadlineExceeded, GuardFailed, MissingDependencyError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._judge.engine import ask, read_by_guards, require_engine, said_before
from llmops_sdk.guards._nemo_thread import OwnLoop, in_fresh_thread
from llmops_sdk.guards._segments import Segment, SegmentGuard
from llmops_sdk.messages import Message, Request, Response
from llmops_sdk.protocols import EngineLike, GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Stage, Verdict

__all__ = ["NeMo", "Runtime"]

Runtime: TypeAlias = Literal["auto", "iorails", "llmrails"]

_AT_ONCE = 128
"""Checks under way at once in one rails object: IORails refuses the 257th."""

_BROKE = "I'm sorry, an internal error has occurred."
"""What NeMo says when a rail broke; it looks like a rail that blocked otherwise."""

_BROKE_INTENT = "inform internal error occurred"
_QUIET = {"NEMO_GUARDRAILS_NO_USAGE_STATS": "1"}
_making = threading.Lock()
"""One at a time: variables of the environment are set while rails are made."""


class _Asked(NamedTuple):
    """Who a rail asks for: the run and the loop that the check was called on."""

    context: GuardContext | None
    home: asyncio.AbstractEventLoop
    timeout_s: float | None
    guard: str


_asked: contextvars.ContextVar[_Asked] = contextvars.ContextVar("llmops_nemo_asked")


class NeMo(loops.Closing, SegmentGuard):
    """The input and output rails of a NeMo Guardrails configuration.

    Before the engine the input rails judge each message, with the conversation before it; after the engine the output
    rails judge the answer, with the user's messages. Rails that a place asks for and the configuration does not have
    are an error of the guard. A rail that breaks is an error, too, and not a policy that was hit: `on_error` decides.

    Rails that need a model get `engine` as NeMo's main model; its calls run within the deadline and the budget of the
    run, on the event loop of the run. Dialog and retrieval rails do not run: what to say is the application's business.

    The rails live on an event loop of their own, since NeMo's fast engine works on one loop only. Close the guard with
    `aclose` or `close` when it is done with; otherwise its thread ends with the program.

    Args:
        folder: A folder with `config.yml`, Colang files, and perhaps `config.py` and `actions.py`, **which are run**.
        yaml: The configuration as text, in place of a folder.
        colang: Flows as text, beside `yaml`.
        engine: The model for rails that need one.
        runtime: `"iorails"`: NeMo's fast engine, which knows rails of its catalogue only and takes no `engine`.
            `"llmrails"`: the one that runs Colang. `"auto"` (the default): the fast one where it can do it.
        actions: Functions that flows `execute`, by name; for LLMRails.
        by: `"text"` (the default): a stream waits for its end. `"sentence"`: streams flow, and each sentence is judged
            by itself; what spans two of them is missed.
        longest: Most characters of a sentence, and of what is held back in a stream.
        history: Most messages before the text that rails are shown.
        timeout_s: Seconds for one check; `None` for no limit but the run's deadline.
        options: See `GuardOptions`.

    Raises:
        MissingDependencyError: NeMo Guardrails is not installed.
        ConfigurationError: The configuration is none, or cannot be had with these arguments. (Some of it shows when the
            rails are made, by `prepare` or the first check.)
    """

    name = "nemo"
    blocking = False

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        yaml: str = "",
        colang: str = "",
        engine: EngineLike | None = None,
        runtime: Runtime = "auto",
        actions: Mapping[str, Callable[..., Any]] | None = None,
        by: Literal["text", "sentence"] = "text",
        longest: int = 600,
        history: int = 10,
        timeout_s: float | None = 30.0,
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(longest=longest, **options)
        if importlib.util.find_spec("nemoguardrails") is None:
            raise MissingDependencyError("`guards.nemo`", package="nemoguardrails", extra="nemo")
        if (folder is None) == (not yaml and not colang):
            raise ConfigurationError('give a folder, `NeMo("rails")`, or a text, `NeMo(yaml="...", colang="...")`')
        if folder is not None and not Path(folder).exists():
            raise ConfigurationError(f"there is no folder {str(folder)!r} with a configuration of rails")
        if runtime not in {"auto", "iorails", "llmrails"}:
            raise ConfigurationError(f"runtime={runtime!r} is not one of 'auto', 'iorails', 'llmrails'")
        if runtime == "iorails" and (engine is not None or actions):
            raise ConfigurationError("IORails takes no engine and no actions: write `runtime='llmrails'`")
        if by not in {"text", "sentence"}:
            raise ConfigurationError(f"by={by!r} is neither 'text' nor 'sentence'")
        if history < 0 or (timeout_s is not None and timeout_s <= 0):
            raise ConfigurationError(f"history={history!r}, timeout_s={timeout_s!r}: history >= 0, timeout_s > 0")
        if engine is not None:
            require_engine(engine)
        source = _Source(None if folder is None else str(folder), yaml, colang, engine, runtime, dict(actions or {}))
        self._rails = _Rails(source)
        self._history = history
        self._timeout_s = timeout_s
        if by == "text":
            self.window = None

    def configuration(self) -> dict[str, Any]:
        """See `Guard.configuration`. The files of the folder count, wherever they lie."""
        given = super().configuration()
        return given | ({"folder": Path(given["folder"])} if given.get("folder") is not None else {})

    def prepare(self) -> None:
        """Import NeMo Guardrails and make the rails; takes seconds the first time."""
        self._rails.make()

    @property
    def runtime(self) -> Literal["iorails", "llmrails"]:
        """Which engine of NeMo judges; makes the rails, if they are not there yet."""
        return "iorails" if self._rails.make().fast else "llmrails"

    async def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Have the rails of the text's stage judge it."""
        if self.window is None:
            return await self.judge(Segment(text, "", 0), context)
        decided = super().check(text, context)
        return decided if isinstance(decided, Verdict) else await decided

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream, sentence by sentence; `None` where it judges whole texts."""
        return None if self.window is None else super().open_stream(context)

    async def judge(self, segment: Segment, context: GuardContext | None, /) -> Verdict:
        """Have the rails of its stage judge one piece."""
        text = segment.text
        if not text or not read_by_guards(context):
            return ALLOW
        rails = self._rails.made
        if rails is None:
            rails = await loops.in_thread(self._rails.make)
        stage: Stage = context.stage if context is not None else rails.only_stage
        if stage not in rails.stages:
            raise ConfigurationError(
                f"the configuration has no {stage} rails, and the guard {self.name!r} stands where it needs them: "
                f"add `rails: {stage}: flows: [...]`, or put it elsewhere in the pipeline"
            )
        speaker = "user" if stage == "input" else "assistant"
        said = [*said_before(text, context, self._history)]
        messages = [{"role": one.role, "content": one.text} for one in said] + [{"role": speaker, "content": text}]
        return self._verdict(text, await self._checked(rails, messages, stage, context), rails)

    async def _checked(
        self, rails: _Made, messages: list[dict[str, str]], stage: Stage, context: GuardContext | None
    ) -> Any:
        call = context.call if context is not None else None
        left = time_left(call, self._timeout_s)
        token = _asked.set(_Asked(context, asyncio.get_running_loop(), left, self.name))
        try:
            async with asyncio.timeout(left):
                return await loops.across(lambda: rails.check(messages, stage), rails.own.loop)
        except TimeoutError as exc:
            if call is not None and call.deadline is not None and call.clock() >= call.deadline:
                raise DeadlineExceeded(
                    f"the rails of {self.name!r} had not judged when the run's deadline was over",
                    deadline_s=call.deadline_s or 0.0,
                ) from exc
            raise GuardFailed(f"the rails did not judge within {left:.3g} s", guard=self.name) from exc
        finally:
            _asked.reset(token)

    def _verdict(self, text: str, result: Any, rails: _Made) -> Verdict:
        said, rail = str(result.content), str(result.rail or "")
        if said in rails.broke and text not in rails.broke:
            raise GuardFailed(f"the rail {rail or '(unnamed)'!r} broke; NeMo's log says why", guard=self.name)
        if result.status.value == "passed":
            return ALLOW
        if result.status.value == "modified":
            start, end = _changed(text, said)
            return Verdict.rewrite(said, [Finding(kind="rail", start=start, end=end)], reason="rewritten by a rail")
        found = Finding(kind="rail", start=0, end=len(text), rule=rail)
        return Verdict.block(f"blocked by the rail {rail!r}", [found])

    async def aclose(self) -> None:
        """Stop the rails and their thread; idempotent. Copies of the guard share them."""
        await loops.in_thread(self._rails.close)

    def close(self) -> None:
        """`aclose`, for code without an event loop."""
        self._rails.close()


class _Source(NamedTuple):
    """What rails are made of."""

    folder: str | None
    yaml: str
    colang: str
    engine: EngineLike | None
    runtime: Runtime
    actions: dict[str, Callable[..., Any]]


class _Made:
    """Rails on their own loop.

    Attributes:
        own: Their loop.
        fast: Whether they are IORails.
        stages: For which stages there are rails.
        broke: What NeMo says when a rail broke.
    """

    def __init__(self, rails: Any, config: Any, *, fast: bool, rail_type: Any) -> None:
        self.fast = fast
        flows: dict[Stage, Any] = {"input": config.rails.input.flows, "output": config.rails.output.flows}
        self.stages: tuple[Stage, ...] = tuple(stage for stage, named in flows.items() if named)
        self.broke = frozenset({_BROKE, *(config.bot_messages or {}).get(_BROKE_INTENT, ())})
        self.own = OwnLoop("llmops-sdk-nemo")
        self._rails = rails
        self._types = {"input": [rail_type.INPUT], "output": [rail_type.OUTPUT]}
        self._room = asyncio.Semaphore(_AT_ONCE)
        # It keeps the rails until then: their tasks would be collected along with them, in the middle of their work.
        self._finalizer = weakref.finalize(self, OwnLoop.stop, self.own, rails.stop if fast else None)

    @property
    def only_stage(self) -> Stage:
        """The stage of a text of which nothing is known: the input, unless there are output rails alone."""
        return self.stages[0]

    async def check(self, messages: list[dict[str, str]], stage: Stage) -> Any:
        """What the rails of `stage` say; on their own loop."""
        async with self._room:
            result = await self._rails.check_async(messages, rail_types=self._types[stage])
        if not self.fast:
            self._rails.events_history_cache.clear()  # it keeps every conversation for ever
        return result

    def stop(self) -> None:
        """Stop the rails and their loop."""
        self._finalizer()


class _Rails:
    """Rails that are made when they are first needed, once in each process; shared by the copies of a guard."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._closed = False
        self._made: _Made | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _Rails, (self._source,)

    @property
    def made(self) -> _Made | None:
        """The rails, if they are there."""
        if self._closed:
            raise ClosedError("the rails of this guard were closed; make another `NeMo(...)`")
        return self._made if self._made is not None and self._made.own.alive else None

    def make(self) -> _Made:
        """The rails; takes seconds the first time."""
        with _making:
            made = self.made
            if made is None:
                with environment.defaults(_QUIET):
                    made = self._made = in_fresh_thread(lambda: _make(self._source))
            return made

    def close(self) -> None:
        """Stop them for good."""
        self._closed = True
        made, self._made = self._made, None
        if made is not None:
            made.stop()


def _make(source: _Source) -> _Made:
    module = importlib.import_module
    config_type = module("nemoguardrails").RailsConfig
    iorails = module("nemoguardrails.guardrails.iorails").IORails
    rail_type = module("nemoguardrails.rails.llm.options").RailType
    with _as_configuration_error():
        if source.folder is not None:
            config = config_type.from_path(source.folder)
        else:
            config = config_type.from_content(yaml_content=source.yaml or "models: []", colang_content=source.colang)
    if not config.rails.input.flows and not config.rails.output.flows:
        raise ConfigurationError("the configuration has neither input rails nor output rails: nothing would be judged")
    model = None if source.engine is None else _engine_as_model(source.engine)
    unfit = "there are `actions`" if source.actions else iorails.unsupported_reason(config, model)
    if source.runtime == "iorails" and unfit is not None:
        raise ConfigurationError(f"IORails cannot run this configuration ({unfit}); write `runtime='llmrails'`")
    fast = source.runtime != "llmrails" and unfit is None
    with _as_configuration_error():
        if fast:
            return _Made(iorails(config), config, fast=True, rail_type=rail_type)
        rails = module("nemoguardrails.rails.llm.llmrails").LLMRails(config, llm=model)
        for name, function in source.actions.items():
            rails.register_action(function, name)
        return _Made(rails, config, fast=False, rail_type=rail_type)


@contextlib.contextmanager
def _as_configuration_error() -> Iterator[None]:
    try:
        yield
    except Exception as exc:  # NeMo raises whatever its parsers do
        raise ConfigurationError(f"NeMo Guardrails refuses the configuration: {type(exc).__name__}: {exc}") from exc


def _engine_as_model(engine: EngineLike) -> Any:
    """`engine` as NeMo's protocol `LLMModel` has it."""
    types = importlib.import_module("nemoguardrails.types")

    def answer(response: Response) -> Any:
        usage = response.usage
        counted = usage and types.UsageInfo(
            input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=usage.total_tokens
        )
        return types.LLMResponse(
            content=response.text,
            model=response.model,
            finish_reason=response.finish_reason,
            request_id=response.id,
            usage=counted,
        )

    async def generate(prompt: Any, *, stop: list[str] | None = None, **parameters: Any) -> Any:
        asked = _asked.get(None)
        request = _request(prompt, stop, parameters)
        if asked is None:  # NeMo asks outside of a check
            return answer(await ask(engine, request, None, asker="", timeout_s=None))
        here: Callable[[], Coroutine[Any, Any, Response]] = lambda: ask(  # noqa: E731
            engine, request, asked.context, asker=asked.guard, timeout_s=asked.timeout_s
        )
        return answer(await loops.across(here, asked.home))

    async def stream(prompt: Any, *, stop: list[str] | None = None, **parameters: Any) -> AsyncIterator[Any]:
        whole = await generate(prompt, stop=stop, **parameters)  # rails judge whole answers
        yield types.LLMResponseChunk(delta_content=whole.content, model=whole.model, finish_reason=whole.finish_reason)

    return _Model(engine, generate, stream)


class _Model:
    """NeMo's protocol `LLMModel`."""

    def __init__(self, engine: EngineLike, generate: Any, stream: Any) -> None:
        self.model_name: str = getattr(engine, "model", None) or engine.name
        self.provider_name: str | None = getattr(engine, "provider", None)
        self.provider_url: str | None = None
        self.generate_async = generate
        self.stream_async = stream


def _request(prompt: Any, stop: list[str] | None, parameters: Mapping[str, Any]) -> Request:
    """NeMo's question as ours; parameters that we do not know by name are NeMo's own, and stay behind."""
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message.user(prompt),)
    else:
        messages = tuple(Message(role=one.role.value, content=_text(one.content)) for one in prompt)
    return Request(
        messages=messages,
        temperature=parameters.get("temperature"),
        max_tokens=parameters.get("max_tokens"),
        stop=tuple(stop or ()),
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or () if isinstance(part, Mapping))


def _changed(old: str, new: str) -> tuple[int, int]:
    """The stretch of `old` outside of which `new` is the same."""
    most = min(len(old), len(new))
    start = next((i for i in range(most) if old[i] != new[i]), most)
    same = next((i for i in range(most - start) if old[-1 - i] != new[-1 - i]), most - start)
    return start, len(old) - same
