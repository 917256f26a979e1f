"""Counters: the tokens of texts, and of whole requests."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llmops_sdk.costs import TOKENS_PER_IMAGE
from llmops_sdk.messages import ImagePart, Message, Request

__all__ = ["ChatCounter", "Counted", "Counter", "Overhead"]

_MOST_REMEMBERED = 4_000_000


class Counted(NamedTuple):
    """Tokens of a request; `doubt` says why they may be others, `None` where they are exact."""

    tokens: int
    doubt: str | None = None


class Overhead(NamedTuple):
    """What a chat template adds that nobody here has read.

    Attributes:
        message: Tokens for each message: its role and the marks around it.
        request: Tokens once, for the beginning and for the answer's own opening.
        known: Whether this is what the model's maker states.
    """

    message: int
    request: int
    known: bool = False


class Counter:
    """Counts tokens, and remembers the counts of the last 4 million characters. May be shared between threads.

    Args:
        count: Tokens of a text.
        name: What counts.
        doubt: Why the counts of texts are not exact; `None` where a tokenizer counts.
        overhead: What is counted besides the texts of a request. By default more than the usual chat templates take.

    Attributes:
        name: What counts.
        doubt: See above.
    """

    def __init__(
        self,
        count: Callable[[str], int],
        *,
        name: str,
        doubt: str | None = None,
        overhead: Overhead = Overhead(6, 8),  # noqa: B008  (a tuple)
    ) -> None:
        self.fresh = count
        self.name = name
        self.doubt = doubt
        self._overhead = overhead
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    @property
    def exact(self) -> bool:
        """Whether a tokenizer counts, and nobody estimates."""
        return self.doubt is None

    def text(self, text: str) -> int:
        """Tokens of `text`; at once where it was counted before."""
        with self._lock:
            known = self._counts.get(text)
            if known is not None:
                self._counts.move_to_end(text)
                return known
        tokens = self.fresh(text)
        with self._lock:
            if text not in self._counts:
                self._characters += len(text)
                self._counts[text] = tokens
            while self._characters > _MOST_REMEMBERED:
                self._characters -= len(self._counts.popitem(last=False)[0])
        return tokens

    def request(self, request: Request) -> Counted:
        """Tokens of all that `request` puts before the model."""
        return self._by_texts(request, self.doubt)

    def prefix(self, request: Request) -> int:
        """Tokens from the first one to the end of the last message's text: what a request that begins so shares."""
        closing = 1  # the mark that ends the last message
        tokens = self._by_texts(request, None).tokens - self._overhead.request - closing
        return max(tokens, 0)

    def messages(self, messages: Sequence[Message]) -> int:
        """Tokens that some messages take among others, by their texts."""
        per_message = self._overhead.message
        tokens = 0
        for message in messages:
            tokens += per_message + self.text(message.text) + TOKENS_PER_IMAGE * _images(message)
            if message.name:
                tokens += 1 + self.text(message.name)
            for call in message.tool_calls:
                tokens += per_message + self.text(call.name) + self.text(call.arguments)
        return tokens

    def _by_texts(self, request: Request, doubt: str | None) -> Counted:
        tokens = self._overhead.request + self.messages(request.messages)
        for told in (request.tools, request.response_schema):
            if told:
                tokens += self.text(json.dumps(told, default=str))
        return Counted(tokens, doubt or self._doubt_about(request))

    def _doubt_about(self, request: Request) -> str | None:
        if not self._overhead.known:
            assumed = self._overhead.message
            return f"the chat template is not known: {assumed} tokens are assumed for each message"
        if request.tools or request.response_schema or any(message.tool_calls for message in request.messages):
            return "how the model is told of tools and schemas is not known"
        return _doubt_about_images(request)


class ChatCounter(Counter):
    """Counts by a tokenizer that has its model's chat template, as transformers loads it: requests are exact, too.

    Args:
        tokenizer: Has `apply_chat_template`, and a template.
        count: Tokens of a text by that tokenizer.
        name: What counts.
    """

    def __init__(self, tokenizer: Any, count: Callable[[str], int], *, name: str) -> None:
        super().__init__(count, name=name)
        self._tokenizer = tokenizer

    def request(self, request: Request) -> Counted:
        """Tokens of the prompt that the chat template makes of `request`."""
        try:
            text = self._templated(request, answering=not request.continues)
        except Exception as exc:  # noqa: BLE001  (templates raise what they like)
            problem = str(exc).partition("\n")[0][:200]
            return self._by_texts(request, f"the chat template refuses these messages: {problem}")
        images = sum(map(_images, request.messages))
        return Counted(self.text(text) + images * TOKENS_PER_IMAGE, _doubt_about_images(request))

    def prefix(self, request: Request) -> int:
        """Tokens from the first one to the end of the last message's text: what a request that begins so shares."""
        *before, last = request.messages
        end = "\ue000"  # a character for private use: no template and no text has it
        marked = request.with_messages([*before, Message(role=last.role, content=last.text + end)])
        try:
            text = self._templated(marked, answering=False).partition(end)[0]
        except Exception:  # noqa: BLE001  (templates raise what they like)
            return super().prefix(request)
        return self.text(text)

    def _templated(self, request: Request, *, answering: bool) -> str:
        told = {"add_generation_prompt": answering, **request.extra.get("chat_template_kwargs", {})}
        if request.continues:
            told["continue_final_message"] = True
        if request.tools and request.tool_choice != "none":
            told["tools"] = [dict(tool) for tool in request.tools]
        text: str = self._tokenizer.apply_chat_template(_plain(request.messages), tokenize=False, **told)
        return text


def _images(message: Message) -> int:
    return 0 if isinstance(message.content, str) else sum(isinstance(one, ImagePart) for one in message.content)


def _doubt_about_images(request: Request) -> str | None:
    return f"{TOKENS_PER_IMAGE:,} tokens are assumed for each image" if any(map(_images, request.messages)) else None


def _plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as chat templates want them."""
    plain = []
    for message in messages:
        one: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.tool_calls:
            one["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _read(call.arguments)}}
                for call in message.tool_calls
            ]
        if message.tool_call_id:
            one["tool_call_id"] = message.tool_call_id
        if message.name:
            one["name"] = message.name
        plain.append(one)
    return plain


def _read(arguments: str) -> Mapping[str, Any] | str:
    try:
        read = json.loads(arguments)
    except ValueError:
        return arguments
    return read if isinstance(read, dict) else arguments
