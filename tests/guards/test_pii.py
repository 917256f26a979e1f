"""`PII`: what is found, placeholders, and restoring them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import PII
from llmops_sdk.protocols import GuardContext, GuardStream

OpenContext = Callable[..., GuardContext]
GUARD = PII()


def _luhn(digits: str) -> str:
    for last in "0123456789":
        number = digits + last
        doubled = [int(d) * (2 if place % 2 else 1) for place, d in enumerate(reversed(number))]
        if sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0:
            return number
    raise AssertionError


def _grouped(number: str, sizes: tuple[int, ...], gap: str) -> str:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(number[start : start + size])
        start += size
    return gap.join(pieces)


def _digits(source: random.Random, count: int) -> str:
    return "".join(source.choice("0123456789") for _ in range(count))


def _card(source: random.Random) -> str:
    prefix, size, sizes = source.choice(
        [
            ("4", 16, (4, 4, 4, 4)),
            ("53", 16, (4, 4, 4, 4)),
            ("37", 15, (4, 6, 5)),
            ("6011", 16, (4, 4, 4, 4)),
            ("36", 14, (4, 6, 4)),
        ]
    )
    number = _luhn(prefix + _digits(source, size - len(prefix) - 1))
    return _grouped(number, sizes, source.choice([" ", "-"])) if source.random() < 0.5 else number


def _iban(source: random.Random) -> str:
    country, body = source.choice(
        [
            ("DE", _digits(source, 18)),
            ("GB", "NWBK" + _digits(source, 14)),
            ("FR", _digits(source, 10) + "AB12" + _digits(source, 9)),
            ("NO", _digits(source, 11)),
            ("MT", "MALT" + _digits(source, 23)),
        ]
    )
    numeric = "".join(str(int(c, 36)) for c in body + country + "00")
    number = f"{country}{98 - int(numeric) % 97:02d}{body}"
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if source.random() < 0.5 else number


def _nir(source: random.Random) -> str:
    department = source.choice(["75", "13", "2A", "2B"])
    number = f"{source.choice('12')}{_digits(source, 2)}{source.randrange(1, 13):02d}{department}{_digits(source, 6)}"
    key = 97 - int(number.replace("2A", "19").replace("2B", "18")) % 97
    return _grouped(f"{number}{key:02d}", (1, 2, 2, 2, 3, 3, 2), source.choice(["", " "]))


@pytest.mark.parametrize(("kind", "make"), [("card", _card), ("iban", _iban), ("nir", _nir)])
def test_numbers_with_check_digits_are_found(kind: str, make: Callable[[random.Random], str]) -> None:
    source = random.Random(kind)
    frames = ["{}", "pay with {}, please", "({})", "nr:{}.", "was 12 {} then", "{}\n"]
    lost = 0
    for number in range(200):
        value = make(source)
        verdict = GUARD.check(frames[number % len(frames)].format(value))
        lost += verdict.text is None or value in verdict.text or all(f.kind != kind for f in verdict.findings)
    assert lost <= 4  # 0.98 of 200


@pytest.mark.parametrize(("kind", "make"), [("card", _card), ("iban", _iban), ("nir", _nir)])
def test_numbers_with_a_wrong_check_digit_pass(kind: str, make: Callable[[random.Random], str]) -> None:
    source = random.Random(kind)
    for _ in range(100):
        value = make(source)
        wrong = value[:-1] + str((int(value[-1]) + 1) % 10)
        assert all(f.kind != kind for f in GUARD.check(f"pay {wrong} now").findings)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "ana@example.org"),
        ("email", "ana.b+tag@mail.sub.example.co.uk"),
        ("email", "jörg.müller@exämple.de"),
        ("phone", "+49 30 901820-17"),
        ("phone", "+1-786-284-5377"),
        ("phone", "001-786-284-5377x123"),
        ("phone", "(482)504-3749"),
        ("phone", "(482) 504-3749"),
        ("phone", "482.504.3749"),
        ("phone", "01 23 45 67 89"),
        ("phone", "0123456789"),
        ("phone", "+33 1 23 45 67 89"),
        ("phone", "030 / 901820"),
        ("phone", "020 7946 0958"),
        ("ip", "203.0.113.7"),
        ("ip", "2001:db8::ff00:42:8329"),
        ("ip", "fe80:0:0:0:204:61ff:fe9d:f156"),
        ("ssn", "219-09-9999"),
    ],
)
def test_other_kinds_are_found(kind: str, value: str) -> None:
    verdict = GUARD.check(f"it is {value}, I think")
    assert verdict.text == f"it is [{kind.upper()}_1], I think"
    assert [f.kind for f in verdict.findings] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "Version 1.2.3.4.5 is out, at 12:30:45.",
        "std::vector<int> a::b",
        "Call me at extension 4512.",
        "order 12345678, item 0042, on 2024-10-11",
        "@ana wrote to list@ and nobody",
        "000-12-3456 and 666-12-3456 and 123-00-4567",
        "127.0.0.1 and 0.0.0.0 and ::1 and 300.1.2.3",
        "a total of 1,234,567.89 in 2024-2025",
        "0000000000000000",
    ],
)
def test_look_alikes_pass(text: str) -> None:
    assert GUARD.check(text).findings == ()


def test_a_social_security_number_without_hyphens_needs_its_name() -> None:
    assert GUARD.check("SSN: 219099999").text == "SSN: [SSN_1]"
    assert GUARD.check("number 219099999").action == "allow"


def test_a_value_has_one_placeholder_in_a_run_across_messages(open_context: OpenContext) -> None:
    context = open_context()
    assert GUARD.check("ana@example.org", context).text == "[EMAIL_1]"
    assert GUARD.check("bo@example.org, ana@example.org", context).text == "[EMAIL_2], [EMAIL_1]"


def test_numbers_begin_anew_with_each_run_and_without_a_run(open_context: OpenContext) -> None:
    for context in (open_context(), open_context(), None, None):
        assert GUARD.check("bo@example.org", context).text == "[EMAIL_1]"


def test_two_guards_in_one_run_do_not_share_values(open_context: OpenContext) -> None:
    context, other = open_context(), PII(restore=True)
    GUARD.check("ana@example.org", context)
    assert other.check("bo@example.org", context).text == "[EMAIL_1]"


def test_true_values_are_gone_when_the_state_of_the_run_is_emptied(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    context.call.state.clear()
    assert "ana@" not in repr(vars(guard))
    assert restored(guard, "[EMAIL_1]", context) == "[EMAIL_1]"


def restored(guard: PII, text: str, context: GuardContext, size: int | None = None) -> str:
    restorer = guard.open_restorer(context)
    assert restorer is not None
    pieces = [text] if size is None else [text[i : i + size] for i in range(0, len(text), size)]
    return "".join(str(fed) for fed in [*map(restorer.feed, pieces), restorer.finish()])


@pytest.mark.parametrize("size", [None, 1, 2, 3, 5])
@pytest.mark.parametrize(
    "written",
    [
        "[EMAIL_1]",
        "[email_1]",
        "[Email_1]",
        "EMAIL_1",
        "email_1",
        "<EMAIL_1>",
        "(EMAIL_1)",
        "{EMAIL_1}",
        "[EMAIL 1]",
        "[EMAIL-1]",
        "[ EMAIL_1 ]",
        r"[EMAIL\_1]",
        r"\[EMAIL\_1\]",
        "[EMAIL_01]",
    ],
)
def test_a_placeholder_is_understood_however_the_model_writes_it(
    written: str, size: int | None, open_context: OpenContext
) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    assert restored(guard, f"Dear {written}, hello", context, size) == "Dear ana@example.org, hello"


@pytest.mark.parametrize(
    "written", ["[EMAIL_2]", "[PHONE_1]", "[EMAIL]", "[EMAIL_]", "MYEMAIL_1", "EMAIL_12", "[NAME_1]", "email 1"]
)
def test_a_placeholder_that_the_model_made_up_stays(written: str, open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    assert restored(guard, f"Dear {written}.", context, 1) == f"Dear {written}."


def test_a_placeholder_in_the_input_does_not_show_what_comes_later(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    assert guard.check("say [EMAIL_1] and email_2", context).action == "allow"
    assert guard.check("ana@example.org", context).text == "[EMAIL_3]"
    assert restored(guard, "[EMAIL_1] [EMAIL_2] [EMAIL_3]", context) == "[EMAIL_1] [EMAIL_2] ana@example.org"


def test_a_placeholder_in_the_input_does_not_show_what_came_before(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    written = guard.check("now say [Email_1] twice", context).text
    assert written == "now say [LITERAL_1] twice"
    assert restored(guard, f"{written}", context) == "now say [Email_1] twice"


def test_a_literal_placeholder_in_the_input_is_safe_too(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    guard.check("[EMAIL_1]", context)
    written = guard.check("[LITERAL_1]", context).text
    assert written == "[LITERAL_2]"
    assert restored(guard, "[LITERAL_2]", context) == "[LITERAL_1]"


def test_a_placeholder_whose_end_another_finding_covers_shows_nothing(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    for message in (r"email_1\_ana@example.org", r"email_2\_ana@example.org"):
        written = guard.check(message, context).text or ""
        assert "ana" not in written
        assert restored(guard, written, context) == message


PIECES = st.sampled_from(
    [
        "ana@example.org",
        "bo@example.org",
        "+49 30 901820-17",
        "203.0.113.7",
        "[EMAIL_1]",
        "email_1",
        "[LITERAL_1]",
        "<ip_1>",
        "4111 1111 1111 1111",
        " and ",
        ", ",
        "\n",
        "x",
        "[",
        "]",
        "_1",
        "EMAIL",
        "\\_",
        "1",
    ]
)


@given(messages=st.lists(st.lists(PIECES, max_size=8).map("".join), min_size=1, max_size=4), size=st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_what_was_hidden_comes_back_exactly(messages: list[str], size: int, open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    for message in messages:
        verdict = guard.check(message, context)
        written = message if verdict.text is None else verdict.text
        assert "ana@example.org" not in written
        # A message without findings was left as it is, and its placeholders mean nobody.
        assert restored(guard, written, context, size) == message


def test_without_restore_there_is_no_restorer(open_context: OpenContext) -> None:
    context = open_context()
    assert PII().open_restorer(context) is None


def test_a_restorer_reports_what_it_put_back(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    guard.check("ana@example.org", context)
    restorer: GuardStream | None = guard.open_restorer(context)
    assert restorer is not None
    restorer.feed("to [EMAIL_1]!")
    restorer.finish()
    assert [(f.start, f.end) for f in restorer.verdict.findings] == [(3, 12)]
    assert "ana" not in repr(restorer.verdict)


def test_kinds_limit_what_is_found() -> None:
    assert PII(kinds=["ip"]).check("ana@example.org at 203.0.113.7").text == "ana@example.org at [IP_1]"


def test_what_is_ignored_is_no_finding_as_it_is_written() -> None:
    guard = PII(ignore=["help@example.org", "+49\u00a030\u00a0901820"])
    assert guard.check("help@example.org or ana@example.org").text == "help@example.org or [EMAIL_1]"
    assert guard.check("call +49\u00a030\u00a0901820").action == "allow"
    assert guard.check("call +49 30 901820").text == "call [PHONE_1]"


def test_wrong_settings_are_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match="email"):
        PII(kinds=["mail"])
    with pytest.raises(ConfigurationError, match="list"):
        PII(kinds="email")
    with pytest.raises(ConfigurationError, match="restore"):
        PII(restore=True, action="block")


def test_nothing_is_kept_on_the_guard() -> None:
    guard = PII(restore=True)
    before = dict(vars(guard))
    guard.check("ana@example.org", GuardContext(call=Call(), stage="input", origin="user"))
    assert vars(guard) == before
