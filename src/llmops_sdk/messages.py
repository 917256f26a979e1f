"""What travels between the rooms: the messages sent to a model and the answers that come back.

All records are frozen: a station on the line makes a new one instead of changing what another station holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llmops_sdk.usage import RateLimit, TokenClasses, Usage

if TYPE_CHECKING:
    from llmops_sdk.calls import Call

__all__ = [
    "Choice",
    "Chunk",
    "ChunkJoiner",
    "Classification",
    "Document",
    "FinishReason",
    "ImagePart",
    "Message",
    "Origin",
    "Part",
    "PromptRef",
    "RateLimit",
    "Request",
    "Response",
    "Role",
    "StreamRestarted",
    "TextPart",
    "TokenClasses",
    "TokenLogprob",
    "ToolCall",
    "Usage",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a stretch of a message's text came from.

    `start` and `end` are half-open offsets in code points of the message's text; `source` is
    `"variable:name"`, `"tool:name"` or `"document:id"`; `trusted` says whether the application vouches for it.
    """

    start: int
    end: int
    source: str
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text that was retrieved for a prompt, with the name by which its store knows it.

    Given as a prompt's variable, alone or in a list, its text stands in the prompt, and guards know that it came from
    `"document:id"`, which nobody vouches for unless `trusted` is true.
    """

    id: str
    text: str
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """A stretch of text among other parts."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """An image, by URL (`https:` or `data:`)."""

    url: str
    detail: str | None = None


Part: TypeAlias = TextPart | ImagePart


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model's wish to have a tool called; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        content: The text, or a tuple of parts where there is more than text.
        tool_calls: What an assistant asked for.
        tool_call_id: On a `tool` message: the call that it answers.
        name: Name of the tool or the speaker.
        origins: Where stretches of a text content came from, in order; text outside them is the application's own.
    """

    role: Role
    content: str | tuple[Part, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    origins: tuple[Origin, ...] = ()

    @classmethod
    def system(cls, content: str) -> Message:
        """A `system` message."""
        return cls(role="system", content=content)

    @classmethod
    def user(cls, content: str | tuple[Part, ...]) -> Message:
        """A `user` message."""
        return cls(role="user", content=content)

    @classmethod
    def assistant(cls, content: str = "", *, tool_calls: tuple[ToolCall, ...] = ()) -> Message:
        """An `assistant` message."""
        return cls(role="assistant", content=content, tool_calls=tool_calls)

    @classmethod
    def tool(cls, content: str, *, tool_call_id: str, name: str | None = None) -> Message:
        """The answer of a tool; its whole text counts as untrusted."""
        origin = Origin(start=0, end=len(content), source=f"tool:{name or tool_call_id}")
        return cls(role="tool", content=content, tool_call_id=tool_call_id, name=name, origins=(origin,))

    @classmethod
    def rendered(cls, role: Role, content: str | tuple[Part, ...], origins: tuple[Origin, ...]) -> Message:
        """A message that says where its text came from; the quick way, for what renders one on every call."""
        made: Any = _UnfrozenMessage()
        made.role = role
        made.content = content
        made.tool_calls = ()
        made.tool_call_id = None
        made.name = None
        made.origins = origins
        made.__class__ = cls
        message: Message = made
        return message

    @property
    def text(self) -> str:
        """All text of the message, parts joined by nothing."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class _UnfrozenMessage:
    """A `Message` before it is frozen."""

    __slots__ = Message.__slots__


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRef:
    """Which prompt a request was rendered from: `name`, the `version` asked for, `commit` and content `hash`.

    `arm` is the name that the version has in a split, and `split` the name of that split.
    """

    name: str
    version: str | None = None
    commit: str | None = None
    hash: str | None = None
    arm: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an engine is asked.

    Attributes:
        messages: The conversation, oldest first; at least one.
        temperature: Sampling temperature, `0 <= temperature`; `None` leaves it to the engine.
        top_p: Nucleus sampling, `0 < top_p <= 1`.
        max_tokens: Most tokens to answer with, `>= 1`.
        stop: Texts at which the answer ends; they are not part of it.
        seed: Seed for sampling, where the engine can.
        n: Number of answers (choices), `>= 1`.
        tools: Tool definitions in the OpenAI form (JSON objects).
        tool_choice: `"auto"`, `"none"`, `"required"` or a JSON object that names one tool.
        response_schema: A JSON schema which the answer has to satisfy.
        logprobs: How many of the likeliest tokens to report at each place of the answer beside the one that was
            taken, `0 <= logprobs <= 20`; `None` asks for no log-probabilities at all.
        adapter: Name of the LoRA adapter to answer with.
        continues: Whether the answer is to continue the last message, an assistant's, with not a character between.
            Engines that cannot do so raise `UnsupportedError`.
        extra: Parameters for one kind of engine, passed through as they are, with that engine's own names.
        prompt: Which prompt this was rendered from.
        call: The run that this request belongs to: its deadline, its record; `None` when it has ended. Not part of
            what is asked: it takes no part in comparisons and pickles.
        traceparent: W3C trace context of the attempt that asks it; `None` where nothing is traced. No part of what is
            asked, either.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_schema: Mapping[str, Any] | None = None
    logprobs: int | None = None
    adapter: str | None = None
    continues: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    prompt: PromptRef | None = None
    call: Call | None = field(default=None, compare=False, repr=False)
    traceparent: str | None = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # A call holds hooks and live state of this process; the question itself travels without it.
        values = {name: getattr(self, name) for name in _REQUEST_FIELDS}
        return _rebuild_request, (values,)

    @classmethod
    def of(cls, messages: str | Message | Sequence[Message] | Request) -> Request:
        """A request from what people have in hand: a text (a user message), messages, or a request.

        Example:
            >>> Request.of("Hello").messages[0].role
            'user'
        """
        if isinstance(messages, Request):
            return messages
        if isinstance(messages, str):
            return cls(messages=(Message.user(messages),))
        if isinstance(messages, Message):
            return cls(messages=(messages,))
        return cls(messages=tuple(messages))

    def bind(self, call: Call) -> None:
        """Make this very request part of a run; for whoever made it and has not yet shown it to anybody."""
        object.__setattr__(self, "call", call)

    def bound_to(self, call: Call) -> Request:
        """The same request as part of a run."""
        bound = self._unfrozen()
        bound.call = call
        bound.__class__ = Request
        request: Request = bound
        return request

    def _unfrozen(self) -> Any:
        # On every call: field by field into something that is not frozen yet costs a tenth of `dataclasses.replace`.
        copied: Any = _Unfrozen()
        copied.messages = self.messages
        copied.temperature = self.temperature
        copied.top_p = self.top_p
        copied.max_tokens = self.max_tokens
        copied.stop = self.stop
        copied.seed = self.seed
        copied.n = self.n
        copied.tools = self.tools
        copied.tool_choice = self.tool_choice
        copied.response_schema = self.response_schema
        copied.logprobs = self.logprobs
        copied.adapter = self.adapter
        copied.continues = self.continues
        copied.extra = self.extra
        copied.prompt = self.prompt
        copied.call = self.call
        copied.traceparent = self.traceparent
        return copied

    def asked_by(self, attempt: str, call: Call) -> Request:
        """The same request of `call`, as it is asked by the attempt whose W3C trace context is `attempt`."""
        request = self.bound_to(call)
        object.__setattr__(request, "traceparent", attempt)
        return request

    @property
    def trace_headers(self) -> dict[str, str]:
        """What an engine sends on, so that what others trace of their work hangs below ours; empty without a trace.

        The names are those of W3C, <https://www.w3.org/TR/trace-context/>: `traceparent`, and `tracestate` where the
        trace has one. The parent is the attempt; else, for who asks beside the run's attempts, the run.
        """
        call = self.call
        if call is None:
            return {} if self.traceparent is None else {"traceparent": self.traceparent}
        parent = self.traceparent or call.traceparent
        if parent is None:
            return {}
        return (
            {"traceparent": parent}
            if call.tracestate is None
            else {"traceparent": parent, "tracestate": call.tracestate}
        )

    def unbind(self) -> None:
        """Let go of the run, which has ended."""
        # Its record holds this request: the cycle would be work for the garbage collector.
        object.__setattr__(self, "call", None)

    def with_messages(self, messages: Sequence[Message]) -> Request:
        """The same request about other messages."""
        other = self._unfrozen()
        other.messages = tuple(messages)
        other.__class__ = Request
        request: Request = other
        return request


class _Unfrozen:
    """A `Request` before it is frozen."""

    __slots__ = Request.__slots__


_REQUEST_FIELDS = tuple(one.name for one in fields(Request) if one.name not in {"call", "traceparent"})


def _rebuild_request(values: dict[str, Any]) -> Request:
    return Request(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """One token of an answer, and how likely the model found it.

    Attributes:
        token: Its text.
        logprob: Natural logarithm of its probability, `<= 0`.
        top: The likeliest tokens at this place with their log-probabilities, likeliest first.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer among the `n` that were asked for.

    Attributes:
        text: The answer.
        tool_calls: What the model wants to have called.
        finish_reason: Why it ended.
        reasoning: What the model thought before it answered, where the engine tells the two apart.
        logprobs: The tokens of the answer with their log-probabilities, where the request asked for them.
        token_ids: The tokens of the answer as the model's numbers, where the engine knows them.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    reasoning: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer.

    Attributes:
        choices: As many as the request's `n`, in order; at least one.
        usage: Tokens, `None` when the engine did not say.
        model: The model that answered, as it names itself.
        engine: Name of the engine that answered.
        id: The engine's id of the answer.
        cost_usd: US dollars as the engine itself says; used only where the price table knows no price and the provider
            does not say what it charges (`usage.billed_usd`).
        cached: Whether a cache answered. The run was booked no tokens and no cost then; `usage` and `cost_usd` say what
            the answer took when it was made.
        rate_limit: What the provider says of its own limits.
    """

    choices: tuple[Choice, ...]
    usage: Usage | None = None
    model: str | None = None
    engine: str | None = None
    id: str | None = None
    cost_usd: Decimal | None = None
    cached: bool = False
    rate_limit: RateLimit | None = None

    @property
    def text(self) -> str:
        """Text of the first choice."""
        return self.choices[0].text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Tool calls of the first choice."""
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the first choice ended."""
        return self.choices[0].finish_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What a classification model says of a text.

    Attributes:
        label: The likeliest label, by the model's own name.
        score: Its probability, `0 <= score <= 1`.
        scores: Every label with its probability, in the model's order.
    """

    label: str
    score: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        text: What is new since the last chunk of this choice; may be empty.
        index: Which choice it belongs to, `0 <= index < n`.
        tool_calls: Tool calls that are now complete (engines join the pieces before they hand a call on).
        finish_reason: Set on the last chunk of a choice.
        usage: Set on one chunk, near the end, when the engine counts.
        model: The model that answers, as it names itself.
        engine: Name of the engine; a router sets it, so that a change in mid-stream can be seen.
        id: The engine's id of the answer.
        reasoning: What is new of the model's thoughts; may be empty.
        logprobs: The tokens behind `text`, where the request asked for them.
        token_ids: The same as the model's numbers, where the engine knows them.
        cost_usd: What the whole answer cost, as the engine itself says; comes with `usage`.
        cached: Whether it comes from a cache; see `Response`.
        rate_limit: What the provider says of its own limits; comes with the first chunk.
    """

    text: str = ""
    index: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    engine: str | None = None
    id: str | None = None
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    token_ids: tuple[int, ...] = ()
    cost_usd: Decimal | None = None
    cached: bool = False
    rate_limit: RateLimit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRestarted(Chunk):
    """A choice of a stream begins anew: its chunks so far no longer hold, and the ones that follow are all of it.

    A router sends one when a stream broke and the engine that answered from the start gave another answer. Whoever
    shows a stream while it comes has to take back `withdrawn`, the text so far of the choice `index`.
    """

    withdrawn: str


class ChunkJoiner:
    """Joins the chunks of a stream into the response that they are pieces of. Memory: the text, once."""

    __slots__ = ("_choices", "cached", "cost_usd", "engine", "id", "model", "rate_limit", "usage")

    def __init__(self) -> None:
        self._choices: dict[int, _JoinedChoice] = {}
        self.usage: Usage | None = None
        self.cost_usd: Decimal | None = None
        self.cached = False
        self.model: str | None = None
        self.engine: str | None = None
        self.id: str | None = None
        self.rate_limit: RateLimit | None = None

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        choice = self._choices.get(chunk.index)
        if choice is None or chunk.__class__ is StreamRestarted:
            choice = self._choices[chunk.index] = _JoinedChoice()
        choice.add(chunk)
        self.cached = chunk.cached  # of the last: whoever was there first may have left, and another run pays
        if chunk.usage is not None:
            self.usage, self.cost_usd = chunk.usage, chunk.cost_usd
        if chunk.rate_limit is not None:
            self.rate_limit = chunk.rate_limit
        if chunk.engine is not None:
            self.engine = chunk.engine
        if chunk.model is not None:
            self.model = chunk.model
        if chunk.id is not None:
            self.id = chunk.id

    def text(self, index: int = 0) -> str:
        """The text so far of one choice."""
        choice = self._choices.get(index)
        return "".join(choice.texts) if choice is not None else ""

    def choices(self) -> dict[int, Choice]:
        """What has been joined so far of each choice, by its index, in order."""
        return {index: one.choice() for index, one in sorted(self._choices.items())}

    def response(self, engine: str | None = None) -> Response:
        """What has been joined so far; without any chunk, one empty choice."""
        return Response(
            choices=tuple(self.choices().values()) or (Choice(),),
            usage=self.usage,
            model=self.model,
            engine=self.engine or engine,
            id=self.id,
            cost_usd=self.cost_usd,
            cached=self.cached,
            rate_limit=self.rate_limit,
        )


class _JoinedChoice:
    __slots__ = ("finish_reason", "logprobs", "reasoning", "texts", "token_ids", "tool_calls")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tool_calls: list[ToolCall] = []
        self.finish_reason: FinishReason | None = None
        self.reasoning: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.token_ids: list[int] = []

    def add(self, chunk: Chunk) -> None:
        if chunk.text:
            self.texts.append(chunk.text)
        if chunk.tool_calls:
            self.tool_calls.extend(chunk.tool_calls)
        if chunk.reasoning:
            self.reasoning.append(chunk.reasoning)
        if chunk.logprobs:
            self.logprobs.extend(chunk.logprobs)
        if chunk.token_ids:
            self.token_ids.extend(chunk.token_ids)
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason

    def choice(self) -> Choice:
        return Choice(
            text="".join(self.texts),
            tool_calls=tuple(self.tool_calls),
            finish_reason=self.finish_reason,
            reasoning="".join(self.reasoning) or None,
            logprobs=tuple(self.logprobs),
            token_ids=tuple(self.token_ids),
        )
