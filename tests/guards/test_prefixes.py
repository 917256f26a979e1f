"""What is derived from a pattern is compared with the definition: every prefix of every match, and no position late."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops_sdk.guards._code.rules import CODE_RULES
from llmops_sdk.guards._injection.rules import INJECTION_RULES
from llmops_sdk.guards._patterns.prefixes import Unstreamable, join_prefixes, read_shape
from llmops_sdk.guards._pii.restorer import PLACEHOLDER
from llmops_sdk.guards._secrets.guard import SECRET_RULES
from llmops_sdk.guards._urls.guard import _URL_RULES

PATTERNS = [
    (r"abc", 0),
    (r"a{2,4}b?c", 0),
    (r"(?:ab|ac|b)c{1,3}", 0),
    (r"(a|bb){1,3}c", 0),
    (r"(?i:aB)c", 0),
    (r"ab", re.IGNORECASE),
    (r"\bab\b", re.ASCII),
    (r"(?<![ab])c[abc]{0,3}", 0),
    (r"a(?=[bc])", 0),
    (r"ab(?!c)", 0),
    (r"a[^b]c", 0),
    (r"a.c", re.DOTALL),
    (r"^ab", re.MULTILINE),
    (r"ab$", re.MULTILINE),
    (r"a{1,3}?b", 0),
    (r"(?>a{1,2})b", 0),
    (r"a{1,2}+b", 0),
    (r"(?:a(?:b(?:c|a)){0,2}){1,2}", 0),
    (r"[\]\-a^]b", 0),
    (r"a\nb", 0),
    (r"(?:)a", 0),
    (r"a[ab]{0,9}+c", 0),
    (r"[ab]{1,3}bc{1,2}", 0),
    (r"(?:[ab]{0,9}+c){1,3}a", 0),
    (r"a(?:[ab]{0,4}+c){0,3}[abc]{1,9}(?<![ac])", 0),
    (r"ab{0,9}[^c]{0,9}c{0,9}(?!a)", 0),
]
TEXTS = st.text(alphabet="abcAB \n-]^", max_size=9)


@pytest.mark.parametrize(("pattern", "flags"), PATTERNS)
@given(text=TEXTS, more=TEXTS)
@example(text="abbc", more="c")
@settings(max_examples=80, deadline=None)
def test_every_match_that_ends_later_begins_where_it_is_said_to_be_possible(
    pattern: str, flags: int, text: str, more: str
) -> None:
    partial = join_prefixes([read_shape(pattern, flags)]).search(text)
    decided = len(text) if partial is None else partial.start()
    compiled = re.compile(pattern, flags)
    for start in range(decided):
        now, later = compiled.match(text, start), compiled.match(text + more, start)
        assert (now and now.span()) == (later and later.span())


@pytest.mark.parametrize("rule", [*SECRET_RULES, *CODE_RULES, *_URL_RULES, PLACEHOLDER], ids=lambda rule: rule.kind)
def test_the_rules_of_streaming_guards_are_bounded(rule: object) -> None:
    shape = read_shape(rule.pattern, rule.flags)  # type: ignore[attr-defined]
    assert shape.longest is not None
    assert shape.shortest > 1


@pytest.mark.parametrize("pattern", [r"a(?=bc)", r"a$", r"(a)\1", r"a(?!b{1,2})", r"(a)?(?(1)b|c)", r"a(?=\bb)"])
def test_what_looks_further_ahead_cannot_be_followed(pattern: str) -> None:
    with pytest.raises(Unstreamable):
        read_shape(pattern)


@pytest.mark.parametrize(
    ("pattern", "shortest", "longest", "behind"),
    [
        (r"abc", 3, 3, 0),
        (r"(?<!x)a{2,5}", 2, 5, 1),
        (r"a(?<=[xyz]a)b?", 1, 2, 2),
        (r"a+", 1, None, 0),
        (r"(?:ab*){1,2}", 1, None, 0),
        (r"\bword\b", 4, 4, 1),
    ],
)
def test_lengths_are_those_of_the_pattern(pattern: str, shortest: int, longest: int | None, behind: int) -> None:
    shape = read_shape(pattern)
    assert (shape.shortest, shape.longest, shape.behind) == (shortest, longest, behind)


def test_costs_tell_cheap_patterns_from_those_that_backtrack() -> None:
    assert read_shape(r"ticket-\d{4,8}").cost <= 10
    assert read_shape(r"(?:a{1,9}){1,9}").cost >= 10**6
    assert read_shape(r"(a+)+b").cost >= 10**6


@pytest.mark.parametrize("rule", INJECTION_RULES, ids=lambda rule: rule.kind)
def test_the_rules_for_injections_have_a_limit_too(rule: object) -> None:
    assert re.search(r"(?<!\\)[*+]|,\}", re.sub(r"\[[^\]]*\]", "", rule.pattern)) is None  # type: ignore[attr-defined]
