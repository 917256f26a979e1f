"""Pattern guards in streams: for every way of cutting a text, the stream equals the guarded whole."""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import PII, PatternGuard, Regex, Rule, Secrets
from llmops_sdk.guards._patterns.guard import _Search
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import Verdict

OpenContext = Callable[..., GuardContext]

_PEM = "-----BEGIN RSA PRIVATE " + "KEY-----"
SECRETS = [
    "gh" + "p_" + "a1B2c3D4e5F6" * 3,
    "s" + "k-proj-" + "Ab1-Cd2_Ef3g" * 5,
    "AK" + "IA" + "ABCDEFGH12345678",
    "pass" + "word = 'hunter2!x'",
    "Authorization: Bear" + "er abcDEF123456_-ghiJKL",
    "postgres" + "://app:S3cr3tP4ss@db:5432/x",
    "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJlIQ",
    _PEM + "\nMIIEpAIBAAKCAQEA1234567890abcdefghij\n-----END RSA PRIVATE " + "KEY-----",
    "api_" + 'key="q9W8e7R6t5Y4u3I2o1"',
]
PERSONAL = [
    "ana.b+c@mail.example.org",
    "+49 30 901820-17",
    "(482)504-3749",
    "4111 1111 1111 1111",
    "GB29 NWBK 6016 1331 9268 19",
    "203.0.113.7",
    "2001:db8::ff00:42:8329",
    "219-09-9999",
    "2 55 08 14 168 025 38",
    "01 23 45 67 89",
]
OTHER = [
    "[EMAIL_1]",
    "EMAIL_1",
    "email_2",
    "[IP_3]",
    "[literal_1]",
    " ",
    "\n",
    "\\n",
    ".",
    "@",
    "://",
    "\x00",
    "é",
    "e\u0301",
    "\ud83d",
    "\ude00",
    "😀",
    "\u200b",
    "ключ",
    "the key is ",
    "Hello there, ",
    "pass",
    "1.2.3.4.5",
    "12:30",
    "-----",
    "=",
    ":",
    "abc123",
    "0",
    "42",
    "_",
    "K",
    "p",
    "a@b.",
    "std::vector<int>",
]

_WHOLE = [*SECRETS, *PERSONAL, *OTHER]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Fragments of what guards look for, whole or cut, side by side or one inside of the other."""
    pieces: list[str] = []
    for _ in range(draw(st.integers(1, 6))):
        piece = draw(st.sampled_from(_WHOLE))
        how = draw(st.integers(0, 4))
        if how == 1:
            piece = piece[: draw(st.integers(0, len(piece)))]
        elif how == 2:
            piece = piece[draw(st.integers(0, len(piece))) :]
        elif how == 3:
            middle = draw(st.integers(0, len(piece)))
            piece = piece[:middle] + draw(st.sampled_from(_WHOLE)) + piece[middle:]
        pieces.append(piece)
    return "".join(pieces)


def cut(text: str, places: Sequence[int]) -> list[str]:
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def run(stream: GuardStream, chunks: Sequence[str]) -> tuple[str, Verdict]:
    emitted = "".join(stream.feed(chunk) for chunk in chunks) + stream.finish()
    return emitted, stream.verdict


def whole(guard: PatternGuard, text: str, context: GuardContext) -> tuple[str, Verdict]:
    verdict = guard.check(text, context)
    if verdict.action == "block":
        return text[: verdict.findings[0].start], verdict
    return (text if verdict.text is None else verdict.text), verdict


def alike(one: Verdict, other: Verdict) -> bool:
    return (one.action, one.findings, one.reason) == (other.action, other.findings, other.reason)


GUARDS: dict[str, PatternGuard] = {
    "secrets": Secrets(),
    "secrets_block": Secrets(action="block"),
    "secrets_flag": Secrets(action="flag"),
    "pii": PII(),
    "pii_block": PII(action="block"),
    "pii_restore": PII(restore=True),
    "regex": Regex(
        [r"\babc\d{1,3}\b", r"[0-9]{2,5}(?![0-9])", re.compile("KEY|key is", re.IGNORECASE), r"a\b"], action="rewrite"
    ),
    "regex_block": Regex([r"abc\d{1,3}", r"(?<=[ .])the"], action="block"),
    "one": PatternGuard([Rule(kind="one", pattern=r"[0-9a-z]{3,4}(?![0-9])")]),
    "overlaps": PatternGuard(
        [
            Rule(kind="a", pattern=r"[0-9]{2,4}"),
            Rule(kind="b", pattern=r"[0-9a-c]{3,6}"),
            Rule(kind="c", pattern=r"c1?[23]?"),
            Rule(kind="d", pattern=r"the (key|[a-z]{1,5} is)", group=1),
            Rule(kind="e", pattern=r"e[ \n]{0,2}.", accepts=lambda match: not match.group().endswith("k")),
        ]
    ),
}

CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@pytest.mark.parametrize("name", GUARDS)
@given(text=texts(), places=CUTS)
@example(text="password = x password = 'hunter2!x' gh", places=[3, 12, 13, 20])
@settings(max_examples=100, deadline=None)
def test_a_stream_equals_the_whole_for_every_cut(
    name: str, text: str, places: list[int], open_context: OpenContext
) -> None:
    guard = GUARDS[name]
    stream = guard.open_stream(open_context())
    assert stream is not None
    expected, verdict = whole(guard, text, open_context())
    emitted, streamed = run(stream, cut(text, places))
    assert emitted == expected
    assert alike(streamed, verdict)


@pytest.mark.parametrize("name", GUARDS)
@given(text=texts())
@settings(max_examples=25, deadline=None)
def test_a_stream_of_single_characters_equals_the_whole_and_keeps_its_window(
    name: str, text: str, open_context: OpenContext
) -> None:
    guard = GUARDS[name]
    stream = guard.open_stream(open_context())
    assert stream is not None
    assert guard.window is not None
    expected, verdict = whole(guard, text, open_context())
    emitted: list[str] = []
    removed = sum(f.end - f.start for f in verdict.findings)
    for fed, character in enumerate(text, 1):
        emitted.append(stream.feed(character))
        if guard.action == "flag":
            assert emitted[-1] == character
        elif not removed and not stream.verdict.blocked:
            assert fed - len("".join(emitted)) <= guard.window
    emitted.append(stream.finish())
    assert "".join(emitted) == expected
    assert alike(stream.verdict, verdict)


@given(text=texts(), places=CUTS)
@settings(max_examples=50, deadline=None)
def test_guards_in_a_row_equal_the_whole_one_after_the_other(
    text: str, places: list[int], open_context: OpenContext
) -> None:
    chain = [GUARDS[name] for name in ("secrets", "pii_restore", "overlaps", "regex")]
    expected, context = text, open_context()
    for guard in chain:
        expected, _ = whole(guard, expected, context)
    streams = [guard.open_stream(other) for guard, other in zip(chain, [open_context()] * 4, strict=True)]
    emitted = ""
    for chunk in cut(text, places):
        for stream in streams:
            assert stream is not None
            chunk = stream.feed(chunk)  # noqa: PLW2901
        emitted += chunk
    for number in range(len(streams)):
        rest = streams[number].finish()  # type: ignore[union-attr]
        for stream in streams[number + 1 :]:
            rest = stream.feed(rest)  # type: ignore[union-attr]
        emitted += rest
    assert emitted == expected


@pytest.mark.parametrize("secret", SECRETS)
def test_no_character_of_a_secret_is_emitted_at_any_cut_in_two(secret: str, open_context: OpenContext) -> None:
    guard = GUARDS["secrets"]
    text = f"Sure, here: {secret} and so on."
    expected, _ = whole(guard, text, open_context())
    for place in range(len(text)):
        stream = guard.open_stream(open_context())
        assert stream is not None
        assert expected.startswith(stream.feed(text[:place]))


def test_prose_is_emitted_at_once(open_context: OpenContext) -> None:
    stream = GUARDS["secrets"].open_stream(open_context())
    assert stream is not None
    assert stream.feed("The quick brown fox, ") == "The quick brown fox, "


def test_after_a_block_nothing_more_is_emitted(open_context: OpenContext) -> None:
    stream = GUARDS["secrets_block"].open_stream(open_context())
    assert stream is not None
    assert stream.feed("It is " + SECRETS[0] + " ok") == "It is "
    assert stream.verdict.blocked
    assert stream.feed("more") == ""
    assert stream.finish() == ""


@pytest.mark.parametrize(("most", "window"), [(50, 53), (400, 453)])
def test_what_is_held_back_never_exceeds_the_window_on_hostile_text(
    most: int, window: int, open_context: OpenContext
) -> None:
    guard = PatternGuard([Rule(kind="long", pattern=rf"<[a-z]{{0,{most}}}>", literals=("<",))])
    stream = guard.open_stream(open_context())
    assert stream is not None
    assert guard.window == window
    sent = 0
    for number in range(1, 1_500):
        sent += len(stream.feed("<" if number % (most + 10) == 1 else "a"))
        assert number - sent <= window


def test_a_long_hold_ends_soon_after_it_could_not_be_a_match(open_context: OpenContext) -> None:
    stream = PatternGuard([Rule(kind="long", pattern=r"<[a-z]{0,400}>")]).open_stream(open_context())
    assert stream is not None
    assert stream.feed("<" + "a" * 299) == ""
    emitted = "".join(map(stream.feed, " " * 75))
    assert len(emitted) == 375


@pytest.mark.parametrize(
    "unit",
    [
        "ghp_",
        "sk-proj-",
        "password = ",
        "password",
        "://",
        "eyJ",
        "eyJaaaaaaaa.",
        "-----BEGIN PRIVATE " + "KEY-----\n",
        "a@",
        "a.",
        "1.",
        "1 ",
        "0",
        "1::",
        "GB29",
        "+1",
        "[EMAIL_1",
        "EMAIL_",
        "api_key: ",
        "bearer ",
        "a",
        "\x00",
        "\ud800",
        "\\n",
        "secret ",
        "-----BEGIN ",
        "AKIA",
        "é",
        "=",
        "4111 1111 1111 1111 ",
        "ana@example.org ",
    ],
)
@pytest.mark.parametrize("name", ["secrets", "pii_restore"])
@pytest.mark.timeout(60)
def test_hostile_texts_get_a_verdict_whole_and_streamed(name: str, unit: str, open_context: OpenContext) -> None:
    guard = GUARDS[name]
    text = (unit * (12_000 // len(unit) + 1))[:12_000]  # longer than any window
    expected, verdict = whole(guard, text, open_context())
    stream = guard.open_stream(open_context())
    assert stream is not None
    emitted, streamed = run(stream, [text[i : i + 97] for i in range(0, len(text), 97)])
    assert emitted == expected
    assert alike(streamed, verdict)


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.timeout(60)
def test_a_long_text_gets_a_verdict(name: str, open_context: OpenContext) -> None:
    text = "Lorem ipsum dolor sit amet, 12 consectetur; a key.\n" * 4_000 + SECRETS[0] + " " + PERSONAL[0]
    _, verdict = whole(GUARDS[name], text, open_context())
    assert len(text) > 200_000
    if name.startswith(("secrets", "pii")):
        assert verdict.findings


def test_threads_share_guards_and_miss_nothing(open_context: OpenContext) -> None:
    secrets, pii = Secrets(ignore=["hunter2!y"]), PII(restore=True)
    expected = {secret: secrets.check(f"so {secret} it").findings for secret in SECRETS}
    wrong: list[str] = []

    def work(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(250):
            secret, person = source.choice(SECRETS), source.choice(PERSONAL)
            if not expected[secret] or secrets.check(f"so {secret} it").findings != expected[secret]:
                wrong.append(secret)
            context = open_context()
            written = pii.check(f"so {person} it", context).text or ""
            restorer = pii.open_restorer(context)
            assert restorer is not None
            if person in written or run(restorer, [written])[0] != f"so {person} it":
                wrong.append(person)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


HOSTILE = ["https://", "sl.", "password ", "key=key=", "-----BEGIN ", "xoxb-", "0", ":", "-eyJ", "secret "]


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("size", [0, 4])
def test_a_longer_hostile_text_takes_no_more_than_its_share(
    unit: str, size: int, open_context: OpenContext, cpu_time: Callable[..., float]
) -> None:
    """Whole, and in a stream however it is cut."""
    guard = GUARDS["secrets"]

    def work(length: int) -> None:
        text = unit * (length // len(unit))
        if not size:
            guard.check(text)
            return
        stream = guard.open_stream(open_context())
        assert stream is not None
        for at in range(0, len(text), size):
            stream.feed(text[at : at + size])
        stream.finish()

    assert cpu_time(work, 16_000) <= 12 * cpu_time(work, 4_000) + 0.001


@pytest.mark.heavy  # only that environment has RE2
def test_the_optional_engine_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("re2")
    fast, plain = _Search(Secrets().rules), _Search(Secrets().rules)
    assert fast._fast is not None
    monkeypatch.setattr(plain, "_fast", None)
    source = random.Random(5)
    for _ in range(300):
        pieces = [source.choice([*SECRETS, *PERSONAL, *OTHER, "Lorem ipsum dolor " * 5]) for _ in range(12)]
        text = "".join(pieces)
        assert fast.find(text, 0, len(text), 0, {}) == plain.find(text, 0, len(text), 0, {})


def test_findings_carry_kind_offsets_rule_and_origin(open_context: OpenContext) -> None:
    guard = PatternGuard([Rule(kind="word", pattern="[a-z]{3}", score=0.7)], action="flag")
    verdict = guard.check("é abc", open_context(origin="user"))
    finding = verdict.findings[0]
    assert (finding.kind, finding.start, finding.end, finding.score, finding.rule, finding.origin) == (
        "word",
        2,
        5,
        0.7,
        "word",
        "user",
    )


def test_a_rule_that_is_no_pattern_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\(unclosed"):
        PatternGuard([Rule(kind="x", pattern="(unclosed")])


def test_a_rule_without_a_limit_needs_the_whole_text(open_context: OpenContext) -> None:
    guard = PatternGuard([Rule(kind="x", pattern="a+")])
    assert guard.window is None
    assert guard.open_stream(open_context()) is None
    assert guard.check("baab").text == "b[x]b"


def test_a_finding_waits_for_one_that_begins_before_it(open_context: OpenContext) -> None:
    guard = PatternGuard([Rule(kind="late", pattern=r"xbc(dd)", group=1), Rule(kind="wide", pattern=r"b[cde]{0,6}!")])
    expected, verdict = whole(guard, "xbcdde!", open_context())
    assert expected == "x[wide]"
    stream = guard.open_stream(open_context())
    assert stream is not None
    assert run(stream, ["xbcdde", "!"]) == (expected, stream.verdict)
    assert alike(stream.verdict, verdict)


def test_findings_that_overlap_leave_one_replacement() -> None:
    guard = PatternGuard([Rule(kind="a", pattern="abc"), Rule(kind="b", pattern="cde"), Rule(kind="c", pattern="d")])
    verdict = guard.check("xabcdey")
    assert verdict.text == "x[a]y"
    assert [finding.kind for finding in verdict.findings] == ["a", "b"]


def test_of_findings_with_one_start_the_longest_counts_then_the_first_rule() -> None:
    rules = [Rule(kind="short", pattern="ab"), Rule(kind="long", pattern="abc"), Rule(kind="same", pattern="ab[c]")]
    assert PatternGuard(rules).check("abc").text == "[long]"


def test_after_a_match_that_its_validator_refuses_the_search_goes_on_inside_of_it() -> None:
    rule = Rule(kind="x", pattern="[0-9]{3}", accepts=lambda match: match.group().endswith("7"))
    assert PatternGuard([rule]).check("1237").text == "1[x]"


def test_literals_and_hints_spare_the_pattern() -> None:
    def never(_: re.Match[str]) -> bool:
        raise AssertionError

    guarded = PatternGuard(
        [
            Rule(kind="x", pattern="a", literals=("zz",), accepts=never),
            Rule(kind="y", pattern="a", hint="zz", accepts=never),
        ]
    )
    assert guarded.check("a").action == "allow"


def test_a_pipeline_that_is_built_leaves_nothing_to_compile_for_the_first_stream():
    guard = PatternGuard((Rule(kind="fresh", pattern=r"\bfresh-[a-z]{4}\b", literals=("fresh-",)),))
    assert "partial" not in vars(guard._search)
    guard.prepare()
    assert "partial" in vars(guard._search)
