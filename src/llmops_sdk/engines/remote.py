"""Any OpenAI-compatible endpoint without a vendor's SDK: OpenAI, vLLM, TensorRT-LLM, SGLang, llama.cpp, Ollama.

Wire format: https://platform.openai.com/docs/api-reference/chat (chat completions and their stream).
"""

from __future__ import annotations

import array
import base64
import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

import orjson

from llmops_sdk import environment, loops
from llmops_sdk.engines._base_url import BaseUrl, shown_url
from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._continuing import check_continues, continues_not
from llmops_sdk.engines._usage import openai_usage
from llmops_sdk.engines.endpoint import Endpoint
from llmops_sdk.errors import BadRequestError, ConfigurationError, EngineError, InvalidResponseError, NotFoundError
from llmops_sdk.messages import Choice, Chunk, FinishReason, Request, Response, TokenLogprob, ToolCall, Usage
from llmops_sdk.protocols import Capabilities

__all__ = ["Embeddings", "Model", "Moderation", "Remote", "ServerLoad", "open_engine"]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}

_NOTHING: dict[str, Any] = {}

_SENT_IF_GIVEN = ("temperature", "top_p", "stop", "seed", "tools", "tool_choice")
"""Parameters that go out under the name that they have in `Request`."""

_OPENAI = "api.openai.com"
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com")
_DEPLOYMENTS = "/openai/deployments/"
_NO_HEALTH = frozenset({400, 404, 405, 501})
"""How servers say that they have no `/health`."""


_LOAD = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "cache",
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:token_usage": "cache",
}
"""Metric -> what it says; the text format of Prometheus."""
_METRIC = re.compile(rf"^({'|'.join(_LOAD)})(?:\{{.*\}})? (\d{{1,15}}(?:\.\d{{1,20}})?(?:e-\d\d)?)\s*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that an endpoint serves.

    Attributes:
        id: What to ask for.
        owned_by: Whose it is, in the endpoint's words.
        window: Most tokens of a prompt and its answer together, where the endpoint says so (vLLM does).
        parent: The base model of a LoRA adapter (vLLM).
    """

    id: str
    owned_by: str | None = None
    window: int | None = None
    parent: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerLoad:
    """What a server is doing at this moment, all its engines together.

    Attributes:
        running: Requests that are being answered.
        waiting: Requests that wait for their turn.
        kv_cache_use: How full the fullest KV cache is, `0 <= kv_cache_use <= 1`; `None` where the server does not say.
    """

    running: int
    waiting: int
    kv_cache_use: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """Vectors of texts.

    Attributes:
        vectors: In the order of the texts; shape `(len(texts), dimensions)`.
        usage: Tokens of all batches; `None` when the endpoint did not say.
        model: The model that answered, as it names itself.
    """

    vectors: list[list[float]]
    usage: Usage | None = None
    model: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Moderation:
    """What a moderation endpoint says of a text.

    Attributes:
        flagged: The categories in which the endpoint calls it a violation, by thresholds of its own.
        scores: How sure the endpoint is, for each category, `0 <= score <= 1`.
    """

    flagged: tuple[str, ...]
    scores: Mapping[str, float]


class Remote(Endpoint):
    """An OpenAI-compatible endpoint.

    A request with `continues=True` goes out with `continue_final_message` and without `add_generation_prompt`, in the
    words of vLLM and SGLang. llama.cpp and Ollama continue a last message of the assistant's by themselves. A server
    that knows neither answers from the start, without a word; so a router resumes streams only where you vouch for it:
    `Leg(engine, capabilities=Capabilities(continues=True))`. OpenAI's own API cannot do it.

    Args:
        base_url: `"https://host:port/v1"`, the URL below which `/chat/completions` is. For Azure, that of a deployment:
            `"https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT?api-version=..."`.
        model: The model to ask for.
        api_key: Sent as a bearer token, or as `key_header` says; never shown in reprs, logs or errors.
        name: Name of the engine; by default `model@host:port`.
        provider: `gen_ai.provider.name` in traces.
        headers: Further headers for each request.
        key_header: Header that carries the key as it is, in place of `Authorization: Bearer`; by default `"api-key"`
            for a deployment on Azure.
        max_tokens_name: What `Request.max_tokens` is called. By default `"max_completion_tokens"` where `provider` is
            `"openai"`, whose newer models refuse the old name, and `"max_tokens"` elsewhere.
        usage_in_stream: Whether to ask for the token count at the end of a stream.
        dimensions: Length of the vectors of `aembed`, for models that can be asked for one.
        batch_size: Most texts in one request of `aembed`, `>= 1`.
        encoding_format: How vectors travel. `"base64"` is a quarter of the bytes and a fifth of the time to read
            (1,536 numbers: 45 us for 213); a server that ignores it is understood, one that refuses it needs `"float"`.
        options: All other options of `Endpoint`: `client`, `ssl_context`, `max_connections`, `connect_timeout_s`,
            `read_timeout_s`, `max_body`, `capabilities`.
    """

    incomplete: ClassVar[bool] = False
    path: ClassVar[str] = "/chat/completions"
    # OpenAI itself begins a new answer after an assistant's message.
    of_service: ClassVar[Mapping[str, Capabilities]] = {
        _OPENAI: Capabilities(tools=True, json_schema=True, continues=False)
    }

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        name: str | None = None,
        provider: str = "openai",
        headers: Mapping[str, str] | None = None,
        key_header: str | None = None,
        max_tokens_name: Literal["max_tokens", "max_completion_tokens"] | None = None,
        usage_in_stream: bool = True,
        dimensions: int | None = None,
        batch_size: int = 256,
        encoding_format: Literal["base64", "float"] = "base64",
        **options: Any,
    ) -> None:
        url = BaseUrl.of(base_url)
        if key_header is None and url.host.endswith(_AZURE) and _DEPLOYMENTS in url.path:
            key_header = "api-key"
        key = {}
        if api_key:
            key = {key_header: api_key} if key_header else {"authorization": f"Bearer {api_key}"}
        super().__init__(
            base_url, model=model, name=name, provider=provider, headers={**key, **(headers or {})}, **options
        )
        if batch_size < 1 or (dimensions is not None and dimensions < 1):
            raise ConfigurationError(f"`batch_size={batch_size}`, `dimensions={dimensions}`: write at least 1")
        self._usage_in_stream = usage_in_stream
        self._max_tokens = max_tokens_name or ("max_completion_tokens" if provider == "openai" else "max_tokens")
        self._dimensions = dimensions
        self._batch_size = batch_size
        self._encoding_format = encoding_format
        if provider == "openai" and url.host == _OPENAI and not api_key:
            self.missing_key = "no key for the OpenAI API: pass `api_key=` or set OPENAI_API_KEY"

    # Beside chat

    async def amodels(self) -> list[Model]:
        """The models that the endpoint serves, adapters among them.

        Raises:
            EngineError: One of its subclasses.
        """
        answer = await self.ask("GET", "/models")
        try:
            return [_model(row) for row in answer["data"]]
        except (LookupError, TypeError, AttributeError) as exc:
            raise self._no_such_answer("list of models", exc) from exc

    async def ahealth(self) -> bool:
        """`True` if the endpoint is there and ready: by `/health` beside `/v1`, or else by its list of models.

        Raises:
            EngineError: It is not; one of its subclasses says why.
        """
        try:
            await self.ask_for_bytes("GET", "/health", beside=True)
        except EngineError as exc:
            if exc.status_code not in _NO_HEALTH:
                raise
            await self.amodels()
        return True

    async def aload(self) -> ServerLoad:
        """How busy a vLLM or SGLang server is, from its `/metrics` beside `/v1`.

        Raises:
            EngineError: One of its subclasses; `InvalidResponseError` where the metrics are those of something else.
        """
        text = (await self.ask_for_bytes("GET", "/metrics", beside=True)).decode("utf-8", "replace")
        found: dict[str, list[float]] = {"running": [], "waiting": [], "cache": []}
        for metric, value in _METRIC.findall(text):
            found[_LOAD[metric]].append(float(value))
        if not found["running"] or not found["waiting"]:
            raise InvalidResponseError(
                "the endpoint's `/metrics` are none of vLLM's or SGLang's", engine=self.name, model=self.model
            )
        return ServerLoad(
            running=int(sum(found["running"])),
            waiting=int(sum(found["waiting"])),
            kv_cache_use=max(found["cache"], default=None),
        )

    async def aload_adapter(self, name: str, path: str) -> None:
        """Have a vLLM server load a LoRA adapter from a folder of its own machine; requests ask for it by `name`.

        The server has to run with `--enable-lora` and `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`.

        Raises:
            EngineError: One of its subclasses; `NotFoundError` where adapters cannot be loaded while it runs.
        """
        await self._adapter("/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})

    async def aunload_adapter(self, name: str) -> None:
        """Have a vLLM server forget an adapter; see `aload_adapter`."""
        await self._adapter("/unload_lora_adapter", {"lora_name": name})

    async def _adapter(self, path: str, asked: dict[str, str]) -> None:
        try:
            await self.ask_for_bytes("POST", path, asked)
        except NotFoundError as exc:
            exc.add_note(
                "vLLM's server loads adapters while it runs only with `--enable-lora` and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment"
            )
            raise

    def models(self) -> list[Model]:
        """`amodels`, for code without an event loop."""
        return loops.run_sync(self.amodels, method="models()")

    def health(self) -> bool:
        """`ahealth`, for code without an event loop."""
        return loops.run_sync(self.ahealth, method="health()")

    def load_adapter(self, name: str, path: str) -> None:
        """`aload_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.aload_adapter(name, path), method="load_adapter()")

    def unload_adapter(self, name: str) -> None:
        """`aunload_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.aunload_adapter(name), method="unload_adapter()")

    # Embeddings

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """See `Engine.aembed`; at most `batch_size` texts go out at once."""
        return (await self.aembeddings(texts)).vectors

    async def aembeddings(self, texts: Sequence[str], /) -> Embeddings:
        """`aembed`, with the tokens that it took.

        Raises:
            EngineError: One of its subclasses.
        """
        if isinstance(texts, str):
            raise BadRequestError("`texts` is one text; write a list of texts", engine=self.name, model=self.model)
        vectors: list[list[float]] = []
        usage: Usage | None = None
        model = None
        for start in range(0, len(texts), self._batch_size):
            batch = texts[start : start + self._batch_size]
            asked: dict[str, Any] = {
                "model": self.model,
                "input": list(batch),
                "encoding_format": self._encoding_format,
            }
            if self._dimensions is not None:
                asked["dimensions"] = self._dimensions
            answer = await self.ask("POST", "/embeddings", asked)
            try:
                vectors += _vectors(answer["data"], len(batch))
                counted = openai_usage(answer.get("usage"))
                model = answer.get("model")
            except (LookupError, TypeError, ValueError, AttributeError) as exc:
                raise self._no_such_answer("embeddings", exc) from exc
            usage = counted if usage is None or counted is None else usage + counted
        return Embeddings(vectors=vectors, usage=usage, model=model)

    async def amoderate(self, texts: Sequence[str], /) -> list[Moderation]:
        """What the endpoint's moderation model says of each of `texts`, in order.

        https://platform.openai.com/docs/api-reference/moderations

        Raises:
            EngineError: One of its subclasses; `NotFoundError` where the endpoint has no moderation.
        """
        if isinstance(texts, str):
            raise BadRequestError("`texts` is one text; write a list of texts", engine=self.name, model=self.model)
        answer = await self.ask("POST", "/moderations", {"model": self.model, "input": list(texts)})
        try:
            said = [_moderation(row) for row in answer["results"]]
            if len(said) != len(texts):
                raise LookupError(f"{len(said)} moderations for {len(texts)} texts")
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            raise self._no_such_answer("moderations", exc) from exc
        return said

    def _no_such_answer(self, what: str, exc: Exception) -> InvalidResponseError:
        said = self._keys.hidden(f"{type(exc).__name__}: {exc}")[:500]
        return InvalidResponseError(
            f"the endpoint's answer holds no {what} ({said})", engine=self.name, model=self.model
        )

    # Chat

    def asked(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """See `Endpoint.asked`."""
        asked: dict[str, Any] = {
            "model": request.adapter or self.model,
            "messages": chat_messages(request.messages),
        }
        for name in _SENT_IF_GIVEN:
            value = getattr(request, name)
            if value is not None and value != ():
                asked[name] = value
        if request.max_tokens is not None:
            asked[self._max_tokens] = request.max_tokens
        if request.n != 1:
            asked["n"] = request.n
        if request.logprobs is not None:
            asked["logprobs"] = True
            if request.logprobs:
                asked["top_logprobs"] = request.logprobs
        if request.response_schema is not None:
            schema = {"name": "answer", "strict": True, "schema": request.response_schema}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.continues:
            self._check_continues(request)
            asked["add_generation_prompt"], asked["continue_final_message"] = False, True
        if stream:
            asked["stream"] = True
            if self._usage_in_stream:
                asked["stream_options"] = {"include_usage": True}
        if request.extra:
            asked.update(request.extra)
        return asked

    def _check_continues(self, request: Request) -> None:
        check_continues(request, engine=self.name, model=self.model)
        if self.provider == "openai":
            raise continues_not("OpenAI's API begins a new message always", engine=self.name, model=self.model)

    def error_of(self, error: Any, status: int, headers: Mapping[str, str]) -> EngineError:
        """See `Endpoint.error_of`."""
        found = super().error_of(error, status, headers)
        if isinstance(found, NotFoundError):
            found.add_note(
                "`await engine.amodels()` lists the models and adapters that the endpoint serves"
                if self._base_path
                else "the base URL has no path; most servers answer below `/v1`: write `http://host:port/v1`"
            )
        return found

    def response(self, answer: dict[str, Any]) -> Response:
        """See `Endpoint.response`."""
        choices = []
        for choice in answer["choices"]:
            message = choice["message"]
            calls = message.get("tool_calls")
            refusal = message.get("refusal")
            logprobs = choice.get("logprobs")
            token_ids = choice.get("token_ids")
            thought = message.get("reasoning_content") or message.get("reasoning")
            choices.append(
                Choice(
                    text=_text(message.get("content")) or _text(refusal),
                    tool_calls=tuple(_tool_call(one) for one in calls) if calls else (),
                    finish_reason="content_filter" if refusal else _FINISH.get(choice.get("finish_reason")),
                    reasoning=_text(thought) if thought else None,
                    logprobs=_logprobs(logprobs) if logprobs else (),
                    token_ids=tuple(token_ids) if token_ids else (),
                )
            )
        if not choices:
            raise LookupError("no choices")
        usage = openai_usage(answer.get("usage"), service_tier=answer.get("service_tier"))
        return Response(
            choices=tuple(choices),
            usage=usage,
            model=answer.get("model") or self.model,
            engine=self.name,
            id=answer.get("id"),
            cost_usd=None if usage is None else usage.billed_usd,
        )

    def reader(self) -> _Reader:
        """See `Endpoint.reader`."""
        return _Reader(self)


class _Reader:
    """Reads the events of one stream; joins the pieces of tool calls. See `endpoint.StreamReader`."""

    def __init__(self, endpoint: Remote) -> None:
        self._endpoint = endpoint
        self._engine = endpoint.name
        self._calls: dict[tuple[int, int], list[str]] = {}
        self._refused: set[int] = set()
        self._tier: str | None = None
        self.complete = False
        self.ended = False

    def read(self, event: bytes, /) -> Chunk | None:
        if event == b"[DONE]":
            self.ended = True
            return None
        data = orjson.loads(event)
        choices = data.get("choices")
        if not choices:
            return self._beside(data)
        choice = choices[0]
        index = choice.get("index") or 0
        delta = choice.get("delta") or _NOTHING
        said = choice.get("finish_reason")
        text = delta.get("content") or ""
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        if "tool_calls" in delta or "refusal" in delta:
            text += self._called_or_refused(index, delta)
        logprobs, token_ids = choice.get("logprobs"), choice.get("token_ids")
        if said is None and not (text or thought or logprobs or token_ids):
            return None
        if type(text) is not str or type(thought) is not str or type(index) is not int:
            raise TypeError("`content`, `reasoning` or `index` of a chunk has the wrong type")
        if said is None and not (thought or logprobs or token_ids):  # nearly all of them: this costs half
            return Chunk(text=text, index=index, model=data.get("model"), engine=self._engine, id=data.get("id"))
        chunk: dict[str, Any] = {"text": text, "index": index}
        if thought:
            chunk["reasoning"] = thought
        if logprobs:
            chunk["logprobs"] = _logprobs(logprobs)
        if token_ids:
            chunk["token_ids"] = tuple(token_ids)
        if said is not None:
            self.complete = True
            chunk["finish_reason"] = "content_filter" if index in self._refused else _FINISH.get(said, "stop")
            chunk["tool_calls"] = self._joined(index)
            chunk["usage"] = usage = self._counted(data)
            chunk["cost_usd"] = None if usage is None else usage.billed_usd
        return Chunk(model=data.get("model"), engine=self._engine, id=data.get("id"), **chunk)

    def _called_or_refused(self, index: int, delta: dict[str, Any]) -> str:
        """Keep the pieces of tool calls; the text of a refusal."""
        for piece in delta.get("tool_calls") or ():
            self._add(index, piece)
        refusal = _text(delta.get("refusal"))
        if refusal:
            self._refused.add(index)
        return refusal

    def _beside(self, data: dict[str, Any]) -> Chunk | None:
        """An event without text: the tokens, or an error in mid-stream."""
        if "error" in data:
            raise self._endpoint.error_of(data["error"], _status_of(data["error"]), {})
        if not data.get("usage") and data["choices"] != []:
            raise TypeError("`choices` is no list")
        counted = self._counted(data)
        if counted is None:
            return None
        return Chunk(usage=counted, model=data.get("model"), engine=self._engine, cost_usd=counted.billed_usd)

    def _counted(self, data: dict[str, Any]) -> Usage | None:
        self._tier = data.get("service_tier") or self._tier  # it may have come with the end of the text
        usage = data.get("usage") or (data.get("x_groq") or _NOTHING).get("usage")
        return openai_usage(usage, service_tier=self._tier)

    def _add(self, index: int, piece: dict[str, Any]) -> None:
        call = self._calls.setdefault((index, piece.get("index") or 0), ["", "", ""])
        function = piece.get("function") or {}
        call[0] = call[0] or piece.get("id") or ""
        call[1] += function.get("name") or ""
        call[2] += function.get("arguments") or ""

    def _joined(self, index: int) -> tuple[ToolCall, ...]:
        mine = sorted(key for key in self._calls if key[0] == index)
        calls = [self._calls.pop(key) for key in mine]  # an end that is told twice does not call the tools twice
        return tuple(ToolCall(id=i, name=n, arguments=a) for i, n, a in calls)


def open_engine(spec: str, *, model: str | None, api_key: str | None, name: str | None, **options: Any) -> Remote:
    """Open `"openai:MODEL"` or the URL of an endpoint; see `Engine.open`."""
    scheme, _, rest = spec.partition(":")
    if scheme == "openai":
        model = rest or model
        name = name or f"openai:{model}"
        api_key = api_key or environment.openai_api_key()
        base_url = options.pop("base_url", None) or environment.openai_base_url()
        if not model:
            raise ConfigurationError("which model? Write `Engine.open('openai:gpt-5-mini')`")
    else:
        base_url = spec
        options.setdefault("provider", "openai_compatible")
        model = model or _deployment(spec)
        if not model:
            raise ConfigurationError(f"which model? Write `Engine.open({shown_url(spec)!r}, model='...')`")
    try:
        return Remote(base_url, model=model, api_key=api_key, name=name, **options)
    except TypeError as exc:
        raise ConfigurationError(f"an endpoint does not take these options: {exc}; see `help(Remote)`") from exc


def _deployment(url: str) -> str | None:
    """The deployment that an Azure URL names, which stands for a model there."""
    _, found, rest = BaseUrl.of(url).path.partition(_DEPLOYMENTS)
    return unquote(rest.partition("/")[0]) if found and rest else None


def _text(content: Any) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"a text is {type(content).__name__}")
    return content


def _tool_call(call: dict[str, Any]) -> ToolCall:
    function = call["function"]
    return ToolCall(id=call.get("id") or "", name=_text(function["name"]), arguments=_text(function.get("arguments")))


def _logprobs(logprobs: dict[str, Any]) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            token=one["token"],
            logprob=one["logprob"],
            top=tuple((other["token"], other["logprob"]) for other in one.get("top_logprobs") or ()),
        )
        for one in logprobs.get("content") or ()
    )


def _status_of(error: Any) -> int:
    """The HTTP status that an error in mid-stream names, as vLLM's do; 500 for all others."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else 500


def _model(row: dict[str, Any]) -> Model:
    window = row.get("max_model_len")
    return Model(
        id=_text(row["id"]),
        owned_by=row.get("owned_by"),
        window=window if isinstance(window, int) else None,
        parent=row.get("parent"),
    )


def _moderation(row: dict[str, Any]) -> Moderation:
    scores = {name: float(score) for name, score in row["category_scores"].items()}
    flagged = tuple(name for name, is_so in row["categories"].items() if is_so)
    if not set(flagged) <= scores.keys():
        raise LookupError(f"no score for {sorted(set(flagged) - scores.keys())}")
    return Moderation(flagged=flagged, scores=scores)


def _vectors(rows: list[dict[str, Any]], expected: int) -> list[list[float]]:
    rows = sorted(rows, key=lambda row: row["index"])
    if [row["index"] for row in rows] != list(range(expected)):
        raise LookupError(f"{len(rows)} vectors for {expected} texts")
    return [_vector(row["embedding"]) for row in rows]


def _vector(embedding: Any) -> list[float]:
    if isinstance(embedding, str):
        numbers = array.array("f", base64.b64decode(embedding, validate=True))
        if sys.byteorder == "big":
            numbers.byteswap()  # it travels little-endian
        return numbers.tolist()
    if not isinstance(embedding, list) or not all(isinstance(number, float | int) for number in embedding):
        raise TypeError(f"an embedding is {type(embedding).__name__}")
    return embedding
