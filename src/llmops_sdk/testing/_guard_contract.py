"""The suite that guards of your own inherit: what a pipeline relies on in a guard, as tests.

With hypothesis installed, guards are tried with more texts and more ways of cutting them.
"""

from __future__ import annotations

import copy
import itertools
import unittest
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, ClassVar, get_args

from llmops_sdk.calls import Call
from llmops_sdk.messages import Message, Request
from llmops_sdk.protocols import GuardContext, GuardLike, GuardStream, takes_two
from llmops_sdk.testing._contract_steps import expect, run, through_pickle
from llmops_sdk.verdicts import Action, Finding, Stage, Verdict

__all__ = ["GuardContract"]


class GuardContract:
    """What a pipeline relies on in a guard. Inherit it in your own suite, under a name that starts with `Test`.

    Attributes:
        examples_allowed: Texts that pass as they are.
        examples_caught: Texts that are rewritten, blocked or flagged.
        deterministic: Whether the same text always gets the same verdict.
        picklable: Whether the guard survives `pickle`, and so can go to another process.
        stage: Which side of the engine the guard is tried on.
        tries: How many texts hypothesis makes up.

    Example:
        >>> from llmops_sdk import Guard
        >>> class NoShouting(Guard):
        ...     def check(self, text, context=None):
        ...         return Verdict.block("shouting") if text.isupper() else Verdict.allow()
        >>> class TestNoShouting(GuardContract):
        ...     examples_allowed = ("hello",)
        ...     examples_caught = ("HELLO",)
        ...     def make_guard(self):
        ...         return NoShouting()
        >>> TestNoShouting().test_examples_are_caught()
    """

    examples_allowed: Sequence[str] = ()
    examples_caught: Sequence[str] = ()
    deterministic: ClassVar[bool] = True
    picklable: ClassVar[bool] = True
    stage: ClassVar[Stage] = "output"
    tries: ClassVar[int] = 100

    def make_guard(self) -> GuardLike:
        """A new guard."""
        raise NotImplementedError("write `def make_guard(self): return MyGuard(...)`")

    def make_context(self) -> GuardContext:
        """What the guard may know of a text; a new run each time."""
        request = Request(messages=(Message.user("a question"),))
        return GuardContext(call=Call(), stage=self.stage, origin=self.stage, request=request)

    # How the tests use a guard.

    def _check(self, guard: GuardLike, text: str) -> Verdict:
        context = self.make_context()
        given: Any = guard.check(text, context) if takes_two(guard.check) else guard.check(text)
        verdict = run(_awaited(given)) if hasattr(given, "__await__") else given
        _check_verdict(verdict, text)
        checked: Verdict = verdict
        return checked

    def _examples(self) -> list[str]:
        caught, allowed = list(self.examples_caught), list(self.examples_allowed)
        expect(caught and allowed, "give `examples_caught` and `examples_allowed` at least one text each")
        mixed = [before + one + after for one in caught for before, after in (("", allowed[0]), (allowed[0] + " ", ""))]
        return [*allowed, *caught, *mixed, " ".join(allowed + caught)]

    def _open(self, guard: GuardLike) -> GuardStream | None:
        open_stream = getattr(guard, "open_stream", None)
        if open_stream is None:
            return None
        stream: GuardStream | None = open_stream(self.make_context())
        window = getattr(guard, "window", None)
        expect(
            (stream is None) == (window is None),
            f"`window` is {window!r}, but `open_stream` gave {stream!r}: a guard that works on streams states its "
            "window, one that needs the whole text has `window = None` and gives no stream",
        )
        return stream

    def _needs_a_stream(self, guard: GuardLike) -> None:
        if self._open(guard) is None:
            raise unittest.SkipTest("the guard reads whole texts only; a pipeline holds back the stream for it")

    # The tests.

    def test_examples_are_allowed(self) -> None:
        """The texts of `examples_allowed` pass as they are."""
        guard = self.make_guard()
        for text in self.examples_allowed:
            verdict = self._check(guard, text)
            expect(verdict.action == "allow", f"{text!r} should be allowed; the verdict is {verdict!r}")

    def test_examples_are_caught(self) -> None:
        """The texts of `examples_caught` do not."""
        guard = self.make_guard()
        for text in self.examples_caught:
            verdict = self._check(guard, text)
            expect(verdict.action != "allow", f"{text!r} should be caught, but it is allowed")

    def test_gives_a_verdict_on_any_text(self) -> None:
        """Whatever the text is, the guard decides and does not raise; its findings lie in the text."""
        guard = self.make_guard()
        for text in _odd_texts(self._examples()):
            self._check(guard, text)

    def test_same_text_same_verdict(self) -> None:
        """A text gets the same verdict again, from the same guard and from another one."""
        if not self.deterministic:
            raise unittest.SkipTest("the guard is declared not to be deterministic")
        guard, other = self.make_guard(), self.make_guard()
        for text in self._examples():
            first = self._check(guard, text)
            for again in (self._check(guard, text), self._check(other, text)):
                expect(_core(again) == _core(first), f"{text!r} got {first!r}, and then {again!r}")

    def test_does_not_change_the_context(self) -> None:
        """The request that a guard may look at is the same after the check."""
        guard = self.make_guard()
        if not takes_two(guard.check):
            raise unittest.SkipTest("the guard sees no context")
        for text in self._examples():
            context = self.make_context()
            before = copy.deepcopy(context.request)
            given: Any = guard.check(text, context)
            if hasattr(given, "__await__"):
                run(_awaited(given))
            expect(context.request == before, f"the guard changed the request to {context.request!r}")

    def test_stream_equals_whole_for_every_cut(self) -> None:
        """However a text is cut into chunks, the guarded stream equals the guarded whole text.

        Where the guard blocks, what it emitted before is the same for every cut.
        """
        guard = self.make_guard()
        self._needs_a_stream(guard)
        for text in self._examples():
            emitted: set[str] = set()
            for pieces in _cuts(text):
                emitted.add(self._stream_equals_whole(guard, text, pieces))
            expect(len(emitted) == 1, f"{text!r} was emitted differently for different cuts: {sorted(emitted)}")
        self._try_made_up_texts(guard)

    def _stream_equals_whole(self, guard: GuardLike, text: str, pieces: Sequence[str]) -> str:
        whole = self._check(guard, text)
        stream = self._open(guard)
        assert stream is not None
        emitted = "".join([*(_text(stream.feed(piece)) for piece in pieces), _text(stream.finish())])
        verdict, cut = stream.verdict, f"{text!r}, cut as {_shown(pieces)}"
        expect(
            verdict.action == whole.action, f"{cut}: the stream decided {verdict.action}, the whole text {whole.action}"
        )
        if whole.action == "block":
            expect(_text(stream.feed("more")) == "", f"{cut}: after the block more was emitted")
            return emitted
        wanted = whole.text if whole.action == "rewrite" else text
        expect(emitted == wanted, f"{cut}: the stream emitted {emitted!r}, the whole text gives {wanted!r}")
        found, due = ([(f.kind, f.start, f.end) for f in one.findings] for one in (verdict, whole))
        expect(found == due, f"{cut}: the stream found {found}, the whole text has {due}")
        return emitted

    def _try_made_up_texts(self, guard: GuardLike) -> None:
        try:
            import hypothesis  # noqa: PLC0415  (the suite works without it, too)
            from hypothesis import strategies  # noqa: PLC0415
        except ImportError:
            return
        fragments = strategies.sampled_from([*self.examples_caught, *self.examples_allowed])
        part_of_one = strategies.builds(
            lambda one, at: one[: at % (len(one) + 1)], fragments, strategies.integers(0, 99)
        )
        texts = strategies.lists(fragments | part_of_one | strategies.text(max_size=5), max_size=6).map("".join)

        def try_one(text: str, edges: list[int]) -> None:
            one = self._stream_equals_whole(guard, text, _cut_at(text, edges))
            other = self._stream_equals_whole(guard, text, list(text))
            expect(one == other, f"{text!r} was emitted as {one!r} and as {other!r} for different cuts")

        given = hypothesis.given(texts, strategies.lists(strategies.integers(0, 400), max_size=12))
        settings = hypothesis.settings(
            max_examples=self.tries,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        settings(given(try_one))()

    def test_holds_back_no_more_than_its_window(self) -> None:
        """Of a text that passes as it is, never more than `window` characters are held back."""
        guard = self.make_guard()
        self._needs_a_stream(guard)
        window: int = getattr(guard, "window", 0)
        for text in [*self._examples(), *(example * 20 for example in self.examples_allowed)]:
            if self._check(guard, text).action not in {"allow", "flag"}:
                continue
            stream = self._open(guard)
            assert stream is not None
            emitted = 0
            for fed, character in enumerate(text, start=1):
                emitted += len(_text(stream.feed(character)))
                expect(
                    fed - emitted <= window,
                    f"after {fed} characters of {text!r} the guard holds back {fed - emitted}; its window is {window}",
                )

    def test_can_be_copied_and_pickled(self) -> None:
        """Copies, and what comes out of `pickle`, give the same verdicts."""
        guard = self.make_guard()
        copies: list[GuardLike] = [copy.copy(guard), copy.deepcopy(guard)]
        if self.picklable:
            copies.append(through_pickle(guard))
        for text in self._examples() if self.deterministic else ():
            for one in copies:
                expect(_core(self._check(one, text)) == _core(self._check(guard, text)), f"a copy differs on {text!r}")


async def _awaited(given: Any) -> Any:
    return await given


def _text(fed: str | Awaitable[str]) -> str:
    return fed if isinstance(fed, str) else str(run(_awaited(fed)))


def _core(verdict: Verdict) -> tuple[object, ...]:
    return verdict.action, verdict.text, verdict.findings


def _check_verdict(verdict: object, text: str) -> None:
    where = f"on {_shown(text)}"
    expect(isinstance(verdict, Verdict), f"{where} `check` gave {type(verdict).__name__}, it has to give a Verdict")
    assert isinstance(verdict, Verdict)
    expect(
        verdict.action in get_args(Action), f"{where} the action is {verdict.action!r}; write one of {get_args(Action)}"
    )
    rewritten = isinstance(verdict.text, str) if verdict.action == "rewrite" else verdict.text is None
    expect(rewritten, f"{where} `text` is for the action `rewrite` and for no other; use `Verdict.rewrite(text)`")
    for finding in verdict.findings:
        expect(isinstance(finding, Finding), f"{where} a finding is {type(finding).__name__}; write Finding(...)")
        inside = 0 <= finding.start <= finding.end <= len(text)
        expect(inside, f"{where} the finding {finding!r} lies outside of the {len(text)} characters")
        expect(0 <= finding.score <= 1, f"{where} the score of {finding!r} is not between 0 and 1")
    starts = [finding.start for finding in verdict.findings]
    expect(starts == sorted(starts), f"{where} the findings are not in the order of their positions: {starts}")


def _odd_texts(examples: Sequence[str]) -> Iterator[str]:
    yield from (
        "",
        " ",
        "\n",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff",
        "x\udc80y",
        "\ufeff",
        "\u202e",
        "e\u0301",
        "👩‍👩‍👧",
    )
    yield from ("a" * 100_000, "\x00" * 1000, "ß" * 1000, "日本語" * 1000, "\r\n" * 1000, "[" * 1000, "\\" * 1000)
    for example in examples:
        yield from (example, f"\ud800{example}", f"👩‍👩‍👧{example}\x00", example.upper(), example[: len(example) // 2])
    yield ("filler " * 15_000)[:100_000] + examples[-1]


def _cuts(text: str) -> Iterator[list[str]]:
    """The whole, single characters, pieces of a few sizes with empty ones between them, and cuts in two everywhere."""
    yield [text]
    yield list(text)
    for size in (2, 3, 7):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        yield [one for piece in pieces for one in (piece, "")]
    for at in range(1, min(len(text), 200)):
        yield [text[:at], text[at:]]


def _cut_at(text: str, edges: Sequence[int]) -> list[str]:
    inner = sorted(edge for edge in edges if edge < len(text))
    return [text[start:end] for start, end in itertools.pairwise([0, *inner, len(text)])]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
