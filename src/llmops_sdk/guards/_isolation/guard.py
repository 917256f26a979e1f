"""A guard in another interpreter, with packages of its own: a warm worker process behind an ordinary guard."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import itertools
import json
import os
import select
import struct
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast, get_args

from llmops_sdk.errors import ClosedError, ConfigurationError, GuardFailed
from llmops_sdk.guards import _llm_guard_scanning
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.guards._isolation import worker as _isolated_worker
from llmops_sdk.guards._isolation.environments import environment_python, find_python
from llmops_sdk.loops import Closing, in_thread
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import ALLOW, Action, Finding, Verdict

__all__ = ["IsolatedGuard", "isolated", "verdict_of"]

_DEATHS_WITHIN_S = 60.0
_STDERR = 8_192
_WHERE = frozenset({"path", "pip_options", "python", "show"})
_OUTSTANDING = 32
"""Most checks that are sent and not yet answered; more wait here, where they can be withdrawn for nothing."""


class _Check:
    """A check on its way."""

    __slots__ = ("answer", "frame", "tries")

    def __init__(self, frame: dict[str, Any]) -> None:
        self.frame = frame
        self.answer: concurrent.futures.Future[dict[str, Any]] = concurrent.futures.Future()
        self.tries = 0

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                self.answer.set_exception(error)


class _Process:
    """One run of the worker: its pipes, and the last of what it said on its standard error."""

    def __init__(self, python: str, order: dict[str, Any]) -> None:
        self._popen = subprocess.Popen(  # noqa: S603  (the interpreter that the caller named, with our own file)
            [python, "-I", "-u", _isolated_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self._files = (self._popen.stdin, self._popen.stdout, self._popen.stderr)
        self._in, self._out, self._err = (file.fileno() for file in self._files)
        os.set_blocking(self._in, False)
        self._said = bytearray()
        self._draining = threading.Thread(target=self._drain, name="llmops-sdk-isolated-stderr", daemon=True)
        self._draining.start()
        self._ended = False
        with contextlib.suppress(OSError):  # it is dead already: reading its answer says so
            self.send(order, 10.0)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def send(self, value: dict[str, Any], timeout_s: float) -> None:
        """Send a frame.

        Raises:
            TimeoutError: The process does not read.
        """
        body = json.dumps(value).encode("ascii")
        view = memoryview(struct.pack(">I", len(body)) + body)
        until = time.monotonic() + timeout_s
        while view:
            if not select.select([], [self._in], [], max(0.0, until - time.monotonic()))[1]:
                raise TimeoutError
            view = view[os.write(self._in, view) :]

    def read(self, timeout_s: float | None) -> dict[str, Any] | None:
        """The next frame; `None` when the process has ended.

        Raises:
            TimeoutError: Nothing came.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        head = self._exactly(4, until)
        body = None if head is None else self._exactly(struct.unpack(">I", head)[0], until)
        if body is None:
            return None
        frame: dict[str, Any] = json.loads(body)
        return frame

    def _exactly(self, count: int, until: float | None) -> bytes | None:
        parts = []
        while count:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._out], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._out, min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _drain(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(self._err, 65_536):
                self._said += part
                del self._said[:-_STDERR]

    def end(self, *, patience_s: float = 0.0) -> str:
        """End it, collect it, and tell how it ended. Called by one thread at a time."""
        with contextlib.suppress(OSError):
            self._files[0].close()
        try:
            self._popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._draining.join(2)
        for file in self._files[1:]:
            with contextlib.suppress(OSError):
                file.close()
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"exit status {self._popen.returncode}" + (
            f"; it said: {' | '.join(lines[-3:])[-600:]}" if lines else ""
        )

    def forget(self) -> None:
        """In a forked child: let go of the parent's worker, which must see its input end with the parent."""
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
        self._popen.returncode = 0  # it is not ours to wait for


class _Worker:
    """The worker of a guard over all its lives: started when needed, started again when it has died.

    One thread sends and reads. All who check hand it their checks, from any thread and any event loop.
    """

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._waiting: collections.deque[_Check] = collections.deque()
        self._sent: collections.deque[_Check] = collections.deque()
        self._process: _Process | None = None
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None
        self._numbers = itertools.count()
        self._deaths: collections.deque[float] = collections.deque()
        self._since = 0.0
        self._python: str | None = None
        self.closed = False

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None else process.pid

    def start(self) -> None:
        """Make the environment, start the process, wait until it has loaded."""
        with self._starting:
            if self.closed:
                raise ClosedError(f"the guard {self._settings.name!r} was closed")
            if self._thread is not None:
                return
            self._python = self._python or self._settings.interpreter()
            self._process = self._launch()
            self._wake = os.pipe()
            os.set_blocking(self._wake[0], False)
            os.set_blocking(self._wake[1], False)
            self._thread = threading.Thread(target=self._run, name="llmops-sdk-isolated", daemon=True)
            _workers.add(self)
            self._thread.start()

    def _launch(self) -> _Process:
        assert self._python is not None
        process = _Process(self._python, self._settings.order())
        where = f"the worker of the guard {self._settings.name!r} ({self._settings.target} in {self._python})"
        try:
            answer = process.read(self._settings.start_timeout_s)
        except TimeoutError:
            process.end()
            limit = self._settings.start_timeout_s
            raise ConfigurationError(
                f"{where} had not loaded after {limit} s: give it a longer start_timeout_s"
            ) from None
        if answer is None or "error" in answer:
            how = process.end()
            said = f"{answer['error']}: {answer['message']}" if answer else how
            raise ConfigurationError(f"{where} could not load it: {said}")
        return process

    def submit(self, frame: dict[str, Any]) -> _Check:
        check = _Check(frame)
        with self._lock:
            if self.closed:
                raise ClosedError(f"the guard {self._settings.name!r} was closed")
            self._waiting.append(check)
        self.nudge()
        return check

    def nudge(self) -> None:
        wake = self._wake
        if wake is not None:
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(wake[1], b"x")

    # What follows runs in the one thread.

    def _run(self) -> None:
        try:
            while not self.closed:
                try:
                    if self._process is None:
                        self._process = self._launch_again()
                    else:
                        self._turn(self._process)
                except TimeoutError:
                    limit = self._settings.timeout_s
                    self._died(TimeoutError(f"the worker gave no verdict within timeout_s={limit} s, and was ended"))
                except (OSError, ValueError, ConfigurationError) as exc:
                    self._died(exc)
        finally:
            self._shut()

    def _turn(self, process: _Process) -> None:
        """Send what may be sent, and take what has come: as soon as there is either."""
        assert self._wake is not None
        self._send(process)
        limit = None if not self._sent else self._settings.timeout_s - (time.monotonic() - self._since)
        if limit is not None and limit <= 0:
            raise TimeoutError
        ready = select.select([process._out, self._wake[0]], [], [], limit)[0]
        if self._wake[0] in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake[0], 65_536)
        if process._out in ready:
            frame = process.read(max(limit or 0.0, 1.0))
            if frame is None:
                raise OSError("the worker ended")
            check = self._sent.popleft()
            self._since = time.monotonic()
            if check.frame["id"] != frame["id"]:
                self._sent.appendleft(check)
                raise ValueError("the worker answered another check than the next one")
            self._deaths.clear()
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                check.answer.set_result(frame["verdict"])

    def _send(self, process: _Process) -> None:
        batch = []
        with self._lock:
            while self._waiting and len(self._sent) < _OUTSTANDING:
                check = self._waiting.popleft()
                if check.answer.done():  # withdrawn
                    continue
                if not self._sent:
                    self._since = time.monotonic()
                check.frame["id"] = next(self._numbers)
                self._sent.append(check)
                batch.append(check.frame)
        if batch:
            process.send({"checks": batch}, self._settings.timeout_s)

    def _died(self, why: Exception) -> None:
        """End what is left of the process. The check under way is tried once more, unless it took too long."""
        process, self._process = self._process, None
        how = process.end() if process is not None else "it did not start"
        self._deaths.append(time.monotonic())
        with self._lock:
            if self._sent:
                head = self._sent[0]
                head.tries += 1
                if isinstance(why, TimeoutError) or head.tries > 1:
                    self._sent.popleft()
                    head.fail(GuardFailed(f"{why} ({how})", guard=self._settings.name))
            self._waiting.extendleft(reversed(self._sent))
            self._sent.clear()

    def _launch_again(self) -> _Process | None:
        """Wait a little longer after each death; after too many of them fail all checks until some time has passed."""
        while True:
            now = time.monotonic()
            while self._deaths and now - self._deaths[0] > _DEATHS_WITHIN_S:
                self._deaths.popleft()
            if len(self._deaths) <= self._settings.restarts:
                break
            said = f"the worker died {len(self._deaths)} times within a minute, and rests for the rest of that minute"
            self._fail_waiting(GuardFailed(said, guard=self._settings.name))
            self._pause(1.0)
            if self.closed:
                return None
        self._pause(min(5.0, 0.05 * 2.0 ** len(self._deaths)) if len(self._deaths) > 1 else 0.0)
        return None if self.closed else self._launch()

    def _pause(self, seconds: float) -> None:
        assert self._wake is not None
        if seconds and select.select([self._wake[0]], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake[0], 65_536)
            time.sleep(0.01 if not self.closed else 0)

    def _fail_waiting(self, error: Exception) -> None:
        with self._lock:
            failing = [*self._sent, *self._waiting]
            self._sent.clear()
            self._waiting.clear()
        for check in failing:
            check.fail(error)

    def _shut(self) -> None:
        process, self._process = self._process, None
        self._fail_waiting(ClosedError(f"the guard {self._settings.name!r} was closed"))
        if process is not None:
            process.end(patience_s=1.0)
        wake, self._wake = self._wake, None
        for end in wake or ():
            os.close(end)

    def close(self) -> None:
        """End the process and wait for that."""
        with self._lock:
            self.closed = True
        self.nudge()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    def forget(self) -> None:
        """In a forked child, which starts a worker of its own when it needs one."""
        if self._process is not None:
            self._process.forget()
        for end in self._wake or ():
            with contextlib.suppress(OSError):
                os.close(end)
        closed, python = self.closed, self._python
        self._reset()
        self.closed, self._python = closed, python


_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _forget_in_child() -> None:
    for worker in list(_workers):
        worker.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


class _Settings:
    """What a worker is started with."""

    def __init__(
        self,
        *,
        target: str,
        arguments: Mapping[str, Any],
        requirements: Sequence[str],
        python: str | None,
        path: Sequence[str],
        pip_options: Sequence[str],
        name: str,
        timeout_s: float,
        start_timeout_s: float,
        restarts: int,
        show: bool,
    ) -> None:
        self.target = target
        self.arguments = dict(arguments)
        self.requirements = tuple(requirements)
        self.python = python
        self.path = tuple(path)
        self.pip_options = tuple(pip_options)
        self.name = name
        self.timeout_s = timeout_s
        self.start_timeout_s = start_timeout_s
        self.restarts = restarts
        self.show = show

    def interpreter(self) -> str:
        if not self.requirements:
            return find_python(self.python)
        made = environment_python(self.requirements, self.python, pip_options=self.pip_options, show=self.show)
        return str(made)

    def order(self) -> dict[str, Any]:
        arguments = dict(self.arguments)
        ours = _llm_guard_scanning.OPTIONS if self.target.startswith("llm_guard:") else ()
        return {
            "target": self.target,
            "scanner_options": {key: arguments.pop(key) for key in ours if key in arguments},
            "arguments": arguments,
            "path": self.path,
            "scanning": _llm_guard_scanning.__file__,
            "batch": _OUTSTANDING,
        }


class IsolatedGuard(Closing, Guard):
    """A guard that works in another interpreter; `isolated` makes one.

    Its worker is started by `prepare` (which a pipeline calls when it is built) or by the first check. Copies share it.
    It ends with `close`, with the last copy, and with this process, however that ends. A pickle holds what the guard
    was made with; the copy that comes out of it starts a worker of its own, as a forked child does.
    """

    blocking = False  # `check` waits without a thread
    window = None

    def __init__(self, settings: _Settings, options: GuardOptions) -> None:
        super().__init__(**options)
        self._settings = settings
        self._open()

    def _open(self) -> None:
        self._worker = _Worker(self._settings)
        # Not `__del__`: this also runs at the end of the interpreter, and for the last of several copies only.
        self._keeper = _Keeper(self._worker)

    @property
    def pid(self) -> int | None:
        """The worker's process id, `None` while there is none."""
        return self._worker.pid

    def prepare(self) -> None:
        """Make the environment if it is not there, start the worker, and wait until it has loaded.

        Raises:
            ConfigurationError: One of these failed; the message says which, and what to do.
        """
        self._worker.start()

    async def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Let the worker decide about `text`.

        Raises:
            GuardFailed: The guard there raised, gave no verdict in time, or its process died twice.
            ClosedError: This guard was closed.
        """
        if self._worker._thread is None:
            await in_thread(self.prepare)
        check = self._worker.submit({"text": text, "context": _as_json(context)})
        said = await asyncio.wrap_future(check.answer)  # cancelled: so is the check, if it has not been sent
        if "error" in said:
            raise GuardFailed(f"in the worker: {said['error']}: {said.get('message', '')}", guard=self.name)
        return verdict_of(said, text, self.name)

    async def aclose(self) -> None:
        """End the worker. Closing twice is harmless; a check after that raises `ClosedError`."""
        await in_thread(self._worker.close)

    def configuration(self) -> dict[str, Any]:
        """See `Guard.configuration`. Where the interpreter and its packages lie is no part of it."""
        settings = {name: value for name, value in vars(self._settings).items() if name not in _WHERE}
        return super().configuration() | {"settings": settings}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_worker", "_keeper")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __copy__(self) -> IsolatedGuard:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other


class _Keeper:
    """Closes a worker when the last guard that shares it is gone."""

    def __init__(self, worker: _Worker) -> None:
        weakref.finalize(self, worker.close)


def isolated(
    target: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    requirements: Sequence[str] = (),
    python: str | None = None,
    path: str | Path | Sequence[str | Path] = (),
    timeout_s: float = 30.0,
    start_timeout_s: float = 300.0,
    restarts: int = 5,
    pip_options: Sequence[str] = (),
    show: bool = True,
    **options: Unpack[GuardOptions],
) -> IsolatedGuard:
    """A guard that runs in another interpreter, beside packages that cannot be installed here.

    The interpreter needs Python 3.9 or newer, and not this library.

    Args:
        target: What to load there, as `module:name`: a class with `check(text)` or `check(text, context)`, or a
            function. It returns a dictionary like a `Verdict` (`action`, `text`, `reason`, `findings`), a `Verdict`,
            `True` or `None` (allow), or `False` (block). With a method `check_all(texts)` it gets all texts that wait
            at once. `"llm_guard:input.PromptInjection"` is that scanner of LLM-Guard, as `guards.llm_guard` runs it.
        arguments: What the class is made with: values of JSON, and `llm_guard.Model`.
        requirements: What to install there, as `pip install` takes it. An environment with just these is made once, in
            the cache folder, and used again by whoever needs the same. Without any, `python` is used as it is.
        python: The interpreter: a path, or a name on the PATH; this one unless given.
        path: Folders to import from there.
        timeout_s: Most seconds for one check, from when the worker takes it up. Then the worker is ended and started
            anew, and the checks behind that one are sent again.
        start_timeout_s: Most seconds until the worker has loaded.
        restarts: How often the worker may die within a minute; then checks fail at once for the rest of that minute.
        pip_options: More options of `pip install`.
        show: Say on standard error that an environment is made, and how far that is.
        options: See `GuardOptions`. `on_error` says what a failure of the guard or of its worker means.

    Raises:
        ConfigurationError: An argument makes no sense.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f"target={target!r}: write `module:Class`, or `llm_guard:input.PromptInjection`")
    if isinstance(requirements, str) or isinstance(pip_options, str):
        raise ConfigurationError("requirements and pip_options are lists of texts, as in requirements=['llm-guard']")
    if timeout_s <= 0 or start_timeout_s <= 0 or restarts < 0:
        raise ConfigurationError("timeout_s and start_timeout_s are greater than 0, and restarts is not negative")
    if module == "llm_guard":
        try:
            _llm_guard_scanning.refuse_vaults(attribute)
        except _llm_guard_scanning.ScannerError as exc:
            raise ConfigurationError(str(exc)) from exc
    folders = [path] if isinstance(path, str | Path) else list(path)
    try:
        plain = json.loads(json.dumps(dict(arguments or {}), default=_llm_guard_scanning.model_to_json))
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"arguments: {exc}; they have to be values of JSON, or llm_guard.Model") from exc
    settings = _Settings(
        target=target,
        arguments=plain,
        requirements=requirements,
        python=python,
        path=[str(Path(folder).absolute()) for folder in folders],
        pip_options=pip_options,
        name=options.get("name") or _snake(attribute),
        timeout_s=timeout_s,
        start_timeout_s=start_timeout_s,
        restarts=restarts,
        show=show,
    )
    return IsolatedGuard(settings, GuardOptions(**{**options, "name": settings.name}))


def _snake(attribute: str) -> str:
    return _llm_guard_scanning.snake(attribute.rpartition(".")[2])


def _as_json(context: GuardContext | None) -> dict[str, Any]:
    if context is None:
        return {"stage": "input", "origin": "user", "index": 0, "prompt": ""}
    prompt = _llm_guard_scanning.asked(context.request) if context.stage == "output" else ""
    return {"stage": context.stage, "origin": context.origin, "index": context.index, "prompt": prompt}


def verdict_of(said: object, text: str, guard: str) -> Verdict:
    """The verdict that a dictionary from elsewhere spells; nothing in it is taken on trust.

    Raises:
        GuardFailed: It spells none.
    """
    if not isinstance(said, dict):
        raise GuardFailed(f"a verdict has to be a dictionary, not {type(said).__name__}", guard=guard)
    action, new, reason = said.get("action"), said.get("text"), said.get("reason") or ""
    if action not in get_args(Action) or (action == "rewrite") != isinstance(new, str):
        raise GuardFailed(
            f"action={action!r} with a text of type {type(new).__name__} is no verdict: the actions are "
            f"{', '.join(get_args(Action))}, and `text` goes with `rewrite` only",
            guard=guard,
        )
    try:
        findings = sorted((_finding(one, len(text)) for one in said.get("findings") or ()), key=lambda f: f.start)
    except (TypeError, ValueError, KeyError, AttributeError) as exc:
        raise GuardFailed(f"a finding of its verdict is none: {type(exc).__name__}: {exc}", guard=guard) from exc
    if action == "allow" and not findings:
        return ALLOW
    return Verdict(action=cast("Action", action), text=new, findings=tuple(findings), reason=str(reason))


def _finding(said: Mapping[str, Any], length: int) -> Finding:
    start, end = int(said.get("start", 0)), int(said.get("end", length))
    if not 0 <= start <= end <= length:
        raise ValueError(f"{start}:{end} is not within the {length} characters")
    score = min(1.0, max(0.0, float(said.get("score", 1.0))))
    return Finding(kind=str(said["kind"]), start=start, end=end, score=score, rule=str(said.get("rule", "")))
