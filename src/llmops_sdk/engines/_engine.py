"""The base class of engines, and the opening of engines by scheme."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import re
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from llmops_sdk import loops
from llmops_sdk.engines._base_url import shown_url
from llmops_sdk.errors import ConfigurationError, UnsupportedError
from llmops_sdk.given import arguments_of, named_like_a_key
from llmops_sdk.messages import Chunk, ChunkJoiner, Classification, Message, Request, Response
from llmops_sdk.protocols import Capabilities
from llmops_sdk.stations import Station

__all__ = ["HOW", "Engine", "chunks_of", "response_of"]

_SCHEMES = {
    "embedded": "llmops_sdk.engines.embedded",
    "vllm": "llmops_sdk.engines.vllm",
    "openai": "llmops_sdk.engines.remote",
    "anthropic": "llmops_sdk.engines.anthropic",
    "litellm": "llmops_sdk.engines.litellm",
    "tensorrt": "llmops_sdk.engines.tensorrt",
    "http": "llmops_sdk.engines.remote",
    "https": "llmops_sdk.engines.remote",
}
"""Scheme -> the module that opens it with `open_engine(spec, ...)`; loaded by name, since it pulls its library."""

HOW = frozenset({
    "api_key", "batch_size", "chunk_delay_s", "client", "connect_timeout_s", "delay_s", "max_body", "max_connections",
    "max_waiting", "name", "progress", "read_timeout_s", "restarts", "ssl_context", "timeout_s",
})  # fmt: skip
"""Arguments of engines that say how to reach one, not what it answers."""

_HEADERS = ("headers", "extra_headers")

_UNKNOWN = Capabilities()


class Engine(loops.Closing, Station):
    """Turns a request into a response, or into a stream of chunks.

    Subclass it and write `agenerate` or `astream` (or both): the other one, the sync methods, `|` and closing are
    here. `request.call` knows the deadline of the run.

    Engines travel between processes (`pickle`, `copy`) as what they were made with: the copy is made anew with the same
    arguments, and is not opened. Keys among the arguments travel, too.

    Attributes:
        name: Unique among the engines of a router; shown in traces. The class's name in lower case unless given.
        model: What is asked for by default; `None` where the engine has no such notion.
        provider: Value of `gen_ai.provider.name` in traces, `"openai"` or `"vllm"` for example.
        in_process: Whether the model runs in this process (its spans are internal then, not client spans).
        incomplete: Whether neither `agenerate` nor `astream` has been written; such an engine fits into no pipeline.

    Example:
        >>> from llmops_sdk.messages import Choice
        >>> class Echo(Engine):
        ...     async def agenerate(self, request):
        ...         return Response(choices=(Choice(text=request.messages[-1].text),))
        >>> Echo().generate("Hello").text
        'Hello'
    """

    name: str = "engine"
    model: str | None = None
    provider: str = "custom"
    in_process: ClassVar[bool] = False
    incomplete: ClassVar[bool] = True
    _opened: bool = False
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__}() takes no arguments")
        self = super().__new__(cls)
        self._made_with = args, kwargs
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Sockets, processes and event loops stay here.
        args, kwargs = self._made_with
        return _made_again, (type(self), args, kwargs, self.name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        cls.incomplete = cls.agenerate is Engine.agenerate and cls.astream is Engine.astream

    @property
    def key_id(self) -> str | None:
        """A fingerprint of the key that it asks with: the same for the same key, everywhere. `None` without a key."""
        return None

    @property
    def concurrency(self) -> int:
        """How many requests are worth having under way at once: what `Pipeline.map` keeps in flight by default."""
        return 64

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as far as it knows."""
        return _UNKNOWN

    @property
    def tokenizer(self) -> Any:
        """The model's own tokenizer with its chat template, as transformers loads it; `None` where it is not at hand.

        What counts tokens for this engine asks for it. Nothing is started, and nothing is downloaded.
        """
        return None

    @property
    def revision(self) -> str | None:
        """Which version of the model it has, as far as it knows: a commit of the hub, or a hash of its weights."""
        return None

    def configuration(self) -> dict[str, Any]:
        """What it was made with, except what only says how to reach it: keys, timeouts, its name.

        Of headers it has the names only: any of them may be a key. A lock pins it by a hash of this.
        """
        given = arguments_of(type(self), *self._made_with)
        for name in _HEADERS:
            if isinstance(given.get(name), Mapping):
                given[name] = sorted(map(str.lower, given[name]))
        return {name: value for name, value in given.items() if _counts(name)}

    @staticmethod
    def open(
        spec: str,
        /,
        *,
        model: str | None = None,
        api_key: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> Engine:
        """Open an engine by its scheme. Nothing is started or connected before the first request.

        Args:
            spec: `"embedded:"`; `"vllm:PATH-OR-HUB-ID"` and `"tensorrt:PATH-OR-HUB-ID"`, in this process;
                `"openai:MODEL"`; `"anthropic:MODEL"`; `"litellm:PROVIDER/MODEL"` for all other services; or the URL of
                any OpenAI-compatible endpoint, `"http://host:port/v1"`, with `model=`.
            model: The model to ask for, where `spec` does not name it.
            api_key: Key of the endpoint. `openai:` reads `OPENAI_API_KEY` when it is not given, `anthropic:` reads
                `ANTHROPIC_API_KEY`.
            name: Name of the engine; by default made from `spec`.
            options: What the kind of engine takes; see the engine's class.

        Raises:
            ConfigurationError: The scheme is unknown, or an option does not fit.
            MissingDependencyError: The extra for this scheme is not installed.
        """
        scheme, colon, _ = spec.partition(":")
        module = _SCHEMES.get(scheme) if colon else None
        if module is None:
            near = difflib.get_close_matches(scheme, _SCHEMES, n=1)
            hint = f" Did you mean {near[0] + ':'!r}?" if near else ""
            known = ", ".join(f"{known}:" for known in _SCHEMES)
            raise ConfigurationError(
                f"no engine opens {shown_url(spec)!r}: "
                f"write `Engine.open('scheme:model')` with one of the schemes {known}.{hint}"
            )
        opened: Engine = importlib.import_module(module).open_engine(
            spec, model=model, api_key=api_key, name=name, **options
        )
        return opened

    async def agenerate(self, request: Request, /) -> Response:
        """Answer `request` as a whole.

        Raises:
            EngineError: One of its subclasses; see `llmops_sdk.errors`.
        """
        return await response_of(self.astream(request), self.name)

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Answer `request` in chunks. Closing the iterator stops the work upstream.

        Raises:
            EngineError: One of its subclasses; `StreamInterrupted` when it breaks after text has arrived.
        """
        for chunk in chunks_of(await self.agenerate(request)):
            yield chunk

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """Vectors of `texts`, in order: shape `(len(texts), dimensions)`.

        Raises:
            UnsupportedError: This engine has no embeddings.
        """
        raise UnsupportedError(
            f"the engine {self.name!r} has no embeddings; open an embedding model", engine=self.name, model=self.model
        )

    async def aclassify(self, texts: Sequence[str], /) -> list[Classification]:
        """What a classification model says of each of `texts`, in order.

        Raises:
            UnsupportedError: This engine does not classify.
        """
        raise UnsupportedError(
            f"the engine {self.name!r} does not classify; open a classification model",
            engine=self.name,
            model=self.model,
        )

    def embed(self, texts: Sequence[str], /) -> list[list[float]]:
        """`aembed`, for code without an event loop."""
        return loops.run_sync(lambda: self.aembed(texts), method="embed()")

    def classify(self, texts: Sequence[str], /) -> list[Classification]:
        """`aclassify`, for code without an event loop."""
        return loops.run_sync(lambda: self.aclassify(texts), method="classify()")

    def generate(self, request: str | Message | Sequence[Message] | Request, /) -> Response:
        """`agenerate`, for code without an event loop; takes a plain text or messages, too."""
        asked = Request.of(request)
        return loops.run_sync(lambda: self.agenerate(asked), method="generate()")

    def stream(self, request: str | Message | Sequence[Message] | Request, /) -> Iterator[Chunk]:
        """`astream`, for code without an event loop; takes a plain text or messages, too."""
        asked = Request.of(request)
        return loops.stream_sync(lambda: self.astream(asked), method="stream()")

    def __del__(self) -> None:
        # Only engines that hold something real (sockets, processes) set `_opened`, so only they warn.
        if self._opened:
            self._opened = False
            with contextlib.suppress(Exception):
                warnings.warn(
                    f"the engine {self.name!r} was not closed; use `with pipeline:` or `engine.close()`",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _counts(name: str) -> bool:
    return name not in HOW and not named_like_a_key(name)


def _made_again(cls: type[Engine], args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Engine:
    engine = cls(*args, **kwargs)
    if engine.name != name:  # a router had given it another one
        engine.name = name
    return engine


def chunks_of(response: Response) -> Iterator[Chunk]:
    """A whole response as the chunks of a stream: one for each choice; the last one carries the usage."""
    last = len(response.choices) - 1
    for index, choice in enumerate(response.choices):
        yield Chunk(
            text=choice.text,
            index=index,
            tool_calls=choice.tool_calls,
            finish_reason=choice.finish_reason,
            usage=response.usage if index == last else None,
            model=response.model,
            engine=response.engine,
            id=response.id,
            reasoning=choice.reasoning or "",
            logprobs=choice.logprobs,
            token_ids=choice.token_ids,
            cost_usd=response.cost_usd if index == last else None,
            cached=response.cached,
            rate_limit=response.rate_limit if index == 0 else None,
        )


async def response_of(chunks: AsyncIterator[Chunk], engine: str) -> Response:
    """Join the chunks of a stream into the response that they are pieces of."""
    joiner = ChunkJoiner()
    async for chunk in chunks:
        joiner.add(chunk)
    return joiner.response(engine)
