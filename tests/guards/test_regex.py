"""`Regex`: patterns of one's own, when they stream and when they wait."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Regex
from llmops_sdk.protocols import GuardContext


def test_it_blocks_unless_told_otherwise() -> None:
    verdict = Regex([r"\bsecret project\b"]).check("the secret project")
    assert verdict.blocked
    assert [(f.kind, f.start, f.end) for f in verdict.findings] == [("regex", 4, 18)]


def test_a_mapping_names_the_kinds() -> None:
    verdict = Regex({"ticket": r"t-\d{3}", "room": re.compile("room [a-z]", re.IGNORECASE)}, action="flag").check(
        "T t-123 ROOM B"
    )
    assert [f.kind for f in verdict.findings] == ["ticket", "room"]
    assert verdict.action == "flag"


def test_a_replacement_is_used_as_it_is() -> None:
    assert Regex([r"(\d)x"], action="rewrite", replacement=r"\1").check("1x").text == r"\1"


def test_flags_of_compiled_patterns_and_within_patterns_hold() -> None:
    for pattern in (re.compile("a.b", re.DOTALL | re.IGNORECASE), "(?si)a.b"):
        assert Regex([pattern]).check("A\nB").blocked


def test_text_patterns_know_unicode_as_re_does() -> None:
    assert Regex([r"\w{4}!"]).check("äöüß!").blocked


@pytest.mark.parametrize("pattern", [r"ticket-\d{4,8}", r"(?i:abc|de)f?", r"\bword\b", re.compile("^a", re.MULTILINE)])
def test_patterns_with_a_limit_stream_and_run_inline(
    pattern: str | re.Pattern[str], open_context: Callable[..., GuardContext]
) -> None:
    guard = Regex([pattern])
    assert guard.window is not None
    assert not guard.blocking
    assert guard.open_stream(open_context()) is not None


def test_patterns_with_many_ways_to_match_stream_but_are_checked_in_a_thread() -> None:
    guard = Regex([r"[a-z]{1,60}@[a-z]{1,60}"])
    assert guard.window is not None
    assert guard.blocking


@pytest.mark.parametrize(
    "pattern", [r"\d+", r"(a)\1", r"a(?=bc)", r"a$", r"(?:a{1,50}){1,50}", r"a{0,99}a{0,99}a{0,99}"]
)
def test_others_need_the_whole_text_and_run_in_a_thread(
    pattern: str, open_context: Callable[..., GuardContext]
) -> None:
    guard = Regex([r"fine\d{2}", pattern])
    assert guard.window is None
    assert guard.blocking
    assert guard.open_stream(open_context()) is None


def test_a_bad_pattern_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"\[a-"):
        Regex(["ok", "[a-"])


@pytest.mark.parametrize("patterns", [[], "abc", re.compile("a"), [re.compile(b"a")], [3], {}])
def test_what_is_no_list_of_patterns_is_refused(patterns: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        Regex(patterns)


def test_matches_of_nothing_do_not_count() -> None:
    assert Regex([r"a?"], action="flag").check("bab").findings[0].start == 1
    assert Regex([r"a?"]).check("bbb").action == "allow"
