"""LiteLLM: more than a hundred services behind one function, among them Vertex AI, Bedrock, Cohere and Groq.

LiteLLM takes seconds to import and keeps state for the whole process. So it is imported by the first request, on a
thread, and asked with arguments of the call alone: none of its settings is read from here, and none is changed.

Its calls run on the SDK's own event loop, whichever loop the caller is on. LiteLLM keeps its HTTP clients by event
loop; on one loop that stays they are reused, and the last engine that is closed can close them.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from llmops_sdk import environment, loops
from llmops_sdk.engines._base_url import shown_url
from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._continuing import check_continues, continues_not
from llmops_sdk.engines._engine import Engine, chunks_of
from llmops_sdk.engines._keys import fingerprint
from llmops_sdk.engines._litellm_answers import PieceReader, cost_of, response_from
from llmops_sdk.engines._litellm_errors import ErrorMapper
from llmops_sdk.engines._litellm_models import capabilities_in
from llmops_sdk.errors import (
    ClosedError,
    ConfigurationError,
    EngineConnectionError,
    InvalidResponseError,
    LlmopsError,
    MissingDependencyError,
    ServerError,
)
from llmops_sdk.messages import Chunk, Request, Response
from llmops_sdk.protocols import Capabilities

__all__ = ["LiteLLM", "open_engine"]

_AT_IMPORT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the prices in the package, in place of a download
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",  # the same
    "LITELLM_MODE": "PRODUCTION",  # in its other mode it puts what is in a file `.env` into the environment
    "LITELLM_LOG": "ERROR",  # what its own handler shows on standard error; records still reach the application's
}

_PROVIDERS = {
    "anthropic_text": "anthropic",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "bedrock_mantle": "aws.bedrock",
    "codestral": "mistral_ai",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "hosted_vllm": "vllm",
    "mistral": "mistral_ai",
    "text-completion-codestral": "mistral_ai",
    "text-completion-openai": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "watsonx_text": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""LiteLLM's names of providers -> `gen_ai.provider.name` of the OpenTelemetry conventions, where the two differ."""

_OURS = {
    "acompletion": "the engine's business",
    "context_window_fallback_dict": "a `Router`'s business",
    "fallbacks": "a `Router`'s business",
    "max_retries": "a `Router`'s business",
    "messages": "part of a `Request`",
    "model_list": "a `Router`'s business",
    "num_retries": "a `Router`'s business",
    "stream": "what `astream` is for",
    "stream_options": "the engine's business",
    "timeout": "called `timeout_s` here",
}

_URLS = ("api_base", "base_url")

_SENT_IF_GIVEN = ("temperature", "max_tokens", "top_p", "seed")

_SECRET = ("key", "token", "secret", "password", "credential", "authorization")


class _Shared:
    """What the engines of a process have in common.

    Attributes:
        library: LiteLLM, when it has been imported.
        importing: Held while it is, by a thread that may wait.
        lock: For `in_use`.
        in_use: Engines that have asked something and are not closed.
    """

    def __init__(self) -> None:
        self.library: Any = None
        self.in_use: weakref.WeakSet[LiteLLM] = weakref.WeakSet()
        self.new_locks()

    def new_locks(self) -> None:
        self.importing = threading.Lock()
        self.lock = threading.Lock()


_shared = _Shared()

if hasattr(os, "register_at_fork"):
    # Threads that are gone may hold the parent's.
    os.register_at_fork(after_in_child=_shared.new_locks)


class LiteLLM(Engine):
    """A model of any service that LiteLLM knows.

    Args:
        model: `"provider/model"`, as LiteLLM names it: `"groq/llama-3.3-70b-versatile"`.
        api_key: Key of the service; LiteLLM reads the service's own environment variables when it is not given.
        name: Name of the engine; by default `litellm:` and the model.
        timeout_s: Seconds without a sign of the service after which a request is given up.
        parameters: LiteLLM's own parameters, sent with each request: `api_base`, `api_version`, `organization`,
            `aws_region_name`, `vertex_project`, `extra_headers`, `drop_params`, ... LiteLLM hands what it does not
            know to the service.

    Raises:
        ConfigurationError: The model names no provider, or a parameter is not for the user to set.
    """

    incomplete: ClassVar[bool] = False

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        name: str | None = None,
        timeout_s: float = 300.0,
        **parameters: Any,
    ) -> None:
        provider, slash, rest = model.partition("/")
        if not (provider and slash and rest):
            raise ConfigurationError(
                f"{model!r} does not name the provider; write `Engine.open('litellm:provider/model')`, for example "
                "`litellm:openai/gpt-5-mini`"
            )
        for parameter in parameters:
            if parameter in _OURS:
                raise ConfigurationError(f"`{parameter}` cannot be given here: it is {_OURS[parameter]}")
        self.name = name or f"litellm:{model}"
        self.model: str = rest
        self.provider = _PROVIDERS.get(provider, provider)
        self._asked = model
        self._prefix = provider
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._parameters = parameters
        self._closed = False
        self._errors = ErrorMapper(engine=self.name, model=model, secrets=_secrets(api_key, parameters))

    @property
    def capabilities(self) -> Capabilities:
        """What LiteLLM's own table says of the model; nothing is known before LiteLLM is imported."""
        known = getattr(_shared.library, "model_cost", None)
        return Capabilities() if known is None else capabilities_in(known, self._prefix, self.model)

    @property
    def key_id(self) -> str | None:
        """See `Engine.key_id`; a key that LiteLLM finds by itself is not known here."""
        return None if self._api_key is None else fingerprint(f"{self._prefix} {self._api_key}")

    def configuration(self) -> dict[str, Any]:
        """See `Engine.configuration`. Of a base URL it has what may be seen."""
        given = super().configuration()
        return given | {name: shown_url(given[name]) for name in _URLS if given.get(name)}

    async def agenerate(self, request: Request, /) -> Response:
        """See `Engine.agenerate`."""
        return await loops.across(lambda: self._generate(request), loops.sdk_loop())

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """See `Engine.astream`."""
        loop = loops.sdk_loop()
        here = loop is asyncio.get_running_loop()
        chunks = self._stream(request) if here else loops.stream_across(lambda: self._stream(request), loop)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]  # both are async generators

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """See `Engine.aembed`."""
        return await loops.across(lambda: self._embed(texts), loops.sdk_loop())

    async def aclose(self) -> None:
        """Give back what this engine holds; idempotent.

        LiteLLM's clients belong to all engines of this kind, so the last one that is closed closes them.
        """
        self._closed = True
        self._opened = False
        with _shared.lock:
            last = self in _shared.in_use and len(_shared.in_use) == 1
            _shared.in_use.discard(self)
        if last and _shared.library is not None:
            await loops.across(_close_clients, loops.sdk_loop())

    async def _generate(self, request: Request) -> Response:
        await self._prepare()
        answer = await self._ask(_shared.library.acompletion(**self._arguments(request)))
        return self._response(answer)

    async def _stream(self, request: Request) -> AsyncIterator[Chunk]:
        await self._prepare()
        arguments = {**self._arguments(request), "stream": True, "stream_options": {"include_usage": True}}
        stream = await self._ask(_shared.library.acompletion(**arguments))
        if not hasattr(stream, "__anext__"):  # a provider without streams
            for chunk in chunks_of(self._response(stream)):
                yield chunk
            return
        reader = PieceReader(stream, n=request.n, engine=self.name, model=self.model)
        try:
            while True:
                piece = await self._next(stream, reader)
                if piece is None:
                    break
                for chunk in self._read(reader, piece):
                    yield chunk
            for chunk in reader.finish():
                yield chunk
            usage = reader.counted()
            if usage is not None:
                cost = None if usage.estimated else self._cost(reader.usage)
                yield Chunk(usage=usage, engine=self.name, cost_usd=cost)
        finally:
            await stream.aclose()

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        await self._prepare()
        answer = await self._ask(_shared.library.aembedding(model=self._asked, input=list(texts), **self._always()))
        try:
            rows = sorted(answer.data, key=lambda row: row["index"])
            return [list(row["embedding"]) for row in rows]
        except (LookupError, TypeError, AttributeError) as exc:
            raise self._invalid(exc) from exc

    async def _prepare(self) -> None:
        """Import LiteLLM when it is first needed."""
        if _shared.library is None and not self._closed:
            _shared.library = await loops.in_thread(_imported)
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open it again with `Engine.open(...)`")
        with _shared.lock:
            _shared.in_use.add(self)
        self._opened = True

    async def _ask(self, call: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await _settled(call)
        except Exception as exc:  # noqa: BLE001  (LiteLLM and the libraries below it raise anything)
            error = self._errors.error_of(exc, self._missing_keys)
        raise self._with_hint(error)

    async def _next(self, stream: Any, reader: PieceReader) -> Any:
        """The next piece of a stream, `None` at its end."""
        try:
            return await anext(stream, None)
        except Exception as exc:  # noqa: BLE001  (LiteLLM and the libraries below it raise anything)
            error = self._errors.error_of(exc, self._missing_keys)
        if reader.partial_text and isinstance(error, EngineConnectionError | ServerError | InvalidResponseError):
            details = {name: getattr(error, name) for name in ("status_code", "request_id", "retry_after_s")}
            broken = reader.interrupted(str(error), **details)
            broken.__cause__ = error.__cause__
            error = broken
        raise error

    def _read(self, reader: PieceReader, piece: Any) -> list[Chunk]:
        try:
            return list(reader.read(piece))
        except (LookupError, TypeError, AttributeError) as exc:
            raise self._invalid(exc) from exc

    def _arguments(self, request: Request) -> dict[str, Any]:
        asked = self._always()
        asked["model"] = self._asked if request.adapter is None else f"{self._prefix}/{request.adapter}"
        asked["messages"] = chat_messages(request.messages)
        if request.continues:
            self._check_continues(request, asked["model"])
            asked["messages"][-1]["prefix"] = True
        for name in _SENT_IF_GIVEN:
            value = getattr(request, name)
            if value is not None:
                asked[name] = value
        if request.stop:
            asked["stop"] = list(request.stop)
        if request.n != 1:
            asked["n"] = request.n
        if request.tools:
            asked["tools"] = _copied(request.tools)
        if request.tool_choice is not None:
            asked["tool_choice"] = _copied(request.tool_choice)
        if request.response_schema is not None:
            schema = {"name": "answer", "strict": True, "schema": _copied(request.response_schema)}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.logprobs is not None:
            asked["logprobs"] = True
            if request.logprobs:
                asked["top_logprobs"] = request.logprobs
        asked.update(_copied(request.extra))
        if trace := request.trace_headers:
            asked["headers"] = {**(asked.get("headers") or {}), **trace}
        return asked

    def _check_continues(self, request: Request, model: str) -> None:
        check_continues(request, engine=self.name, model=self.model)
        known: Mapping[str, Any] = {}
        with contextlib.suppress(Exception):  # it raises anything for a model that it does not know
            known = _shared.library.get_model_info(model)
        if not known.get("supports_assistant_prefill"):
            raise continues_not(
                f"LiteLLM does not know that {model!r} continues a text", engine=self.name, model=self.model
            )

    def _always(self) -> dict[str, Any]:
        """What every call says, so that no setting of the process takes its place."""
        return {
            "api_key": self._api_key,
            "timeout": self._timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "caching": False,
            "drop_params": False,
            "no-log": True,
            **_copied(self._parameters),
        }

    def _response(self, answer: Any) -> Response:
        try:
            return response_from(answer, engine=self.name, model=self.model)
        except (LookupError, TypeError, AttributeError) as exc:
            raise self._invalid(exc) from exc

    def _invalid(self, exc: Exception) -> InvalidResponseError:
        return InvalidResponseError(
            f"LiteLLM's answer is not what it should be ({type(exc).__name__}: {exc})",
            engine=self.name,
            model=self.model,
        )

    def _cost(self, usage: Any) -> Decimal | None:
        """What LiteLLM says that a stream cost, which it does not tell by itself; `None` where it does not know."""
        with contextlib.suppress(Exception):  # a model without a price is an error there, and it has many more
            parts = _shared.library.cost_per_token(
                model=self.model, custom_llm_provider=self._prefix, usage_object=usage
            )
            return cost_of(float(sum(parts)))
        return None

    def _missing_keys(self) -> list[str]:
        if self._api_key is not None:
            return []
        with contextlib.suppress(Exception):  # only words of a message depend on it
            return [str(name) for name in _shared.library.validate_environment(model=self._asked)["missing_keys"]]
        return []

    def _with_hint(self, error: LlmopsError) -> LlmopsError:
        """An unknown provider with the name that was meant."""
        if "LLM Provider NOT provided" not in str(error):
            return error
        known = [str(getattr(one, "value", one)) for one in _shared.library.provider_list]
        near = difflib.get_close_matches(self._prefix, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        error.args = (f"LiteLLM knows no provider {self._prefix!r}{hint} (https://docs.litellm.ai/docs/providers)",)
        return error


def open_engine(spec: str, *, model: str | None, api_key: str | None, name: str | None, **options: Any) -> LiteLLM:
    """Open `"litellm:PROVIDER/MODEL"`; see `Engine.open`."""
    asked = spec.partition(":")[2] or model
    if not asked:
        raise ConfigurationError("which model? Write `Engine.open('litellm:provider/model')`")
    if importlib.util.find_spec("litellm") is None:
        raise MissingDependencyError("`litellm:`", package="litellm", extra="litellm")
    return LiteLLM(asked, api_key=api_key, name=name, **options)


def _imported() -> Any:
    """Import LiteLLM so that it fetches nothing, shows nothing and leaves the environment as it was."""
    with _shared.importing, environment.defaults(_AT_IMPORT):
        if "litellm" in sys.modules:
            return importlib.import_module("litellm")  # waits where another thread is importing it
        try:
            library: Any = importlib.import_module("litellm")
            headers = importlib.import_module("litellm.anthropic_beta_headers_manager")
        except ModuleNotFoundError as exc:
            if exc.name == "litellm":
                raise MissingDependencyError("`litellm:`", package="litellm", extra="litellm") from exc
            raise ConfigurationError(f"LiteLLM is installed but cannot be imported: {exc}") from exc
        with contextlib.suppress(AttributeError):  # older ones fetch none
            headers.reload_beta_headers_config()
        # It prints advertisements beside each error, and there is no other way to be spared. Where the application has
        # imported it first, this is the application's to decide.
        library.suppress_debug_info = True
        return library


async def _settled(call: Coroutine[Any, Any, Any]) -> Any:
    """Await a call of LiteLLM; when cancelled, stop it where that is clean.

    LiteLLM makes each request on a thread, as a coroutine that it then awaits. Cancelled meanwhile, that coroutine
    would be dropped with a warning that it was never awaited: so the thread, which takes a millisecond, may end.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            for _ in range(100):
                if not _waits_for_thread(task):
                    break
                await asyncio.sleep(0.002)
        finally:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            answer = await task
            if hasattr(answer, "aclose"):
                await answer.aclose()
        raise


def _waits_for_thread(task: asyncio.Task[Any]) -> bool:
    if task.done():
        return False
    awaited: Any = task.get_coro()
    while inspect.iscoroutine(inner := getattr(awaited, "cr_await", None)):
        awaited = inner
    return getattr(getattr(awaited, "cr_code", None), "co_name", "") in {"acompletion", "aembedding"}


async def _close_clients() -> None:
    """Close the HTTP clients that LiteLLM keeps for the SDK's loop, on which nobody but engines asks it."""
    cache = _shared.library.in_memory_llm_clients_cache
    mine = f"-{id(asyncio.get_running_loop())}"
    for key in [key for key in cache.cache_dict if key.endswith(mine)]:
        client = cache.cache_dict.pop(key)
        cache.ttl_dict.pop(key, None)
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        with contextlib.suppress(Exception):  # whatever it is, it is being thrown away
            closing = close() if close is not None else None
            if inspect.isawaitable(closing):
                await closing


def _copied(value: Any) -> Any:
    """`value` in plain dicts and lists of its own: LiteLLM changes what it is given."""
    if isinstance(value, Mapping):
        return {name: _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list | tuple) else value


def _secrets(api_key: str | None, parameters: Mapping[str, Any]) -> list[str]:
    found = [api_key] if api_key else []
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            found += _secrets(None, value)
        elif isinstance(value, str) and any(part in name.lower() for part in _SECRET):
            found.append(value)
    return found
