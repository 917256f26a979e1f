"""Cassettes: what an engine answered is recorded once, and replayed without opening a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from llmops_sdk.engines import Engine
from llmops_sdk.errors import CassetteError, ConfigurationError, LlmopsError
from llmops_sdk.messages import Chunk, Request, Response
from llmops_sdk.protocols import EngineLike
from llmops_sdk.testing._recording import (
    Recording,
    asked_of,
    chunk_of,
    error_of,
    error_record,
    record_of,
    response_of,
)
from llmops_sdk.testing._scrubbing import scrub_keys, scrub_value
from llmops_sdk.testing._tape import Tape

__all__ = ["Cassette"]


class Cassette:
    """A file of requests and what an engine made of them: responses, streams with their timings, and errors.

    Requests match when the model would see the same: messages, parameters and the engine's model; not the run that they
    belong to, nor the prompt that they come from. What was recorded several times for one request is replayed in that
    order, and the last of it again and again.

    Keys, tokens and headers are never written: every text goes through `scrub`, also the requests that are compared.

    Args:
        path: The file, in JSON lines; by custom `*.jsonl`.
        mode: `"replay"` never asks the engine. `"record"` asks it always, and replaces the file at the first answer.
            `"auto"` replays when the file exists, and records when it does not.
        speed: How fast streams and answers are replayed: 1.0 as recorded, 2.0 twice as fast; `None` (or 0) at once.
        scrub: Takes a text and returns it without secrets; applied to every text before it is written.

    Attributes:
        path: The file.
        recording: Whether engines are asked and recorded; `False` in replay.

    Raises:
        CassetteError: There is nothing to replay: no file, a broken line, or another version of the format.
        ConfigurationError: `mode` or `speed` make no sense.

    Example:
        >>> import tempfile
        >>> from llmops_sdk import Scripted
        >>> path = Path(tempfile.mkdtemp()) / "hello.jsonl"
        >>> Cassette(path).wrap(Scripted("Hello")).generate("Hi").text
        'Hello'
        >>> Cassette(path).wrap(Scripted("never asked")).generate("Hi").text
        'Hello'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Literal["replay", "record", "auto"] = "auto",
        speed: float | None = None,
        scrub: Callable[[str], str] = scrub_keys,
    ) -> None:
        if mode not in {"replay", "record", "auto"}:
            raise ConfigurationError(f"no mode is called {mode!r}; write 'replay', 'record' or 'auto'")
        if speed is not None and speed < 0:
            raise ConfigurationError(f"`speed` is {speed}; write 1.0 for the recorded timings, `None` for none")
        self.path = Path(path)
        self.recording = mode == "record" or (mode == "auto" and not self.path.exists())
        self._speed = speed or None
        self._scrub = scrub
        self._tape = Tape(self.path, recording=self.recording, scrub=scrub)

    def wrap(self, engine: EngineLike) -> Engine:
        """The engine with this cassette in front of it. In replay the engine itself is never asked."""
        if self.recording:
            return _Recorder(engine, self._tape, self._scrub)
        return _Player(engine, self._tape, self._scrub, self._speed)

    def __repr__(self) -> str:
        return f"<Cassette {str(self.path)!r} {'recording' if self.recording else 'replaying'}>"


class _Wrapped(Engine):
    """What passes for the engine."""

    def __init__(self, engine: EngineLike, tape: Tape, scrub: Callable[[str], str]) -> None:
        self._engine = engine
        self._tape = tape
        self._scrub = scrub
        self.name = engine.name
        self.model = getattr(engine, "model", None)
        self.provider = getattr(engine, "provider", "custom")

    def _asked(self, request: Request) -> dict[str, Any]:
        return asked_of(request, self.model, self._scrub)

    def _asked_to_embed(self, texts: Sequence[str]) -> dict[str, Any]:
        asked: dict[str, Any] = scrub_value({"model": self.model, "texts": list(texts)}, self._scrub)
        return asked

    async def aclose(self) -> None:
        close = getattr(self._engine, "aclose", None)
        if close is not None:
            await close()


class _Recorder(_Wrapped):
    """Asks the engine, and writes down what came."""

    async def agenerate(self, request: Request, /) -> Response:
        with _Take(self._tape, Recording(kind="response", asked=self._asked(request))) as take:
            response = await self._engine.agenerate(request)
            take.answer = record_of(response)
        return response

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        with _Take(self._tape, Recording(kind="stream", asked=self._asked(request), ended=False)) as take:
            started = time.perf_counter()
            chunks = self._engine.astream(request)
            try:
                async for chunk in chunks:
                    take.chunks.append((time.perf_counter() - started, record_of(chunk)))
                    yield chunk
                take.ended = True
            finally:
                close = getattr(chunks, "aclose", None)
                if close is not None:
                    await close()

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        if not isinstance(self._engine, Engine):
            return await super().aembed(texts)
        with _Take(self._tape, Recording(kind="embeddings", asked=self._asked_to_embed(texts))) as take:
            vectors = await self._engine.aembed(texts)
            take.answer = vectors
        return vectors


class _Player(_Wrapped):
    """Gives what was recorded, and never asks the engine."""

    def __init__(self, engine: EngineLike, tape: Tape, scrub: Callable[[str], str], speed: float | None) -> None:
        super().__init__(engine, tape, scrub)
        self._speed = speed

    async def agenerate(self, request: Request, /) -> Response:
        return response_of(await self._answer("response", self._asked(request)))

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        started = time.perf_counter()
        recording = self._tape.find("stream", self._asked(request))
        for at, chunk in recording.chunks:
            await self._pause(started, at)
            yield chunk_of(chunk)
        await self._pause(started, recording.duration_s)
        if recording.error is not None:
            raise error_of(recording.error)
        if not recording.ended:
            raise CassetteError(
                f"the cassette {str(self._tape.path)!r} holds only the first {len(recording.chunks)} chunks of this "
                "stream, since its consumer stopped there when it was recorded; record it again and read to the end"
            )

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        vectors: list[list[float]] = await self._answer("embeddings", self._asked_to_embed(texts))
        return vectors

    async def _answer(self, kind: str, asked: dict[str, Any]) -> Any:
        started = time.perf_counter()
        recording = self._tape.find(kind, asked)
        await self._pause(started, recording.duration_s)
        if recording.error is not None:
            raise error_of(recording.error)
        return recording.answer

    async def _pause(self, started: float, recorded_s: float) -> None:
        """Wait until the moment that was `recorded_s` seconds after the request, at the speed of the cassette."""
        left = 0.0 if self._speed is None else started + recorded_s / self._speed - time.perf_counter()
        await asyncio.sleep(max(left, 0.0))


class _Take(contextlib.AbstractContextManager[Recording]):
    """Writes a recording when its block ends: with an answer, with an error of ours, or because a consumer stopped.

    A cancelled request and a bug (any other error) leave nothing to replay.
    """

    def __init__(self, tape: Tape, recording: Recording) -> None:
        self._tape = tape
        self._recording = recording
        self._started = time.perf_counter()

    def __enter__(self) -> Recording:
        return self._recording

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, LlmopsError):
            self._recording.error = error_record(error)
            self._recording.ended = True
        elif error is not None and not (isinstance(error, GeneratorExit) and self._recording.chunks):
            return
        self._recording.duration_s = time.perf_counter() - self._started
        self._tape.write(self._recording)
