"""Which answer a fault server gives to a request: its script, rendered once for requests that come again."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from llmops_sdk.testing._faults import Behaviour, Reply, Script, Status, behaviour_of
from llmops_sdk.testing._wire import ANSWER_ID, Rendered, at_once, embeddings, json_answer, moderations, render, words
from llmops_sdk.testing._wire_anthropic import message_refusal, message_words, render_message

__all__ = ["Answers", "SeenRequest", "refusal"]

_CACHED = 4096
"""Most answers that are kept as bytes, for requests that come again."""

_CACHED_BODY = 4096
"""Most bytes of a request whose answer is kept."""

_MODERATIONS = "/v1/moderations"
_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"
_ASKED = {"/v1/chat/completions", _MESSAGES, _COUNT}
"""Where requests with `messages` go: those of the OpenAI API, and those of Anthropic's."""

_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)


class SeenRequest:
    """A request as the server received it.

    Attributes:
        method: `"POST"`, `"GET"`.
        path: `"/v1/chat/completions"`, with the query if there was one.
        body: The body's bytes.
        at: When it was complete, in seconds of `time.perf_counter()`.
        disconnected: Whether the client went away before the answer was complete.
    """

    __slots__ = ("_head", "at", "body", "disconnected", "method", "path")

    def __init__(self, head: bytes, body: bytes) -> None:
        self._head = head
        first = head[: head.find(b"\r\n")].decode("latin-1").split(" ")
        self.method = first[0]
        self.path = first[1] if len(first) > 1 else ""
        self.body = body
        self.at = time.perf_counter()
        self.disconnected = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case."""
        pairs = (line.partition(":") for line in self._head.decode("latin-1").split("\r\n")[1:] if line)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def json(self) -> Any:
        """The body, parsed.

        Raises:
            ValueError: It is no JSON.
        """
        return json.loads(self.body)

    @property
    def wants_close(self) -> bool:
        """Whether the client asked to close the connection after the answer."""
        return _CLOSE.search(self._head) is not None or b" HTTP/1.0\r\n" in self._head

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} {len(self.body)} bytes{' disconnected' if self.disconnected else ''}>"


class Answers:
    """The script of a server, and how far it has come."""

    def __init__(self, script: tuple[Script, ...], models: tuple[str, ...]) -> None:
        self._script = tuple(behaviour_of(given) for given in script) or (Reply(),)
        self._models = models
        self._next = 0
        self._cache: dict[tuple[int, str, bytes], bytes] = {}

    def to(self, request: SeenRequest) -> bytes | tuple[Rendered, Behaviour]:
        """The whole answer where it can be written at once, else what `steps` makes a plan of."""
        path = request.path.partition("?")[0]
        if path == "/v1/embeddings" and request.method == "POST":
            return _embedded(request)
        if path == _MODERATIONS and request.method == "POST":
            return _moderated(request)
        if path not in _ASKED:
            return self._fixed(path, request.method)
        if request.method != "POST":
            return refusal(405, f"{request.method} is not allowed for {path}", path)
        turn = self._next % len(self._script)
        key = (turn, path, request.body)
        cached = self._cache.get(key)
        if cached is not None:
            self._next += 1
            return cached.replace(ANSWER_ID, b"%012d" % self._next)
        try:
            asked = json.loads(request.body)
        except ValueError as exc:
            return refusal(400, f"the body is no JSON: {exc}", path)
        if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
            return refusal(400, "the body has to be an object with `messages`", path)
        if path == _COUNT:
            counted = json_answer(200, {"input_tokens": message_words(asked)})
            return counted.head + counted.pieces[0]
        if path == _MESSAGES and not isinstance(asked.get("max_tokens"), int):
            return refusal(400, "max_tokens: Field required", path)
        return self._completion(asked, key)

    def _completion(self, asked: dict[str, Any], key: tuple[int, str, bytes]) -> bytes | tuple[Rendered, Behaviour]:
        self._next += 1
        number = b"%012d" % self._next
        given = self._script[key[0]]
        behaviour = given if isinstance(given, Behaviour) else _called(given, asked)
        if key[1] == _MESSAGES:
            rendered = render_message(behaviour, asked, input_tokens=message_words(asked))
        else:
            rendered = render(behaviour, asked, input_tokens=words(asked["messages"]))
        data = at_once(rendered, behaviour)
        if data is None:
            pieces = tuple(piece.replace(ANSWER_ID, number) for piece in rendered.pieces)
            return Rendered(rendered.head.replace(ANSWER_ID, number), pieces, *rendered[2:]), behaviour
        if behaviour is given and len(key[2]) <= _CACHED_BODY:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[key] = data
        return data.replace(ANSWER_ID, number)

    def _fixed(self, path: str, method: str) -> bytes:
        if path in {"/v1/embeddings", _MODERATIONS}:
            return refusal(405, f"{method} is not allowed for {path}")
        if path not in {"/v1/models", "/health"}:
            there = ", ".join([*sorted(_ASKED), "/v1/embeddings", "/v1/models", _MODERATIONS])
            return refusal(404, f"nothing is served at {path}; there are {there} and /health", path)
        if method not in {"GET", "HEAD"}:
            return refusal(405, f"{method} is not allowed for {path}")
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "llmops_sdk"} for name in self._models]
        answer = json_answer(200, {"object": "list", "data": models} if path == "/v1/models" else {"status": "ok"})
        return answer.head if method == "HEAD" else answer.head + answer.pieces[0]


def _embedded(request: SeenRequest) -> bytes:
    try:
        asked = request.json
    except ValueError as exc:
        return refusal(400, f"the body is no JSON: {exc}")
    size = asked.get("dimensions", 1) if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or "input" not in asked or not isinstance(size, int) or not 1 <= size <= 65536:
        return refusal(400, "the body has to be an object with `input`, and `dimensions` from 1 to 65536")
    rendered = embeddings(asked)
    return rendered.head + rendered.pieces[0]


def _moderated(request: SeenRequest) -> bytes:
    try:
        asked = request.json
    except ValueError as exc:
        return refusal(400, f"the body is no JSON: {exc}")
    if not isinstance(asked, dict) or "input" not in asked:
        return refusal(400, "the body has to be an object with `input`")
    rendered = moderations(asked)
    return rendered.head + rendered.pieces[0]


def _called(function: Callable[[dict[str, Any]], Any], asked: dict[str, Any]) -> Behaviour:
    try:
        behaviour = behaviour_of(function(asked))
    except Exception as exc:  # noqa: BLE001  (whatever it is, the author of the script has to see it: it is the answer)
        return Status(status=500, message=f"the script's function failed: {type(exc).__name__}: {exc}")
    if isinstance(behaviour, Behaviour):
        return behaviour
    return Status(status=500, message="the script's function gave another function; it has to give a behaviour")


def refusal(status: int, message: str, path: str = "") -> bytes:
    """A whole answer that refuses a request to `path`."""
    refused = Status(status=status, message=message)
    rendered = message_refusal(refused) if path.startswith(_MESSAGES) else render(refused, {}, input_tokens=0)
    return (rendered.head + rendered.pieces[0]).replace(ANSWER_ID, b"%012d" % 0)
