"""`PII`: what comes back, vaults, pseudonyms, and further recognizers."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import Scripted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import PII, Vault
from llmops_sdk.messages import Message, Request
from llmops_sdk.protocols import GuardContext
from llmops_sdk.testing import GuardContract
from llmops_sdk.verdicts import Finding

OpenContext = Callable[..., GuardContext]
KEY = bytes(range(32))


def restored(guard: PII, text: str, context: GuardContext, size: int = 1) -> str:
    restorer = guard.open_restorer(context)
    assert restorer is not None
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    return "".join(str(fed) for fed in [*map(restorer.feed, pieces), restorer.finish()])


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("[EMAIL_1]'s", "ana@example.org's"),
        ("[EMAIL_1]s", "ana@example.orgs"),
        ("EMAIL_1s", "ana@example.orgs"),
        ("Email_1es", "ana@example.orges"),
        ("**[EMAIL_1]**", "**ana@example.org**"),
        ("`EMAIL_1`", "`ana@example.org`"),
        ("mailto:EMAIL_1", "mailto:ana@example.org"),
        ("?to=%5BEMAIL_1%5D&x", "?to=ana%40example.org&x"),
        ("?to=%5bemail_1%5d", "?to=ana%40example.org"),
        ("\u3010EMAIL_1\u3011", "ana@example.org"),
        ("EMAIL_10", "EMAIL_10"),
        ("EMAIL_1_2", "EMAIL_1_2"),
        ("%5BEMAIL_2%5D", "%5BEMAIL_2%5D"),
    ],
)
def test_endings_markdown_and_addresses(written: str, wanted: str, size: int, open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    assert restored(guard, f"Dear {written}, hello", context, size) == f"Dear {wanted}, hello"


@given(value=st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_arguments_of_a_tool_call_stay_json(value: str, open_context: OpenContext) -> None:
    whole = f"<{value}>"
    guard = PII(restore=True, recognizers=[lambda text: [Finding(kind="note", start=0, end=len(text))] if text else []])
    context = open_context(origin="tool_call:send")
    vault = guard._vault_of(context)
    placeholder = vault.hide("note", whole)
    written = restored(guard, json.dumps({"to": f"x {placeholder} y"}), context)
    assert json.loads(written) == {"to": f"x {whole} y"}


class _Telling:
    """An engine's answer that says what it was sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, request: Request) -> str:
        self.seen = [message.text for message in request.messages]
        return f"I write to {' and '.join(re.findall(r'.EMAIL_[0-9a-f]+.', ' '.join(self.seen)))}."


def test_all_messages_of_a_request_share_placeholders_and_the_answer_has_the_values() -> None:
    telling = _Telling()
    line = PII(restore=True) | Scripted(telling)
    request = Request(
        messages=(
            Message.system("You serve ana@example.org"),
            Message.user("mail bo@example.org"),
            Message.assistant("To bo@example.org or ana@example.org?"),
            Message.user("ana@example.org"),
        )
    )
    result = line.run(request)
    assert telling.seen == [
        "You serve [EMAIL_1]",
        "mail [EMAIL_2]",
        "To [EMAIL_2] or [EMAIL_1]?",
        "[EMAIL_1]",
    ]
    assert result.text.count("ana@example.org") == 3
    assert "EMAIL" not in result.text


def _vaults() -> int:
    gc.collect()
    return sum(isinstance(one, Vault) and len(one) > 0 for one in gc.get_objects())


async def test_vaults_are_gone_after_runs_streams_failures_and_cancels() -> None:
    before = _vaults()
    answering = PII(restore=True) | Scripted(lambda request: request.messages[-1].text)
    result = await answering.arun("ana@example.org")
    assert result.text == "ana@example.org"
    assert not result.call.state

    async with answering.astream("ana@example.org") as stream:
        assert "".join([chunk.text async for chunk in stream]) == "ana@example.org"

    def fails(request: Request) -> str:
        raise RuntimeError("down")

    with pytest.raises(Exception, match="down"):
        await (PII(restore=True) | Scripted(fails)).arun("ana@example.org")

    slow = PII(restore=True) | Scripted("x", delay_s=5)
    task = asyncio.create_task(slow.arun("ana@example.org"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task, stream
    assert _vaults() == before


async def test_a_thousand_runs_at_once_do_not_mix_up_their_values() -> None:
    line = PII(restore=True) | Scripted(lambda request: f"to {request.messages[-1].text}!")
    texts = [f"user{number}@example.org" for number in range(1_000)]
    results = await asyncio.gather(*(line.arun(text) for text in texts))
    assert [result.text for result in results] == [f"to {text}!" for text in texts]


def test_pseudonyms_are_the_same_in_all_runs_with_one_key_and_others_with_another() -> None:
    text = "ana@example.org, bo@example.org"
    first, again = (
        PII(pseudonym_key=KEY).check(text).text,
        pickle.loads(pickle.dumps(PII(pseudonym_key=KEY))).check(text),
    )
    assert first == again.text
    assert re.fullmatch(r"\[EMAIL_[0-9a-f]{8}\], \[EMAIL_[0-9a-f]{8}\]", first or "")
    assert PII(pseudonym_key=KEY[::-1]).check(text).text != first


def test_pseudonyms_come_back(open_context: OpenContext) -> None:
    guard, context = PII(pseudonym_key=KEY, restore=True), open_context()
    written = guard.check("mail ana@example.org", context).text or ""
    assert restored(guard, written.upper() + "s", context) == "MAIL ana@example.orgs"


def test_pseudonyms_that_begin_alike_get_longer() -> None:
    vault = Vault(key=KEY)
    name = vault.hide("email", "a@example.org").strip("[]")
    vault.clear()
    vault.reserve(name)
    longer = vault.hide("email", "a@example.org")
    assert longer.startswith(f"[{name}")
    assert len(longer) == len(name) + 4


def test_a_vault_keeps_the_values_of_a_conversation(open_context: OpenContext) -> None:
    vault = Vault()
    guard = PII(restore=True, vault=vault)
    guard.check("ana@example.org", open_context())
    assert guard.check("bo@example.org, ana@example.org", open_context()).text == "[EMAIL_2], [EMAIL_1]"
    assert restored(guard, "[EMAIL_1]", open_context()) == "ana@example.org"
    vault.clear()
    assert restored(guard, "[EMAIL_1]", open_context()) == "[EMAIL_1]"


def test_keys_and_values_are_not_shown_and_vaults_are_not_pickled() -> None:
    vault = Vault(key=KEY)
    vault.hide("email", "ana@example.org")
    guard = PII(vault=vault)
    assert "ana" not in repr(vault) + repr(guard)
    assert repr(KEY) not in repr(vault) + repr(PII(pseudonym_key=KEY))
    with pytest.raises(ConfigurationError, match="pickled"):
        pickle.dumps(guard)


def test_wrong_keys_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="16 secret bytes"):
        PII(pseudonym_key=b"short")
    with pytest.raises(ConfigurationError, match="16 secret bytes"):
        PII(pseudonym_key="a text of enough length")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="vault"):
        PII(pseudonym_key=KEY, vault=Vault())
    with pytest.raises(ConfigurationError, match="recognizer"):
        PII(recognizers=["names"])  # type: ignore[list-item]


def names(text: str) -> Iterable[Finding]:
    """A recognizer: `Ana` and `Bo`, and what stands before an at sign together with it."""
    for match in re.finditer(r"\b(?:Ana|Bo)\b(?: Li)?|\bana@", text):
        yield Finding(kind="person", start=match.start(), end=match.end(), score=0.8)


def test_names_get_placeholders_and_come_back(open_context: OpenContext) -> None:
    guard, context = PII(restore=True, recognizers=[names]), open_context()
    written = guard.check("Ana Li (ana@example.org) met Bo. Ana left.", context).text
    assert written == "[PERSON_1] ([EMAIL_1]) met [PERSON_2]. [PERSON_3] left."
    assert restored(guard, written, context) == "Ana Li (ana@example.org) met Bo. Ana left."


async def _streamed(guard: PII, pieces: list[str], context: GuardContext) -> str:
    stream = guard.open_stream(context)
    assert stream is not None
    emitted = []
    for step in [*(lambda piece=piece: stream.feed(piece) for piece in pieces), stream.finish]:
        fed = step()
        emitted.append(fed if isinstance(fed, str) else await fed)
    return "".join(emitted)


WORDS = st.sampled_from(
    ["Ana", "Ana Li", "Bo", " ", ". ", "\n", "ana@example.org", "4111 1111 1111 1111", "x", "word " * 250, "[PERSON_1]"]
)


@given(text=st.lists(WORDS, max_size=8).map("".join), size=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_a_stream_with_recognizers_equals_the_whole(text: str, size: int, open_context: OpenContext) -> None:
    guard = PII(recognizers=[names])
    whole = guard.check(text)
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    emitted = asyncio.run(_streamed(guard, pieces, open_context()))
    assert emitted == (text if whole.text is None else whole.text)
    assert "ana@" not in emitted


async def test_a_recognizer_that_breaks_is_a_failure_of_the_guard() -> None:
    def broken(text: str) -> list[Finding]:
        return [Finding(kind="person", start=0, end=len(text) + 1)]

    line = "Ana. Bo." | Scripted("Hello. You.") | PII(recognizers=[broken], on_error="allow")
    async with line.astream() as stream:
        assert "".join([chunk.text async for chunk in stream]) == "Hello. You."
    assert (await ("Ana." | Scripted("Hello.") | PII(recognizers=[broken])).arun()).blocked


class TestPIIWithRecognizers(GuardContract):
    examples_allowed = ("hello", "a@b")
    examples_caught = ("mail ada@example.org. Thanks", "Ana and ana@example.org", "card 4242 4242 4242 4242")
    tries = 30

    def make_guard(self) -> PII:
        return PII(recognizers=[names])


class TestPIIThatRestores(GuardContract):
    examples_allowed = ("hello", "[EMAIL_1] and email_2")
    examples_caught = ("mail ada@example.org, [EMAIL_1]", "SSN: 219099999")
    tries = 30

    def make_guard(self) -> PII:
        return PII(restore=True)


class TestPIIThatBlocks(TestPIIThatRestores):
    examples_allowed = ("hello", "a@b")

    def make_guard(self) -> PII:
        return PII(action="block")


class TestPIIThatFlags(TestPIIThatBlocks):
    def make_guard(self) -> PII:
        return PII(action="flag")


@given(value=st.text(min_size=1, max_size=12), depth=st.integers(1, 4), size=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_json_within_the_json_of_a_tool_call_stays_json(
    value: str, depth: int, size: int, open_context: OpenContext
) -> None:
    guard, context = PII(restore=True), open_context(origin="tool_call:send")
    placeholder = guard._vault_of(context).hide("note", value)
    said = 'she said "{}" and \\\\"'
    written: object = {"to": f"x {placeholder} y", "said": said.format(placeholder)}
    for _ in range(depth - 1):
        written = {"in": json.dumps(written), "beside": placeholder}
    seen = json.loads(restored(guard, json.dumps(written), context, size))
    for _ in range(depth - 1):
        assert seen["beside"] == value
        seen = json.loads(seen["in"])
    assert seen == {"to": f"x {value} y", "said": said.format(value)}


def test_a_placeholder_ten_thousand_times(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    assert restored(guard, "[EMAIL_1] " * 10_000, context, 5_000) == "ana@example.org " * 10_000


def test_placeholders_side_by_side(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org, 203.0.113.7", context)
    assert restored(guard, "[EMAIL_1][IP_1] [EMAIL #1] [email #1]", context) == (
        "ana@example.org203.0.113.7 ana@example.org ana@example.org"
    )
