"""The other side of `isolated`: this file alone is run, by path, on an interpreter that has no llmops_sdk.

It needs Python 3.9 and nothing else. Frames go over the standard streams: four bytes of length, big endian, and JSON
in ASCII (so that lone surrogates pass). The first frame says what to load and is answered when that has happened;
then each frame brings checks, which are answered in their order. When the input ends, or the parent is gone, so is
this process. What the loaded code prints goes to the standard error: it cannot get between the frames.
"""

from __future__ import annotations

import asyncio
import collections
import importlib
import importlib.util
import inspect
import json
import os
import struct
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_MOST = 1 << 30  # bytes of a frame

Decide = Callable[[list[dict[str, Any]]], Iterable[Any]]


class Frames:
    """Reads and writes frames on two file descriptors."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target

    def read(self) -> Any:
        """The next frame, `None` at the end."""
        head = self._exactly(4)
        if head is None:
            return None
        (length,) = struct.unpack(">I", head)
        if length > _MOST:
            raise ValueError(f"a frame of {length} bytes")
        body = self._exactly(length)
        return None if body is None else json.loads(body)

    def write(self, value: object) -> None:
        """Send a frame."""
        body = json.dumps(value).encode("ascii")
        view = memoryview(struct.pack(">I", len(body)) + body)
        while view:
            view = view[os.write(self._target, view) :]

    def _exactly(self, count: int) -> bytes | None:
        parts = []
        while count:
            part = os.read(self._source, min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class Inbox:
    """Checks that wait; filled by the thread that reads, so that those can be withdrawn again."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._ready = threading.Condition()
        self._waiting: collections.OrderedDict[int, dict[str, Any]] = collections.OrderedDict()

    def fill(self) -> None:
        """Read until the input ends; then end the process, whatever it does."""
        try:
            while True:
                frame = self._frames.read()
                if frame is None:
                    break
                with self._ready:
                    for number in frame.get("cancel", ()):
                        self._waiting.pop(number, None)
                    for check in frame.get("checks", ()):
                        self._waiting[check["id"]] = check
                    self._ready.notify()
        finally:
            os._exit(0)

    def take(self, most: int) -> list[dict[str, Any]]:
        """Up to `most` checks, as soon as there is one."""
        with self._ready:
            while not self._waiting:
                self._ready.wait()
            return [self._waiting.popitem(last=False)[1] for _ in range(min(most, len(self._waiting)))]


def load(order: dict[str, Any]) -> Decide:
    """The guard that the first frame asks for, as a function of a list of checks that gives a list of verdicts."""
    sys.path[:0] = order["path"]
    module_name, _, attribute = order["target"].partition(":")
    if module_name == "llm_guard" and order["scanning"]:
        spec = importlib.util.spec_from_file_location("llmops_sdk_scanning", order["scanning"])
        assert spec is not None
        assert spec.loader is not None
        scanning = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = scanning
        spec.loader.exec_module(scanning)
        scanner = scanning.load(attribute, (), order["arguments"], **order["scanner_options"])
        return one_by_one(lambda check: scanner.verdict(check["text"], check["context"].get("prompt", "")))
    value: Any = importlib.import_module(module_name)
    for name in attribute.split("."):
        value = getattr(value, name)
    if inspect.isclass(value) or order["arguments"]:
        value = value(**order["arguments"])
    if hasattr(value, "prepare"):
        value.prepare()
    if hasattr(value, "check_all"):
        return lambda checks: [as_verdict(one) for one in settled(value.check_all([c["text"] for c in checks]))]
    check = getattr(value, "check", value)
    if not callable(check):
        raise TypeError("{} is neither a function nor a class with a method `check`".format(order["target"]))
    with_context = takes_two(check)

    def decide(one: dict[str, Any]) -> Any:
        context = types.SimpleNamespace(**one["context"])
        return as_verdict(settled(check(one["text"], context) if with_context else check(one["text"])))

    return one_by_one(decide)


def one_by_one(decide: Callable[[dict[str, Any]], Any]) -> Decide:
    """`decide` for each check of a list; what it raises is the answer to that one."""

    def decide_all(checks: list[dict[str, Any]]) -> Iterator[Any]:
        for check in checks:
            try:
                yield decide(check)
            except Exception as exc:  # noqa: BLE001  (whatever a guard raises is the answer)
                traceback.print_exc()
                yield failure(exc)

    return decide_all


def settled(value: Any) -> Any:
    """The value, or what it awaits."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def takes_two(function: Callable[..., Any]) -> bool:
    """Whether `function` takes a text and a context."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def as_verdict(value: Any) -> dict[str, Any]:
    """A verdict as JSON, of whatever a guard returns."""
    if value is None or value is True:
        return {"action": "allow"}
    if value is False:
        return {"action": "block", "reason": "the guard said no"}
    if isinstance(value, dict):
        return value
    if not hasattr(value, "action"):
        raise TypeError(f"the guard returned {type(value).__name__}; return a dictionary with `action`, None or a bool")
    names = ("kind", "start", "end", "score", "rule")
    findings = [{name: getattr(finding, name) for name in names} for finding in getattr(value, "findings", ())]
    text, reason = getattr(value, "text", None), getattr(value, "reason", "")
    return {"action": value.action, "text": text, "reason": reason, "findings": findings}


def failure(exc: Exception) -> dict[str, str]:
    """What was raised, as JSON."""
    return {"error": type(exc).__name__, "message": str(exc)[:2000]}


def watch(parent: int) -> None:
    """End with the parent even if another process holds our input open."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def answer_all(frames: Frames, inbox: Inbox, decide: Decide, most: int) -> None:
    """Answer for ever. Each answer is sent as it is there: the parent times the one that it waits for."""
    while True:
        left = inbox.take(most)
        try:
            for verdict in decide(list(left)):
                frames.write({"id": left[0]["id"], "verdict": verdict})
                left.pop(0)
            if left:
                raise ValueError("there are fewer verdicts than texts")
        except Exception as exc:  # noqa: BLE001  (a whole batch failed, or a verdict is no JSON)
            traceback.print_exc()
            for check in left:
                frames.write({"id": check["id"], "verdict": failure(exc)})


def main() -> None:
    """Take the standard streams for the frames, load, and answer."""
    frames = Frames(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    order = frames.read()
    if order is None:
        return
    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
    inbox = Inbox(frames)
    threading.Thread(target=inbox.fill, daemon=True).start()
    try:
        decide = load(order)
    except Exception as exc:  # noqa: BLE001  (told to the parent)
        traceback.print_exc()
        frames.write(failure(exc))
        return
    frames.write({"ready": sys.version.split()[0]})
    answer_all(frames, inbox, decide, order["batch"])


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)
