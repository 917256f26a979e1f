"""A difference that is called compatible is: old callers render, and old readers can read the answer."""

from __future__ import annotations

import datetime as dt
from typing import Any

import jsonschema
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts import Prompt, diff

SCALARS: Any = st.sampled_from(
    ["", "a", "b", "2026-03-31", "2026-03-31T12:00:00", 0, 1, 2, 1.0, 0.5, True, False, None]
) | st.sampled_from([dt.date(2026, 3, 31), dt.datetime(2026, 3, 31, 12, tzinfo=dt.UTC)])
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=4,
)
JSON: Any = st.recursive(
    st.sampled_from(["", "a", "b", 0, 1, 2, 1.0, 0.5, True, False, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=4,
)
WORDS = st.sampled_from(
    [
        *("any", "str", "int", "float", "bool", "list", "mapping", "date", "datetime", "a | b", "a | b | c"),
        *("list[str]", "list[int]", "list[date]", "dict[str, int]", "str?", "int | str", "list[a | b]"),
        *("list[float]", "list[any]", "date | int", "documents", "messages", "image"),
    ]
)


def _keywords(inner: Any) -> Any:
    return st.one_of(
        st.fixed_dictionaries({"enum": st.lists(JSON, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"]), "minimum": st.integers(0, 2)}),
        st.fixed_dictionaries({"type": st.just("number"), "multipleOf": st.sampled_from([1, 0.5, 2])}),
        st.fixed_dictionaries({"type": st.just("string"), "maxLength": st.integers(0, 2)}),
        st.fixed_dictionaries({"type": st.just("string"), "format": st.sampled_from(["date", "date-time"])}),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, "maxItems": st.integers(0, 2)}),
        st.fixed_dictionaries({"type": st.just("array"), "uniqueItems": st.booleans()}),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
                "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
                "additionalProperties": st.booleans(),
            }
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    )


SCHEMAS: Any = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "null"}]),
    _keywords,
    max_leaves=3,
)
DECLARED: Any = WORDS | SCHEMAS
TEXTS = st.sampled_from(
    [
        *("Hello.", "{{ x }}", "{{ x }} {{ y }}", "{{ x.a }}", "{{ x | upper }}", "{{ x | trim }}!"),
        *(
            "{% if x %}{{ y }}{% endif %}",
            "{% if x == 'a' %}A{% else %}B{% endif %}",
            "{% if not x and y %}A{% endif %}",
        ),
        *("{% for one in x %}{{ one }}{% endfor %}", "{{ x.a.b }}", "{% if x.a is defined %}{{ x.a }}{% endif %}"),
        *("{{ x + 1 }}", "{{ x | join }}", "{% set z = x %}{{ z }}", "{% if x > 1 %}A{% endif %}"),
    ]
)


MORE: Any = st.sampled_from([{}, {}, {"optional": True}, {"default": "a"}, {"default": {"a": "b"}}])
PARTS = st.fixed_dictionaries({"text": TEXTS, "x": DECLARED, "y": DECLARED, "of x": MORE, "of y": MORE})
FIND = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes here: the examples are small as they are."""


def prompt_of(parts: dict[str, Any]) -> Prompt:
    declared = {}
    for name in "xy":
        said = parts[name]
        declared[name] = {**(said if isinstance(said, dict) else {"type": said}), **parts[f"of {name}"]}
    try:
        return Prompt.from_string(parts["text"], variables=declared)
    except (ConfigurationError, PromptError):
        reject()


@st.composite
def edits(draw: Any) -> tuple[Prompt, Prompt]:
    """A prompt, and what an edit of one or two of its parts made of it."""
    parts = draw(PARTS)
    edited = draw(st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=2))
    return prompt_of(parts), prompt_of({**parts, **{key: draw(PARTS)[key] for key in edited}})


def renders(prompt: Prompt, values: dict[str, Any]) -> bool:
    try:
        prompt.render(**values)
    except PromptError:
        return False
    return True


@settings(max_examples=20, phases=FIND, suppress_health_check=list(HealthCheck))
@given(pair=edits(), values=st.lists(st.fixed_dictionaries({}, optional={"x": VALUES, "y": VALUES}), min_size=6))
def test_what_old_callers_give_renders_where_a_change_is_compatible(pair, values) -> None:
    old, new = pair
    assert (diff(old, new).verdict == "same") == (old.hash == new.hash)
    if diff(old, new).compatible:
        assert [one for one in values if renders(old, one) and not renders(new, one)] == []


@settings(max_examples=50, phases=FIND, suppress_health_check=list(HealthCheck))
@given(old=SCHEMAS, new=SCHEMAS, answers=st.lists(JSON, min_size=8, max_size=8))
def test_what_the_new_version_answers_fits_the_old_schema_where_a_change_is_compatible(old, new, answers) -> None:
    try:
        before, after = (Prompt.from_string("Hi", output={"schema": one, "repairs": 0}) for one in (old, new))
    except ConfigurationError:
        reject()
    if diff(before, after).compatible:
        before_schema, after_schema = before.content.output, after.content.output
        for answer in answers:
            if jsonschema.Draft202012Validator(after_schema).is_valid(answer):
                assert jsonschema.Draft202012Validator(before_schema).is_valid(answer)
