"""Fences in templates of Jinja: what the plain template fences is fenced here, and nothing comes past."""

# ruff: noqa: E501  (tables read better in one line each)
from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart
from llmops_sdk.prompts._templates import Filled, compile_template, reader_of
from llmops_sdk.prompts._variables import FENCES, Variable, variable_of
from llmops_sdk.prompts.jinja import limits

_KNOWN = {
    "q": Variable(name="q", fence="xml"),
    "r": Variable(name="r", fence="xml"),
    "m": Variable(name="m", fence="markdown"),
    "k": Variable(name="k", fence="quote"),
    "o": Variable(name="o", fence="xml", optional=True),
    "d": Variable(name="d", fence="xml", type="documents"),
}
_PARTIALS = {
    "say.md": "{{ q }}",
    "macros.md": "{% macro wrap(x) %}[{{ x }}]{% endmacro %}",
    "part.md": "{% macro part(title, x) %}{{ title }}: {{ x | fence('xml', title) }}{% endmacro %}",
}
_VALUES: dict[str, object] = {
    "q": "evil</q>",
    "r": "also",
    "m": "tick",
    "k": "a\nb",
    "o": None,
    "tone": "nice",
    "more": "and more",
    "d": [Document(id="1", text="one</d>"), Document(id="2", text="two")],
}
_Q = "<q>\nevil&lt;/q>\n</q>"


def filled(text: str, known: dict[str, Variable] | None = None, **more: object) -> Filled:
    values = _VALUES | more
    template = compile_template(text, variables=_KNOWN if known is None else known, partials=reader_of(_PARTIALS))
    return template.render({name: values[name] for name in template.variables})


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("{% if q %}{{ q }}{% endif %}", _Q),
        ("{% for c in [q] %}{{ loop.index }}. {{ c }}{% endfor %}", "1. " + _Q),
        ("{% set x = q %}{{ x }}", _Q),
        ("{% with x = q %}{{ x }}{% endwith %}", _Q),
        ("{% set n = namespace(x=q) %}{{ n.x }}", _Q),
        ("{% set x %}own {{ q }}{% endset %}{{ x }}!", f"own {_Q}!"),
        ("{% macro w(x) %}[{{ x }}]{% endmacro %}{{ w(q) }}", f"[{_Q}]"),
        ("{% macro w(f) %}{{ f(q) }}{% endmacro %}{% macro g(a) %}{{ a }}{% endmacro %}{{ w(g) }}", _Q),
        ("{% macro w() %}{{ caller() }}{% endmacro %}{% call w() %}{{ q }}{% endcall %}{% call w() %}{{ r }}{% endcall %}",
         f"{_Q}<r>\nalso\n</r>"),
        ("{% include 'say.md' %}", _Q),
        ("{% from 'macros.md' import wrap %}{{ wrap(q) }}", f"[{_Q}]"),
        ("{% import 'macros.md' as all %}{{ all.wrap(q) }}", f"[{_Q}]"),
        ("{% from 'part.md' import part %}{{ part('Q', q) }} {{ part('R', r) }}",
         "Q: <Q>\nevil&lt;/q>\n</Q> R: <R>\nalso\n</R>"),
        ("{{ q | upper }}", "<q>\nEVIL&lt;/Q>\n</q>"),
        ("{{ q.upper() }}", "<q>\nEVIL&lt;/Q>\n</q>"),
        ("{{ q[:4] }}", "<q>\nevil\n</q>"),
        ("{{ q ~ '!' }}", "<q>\nevil&lt;/q>!\n</q>"),
        ("{{ [q] | join }}", _Q),
        ("{{ q | upper | fence('json') }}", '"EVIL</Q>"'),
        ("{{ (q ~ tone) | fence('xml', 'both') }}", "<both>\nevil</q>nice\n</both>"),
        ("{% set x = (q ~ tone) | fence('xml', 'both') %}{{ x }}", "<both>\nevil</q>nice\n</both>"),
        ("{{ tone | fence }}", "<tone>\nnice\n</tone>"),
        ("{{ q | fence }}", _Q),
        ("{{ q | length }} {{ q == 'x' }} {{ 'yes' if q else 'no' }}", "8 False yes"),
        ("[{{ o }}]{% if q %}{% endif %}", "[]"),
        # Of what is in its fence already or from several variables without one, nothing needs a name.
        ("{% set x = q | fence %}{% if not tone %}{% set x = tone ~ more %}{% endif %}{{ x }}", _Q),
        ("{% for one in d %}{{ one }};{% endfor %}", '<d id="1">\none&lt;/d>\n</d>;<d id="2">\ntwo\n</d>;'),
        ("{% for one in d %}{{ one.text | trim }};{% endfor %}", '<d id="1">\none&lt;/d>\n</d>;<d id="2">\ntwo\n</d>;'),
        ("{% if q %}{{ d }}{% endif %}", '<d id="1">\none&lt;/d>\n</d>\n\n<d id="2">\ntwo\n</d>'),
        ("{% if q %}\n{{ m }}\n{% endif %}end", "```m\ntick\n```\nend"),
        # A fence of lines gets its own line where a statement stands beside it.
        ("a{% if q %}{{ m }}{% endif %}b", "a\n```m\ntick\n```\nb"),
        ("a{% if q %}{{ k }}{% endif %}b", "a\n> a\n> b\nb"),
        ("{% macro w(x) %}{{ x }}{% endmacro %}a {{ w(m) }} b", "a \n```m\ntick\n```\n b"),
        ("{% for x in [k, k] %}{{ x }}{% endfor %}", "> a\n> b\n> a\n> b"),
    ],
)  # fmt: skip
def test_whatever_comes_from_a_variable_with_a_fence_stands_in_it(text: str, is_: str) -> None:
    assert filled(text)[0] == is_


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ q ~ tone }}", "may come from 'q', which has `fence: xml`, and from 'tone': put out one at a time, or"),
        ("{{ (q ~ tone) | fence }}", 'say what fence it has, `{{ (...) | fence("xml", "name") }}`'),
        ("{{ q or r }}", "may come from 'q', which has `fence: xml`, and from 'r'"),
        ("{% macro w(x) %}{{ x }}{% endmacro %}{{ w(q) }}{{ w(r) }}", "may come from 'q'"),
        ("{% filter upper %}{{ q }}{{ tone }}{% endfilter %}", "may come from 'q'"),
        ("{{ tone | fence(q) }}", "one of xml, markdown, quote, json"),
        ("{{ tone | fence('zip') }}", "one of xml, markdown, quote, json"),
        ("{{ tone | fence('xml', q) }}", "the name of a fence is the template's own, and this one comes from q"),
        ("{{ 'x' | fence }}", 'say what it is called, `{{ x | fence("xml", "notes") }}`'),
        ("{{ tone | fence('xml', 'a', 1) }}", "`fence` takes a kind and a name"),
        ("{% set x | fence('xml', 'x') %}{{ tone }}{% endset %}{{ x }}", "`fence` is no filter for a block"),
        ("{% filter upper | fence('xml', 'x') %}{{ tone }}{% endfilter %}", "`fence` is no filter for a block"),
        ("x {{ m }}{% if q %}{% endif %}", "`{{ m }}` has `fence: markdown`, so it needs a line of its own"),
        ("{% if q %}{{ m }}{{ k }}{% endif %}", "`{{ m }}` has `fence: markdown`, so it needs a line of its own"),
        ("x {{ tone | fence('quote') }}", "so it needs a line of its own"),
    ],
)
def test_where_the_fence_cannot_be_said_the_template_is_refused(text: str, says: str) -> None:
    with pytest.raises(PromptError) as caught:
        compile_template("\n" + text, variables=_KNOWN, where="prompts/x.prompt.md", line=10)

    assert str(caught.value).startswith("prompts/x.prompt.md:11: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "x><", "", "1"])
def test_the_name_of_a_fence_is_a_plain_name(name: str) -> None:
    with pytest.raises(PromptError, match="is no name for a fence"):
        filled(f"{{{{ tone | fence('xml', '{name}') }}}}")


_NAMES = st.sampled_from(["{{ q }}", "{{ d }}", "{{ c.note }}", "{{ o }}", "{{ tone }}"])
_LINES = st.lists(st.one_of(_NAMES, st.sampled_from(["own", "a {b}", ""])), min_size=1, max_size=4)
_HOSTILE = st.lists(
    st.sampled_from(["<", "/", "q>", "</q>", "</d>", "</c.note>", "```", "\n", '"', "\\", "> ", "é", "a"]), max_size=8
).map("".join)


@settings(max_examples=60, deadline=None)
@given(
    lines=_LINES,
    fences=st.lists(st.sampled_from([*FENCES, None]), min_size=4, max_size=4),
    texts=st.lists(_HOSTILE, min_size=5, max_size=5),
    optional=st.booleans(),
    many=st.integers(0, 2),
)
def test_plain_and_jinja_give_the_same_text_and_the_same_origins(
    lines: list[str], fences: list[str | None], texts: list[str], *, optional: bool, many: int
) -> None:
    known = {
        "q": Variable(name="q", fence=fences[0]),
        "d": Variable(name="d", fence=fences[1], type="documents"),
        "c": Variable(name="c", fence=fences[2]),
        "o": Variable(name="o", fence=fences[3], optional=True),
        "tone": Variable(name="tone", trusted=True),
    }
    values: dict[str, object] = {
        "q": texts[0],
        "d": [Document(id=f"<{n}>", text=text) for n, text in enumerate(texts[1 : 1 + many])],
        "c": {"note": texts[3]},
        "o": None if optional else texts[4],
        "tone": "nice",
    }
    text = "\n".join(lines)

    plain = filled(text, known, **values)

    assert filled(text + "{% set unused = 1 %}", known, **values) == plain
    assert filled("{% set all %}\n" + text + "{% endset %}{{ all }}", known, **values) == plain


@settings(max_examples=40, deadline=None)
@given(
    text=_HOSTILE,
    shape=st.sampled_from(
        ["{{ q }}", "{{ q | upper }}", "{% for c in q.split() %}{{ c }}{% endfor %}", "{% set x %}{{ q }}{% endset %}{{ x }}",
         "{% macro w(x) %}{{ x }}{% endmacro %}{{ w(q) }}", "{{ q | default('-') | trim }}", "{{ [q, 'x'] | first }}",
         "{{ q and {'a': q}.a }}", "{% include 'say.md' %}", "{{ q | replace('a', '</q>') }}"]
    ),
)  # fmt: skip
def test_no_text_closes_its_fence(text: str, shape: str) -> None:
    whole, origins, _ = filled("{% set unused = 1 %}" + shape, q=text)

    outside = list(whole)
    for one in origins:
        outside[one.start : one.end] = [""] * (one.end - one.start)
        assert not re.search(r"<\s*/?\s*q", whole[one.start : one.end], re.IGNORECASE)
    assert re.fullmatch(r"(<q>\n\n</q>)*", "".join(outside))


def test_a_fence_takes_a_text_as_long_as_the_prompt_may_be() -> None:
    for text in ("{{ q }}", "{% if q %}{{ q }}{% endif %}"):
        template = compile_template(text, variables=_KNOWN, max_chars=1_000)

        assert template.render({"q": "x" * 990})[0] == f"<q>\n{'x' * 990}\n</q>"
        with pytest.raises(PromptError, match="more than the 1,000"):
            template.render({"q": "x" * 1_000})


def test_a_fence_is_as_many_steps_as_it_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STEPS", 1_000)
    template = compile_template("{% if q %}{{ q }}{% endif %}", variables=_KNOWN)

    assert template.render({"q": "x"})[0] == "<q>\nx\n</q>"
    with pytest.raises(PromptError, match="more than the 1,000 steps"):
        template.render({"q": "x" * 64 * 300})


def test_no_template_reaches_the_filters_of_the_compiler() -> None:
    for name, argument in (("%spend", "-10 ** 12"), ("%put out", "[]"), ("%fence", "q"), ("fence", "q")):
        with pytest.raises(PromptError, match=r"there is no filter|`fence` is written behind"):
            filled(f"{{% set x = [{argument}] | map('{name}') | list %}}{{{{ q and x }}}}")


def test_an_image_stands_within_the_fence() -> None:
    image = ImagePart(url="https://example.org/x.png")
    plain = filled("{{ q }}", q=image)

    assert plain[0] == "<q>\n\n</q>"
    assert plain[2] == ((4, image),)
    assert filled("{% if q %}{{ q }}{% endif %}", q=image) == plain


def test_the_text_of_a_document_that_nobody_vouches_for_is_not_trusted_in_a_plain_template_either() -> None:
    known = {"tones": variable_of("tones", {"trusted": True})}
    document = Document(id="a", text="evil")

    shapes = ("{{ tones.text }}", document), ("{{ tones.a }}", {"a": [document, "x"]}), ("{{ tones }}", ["x", document])
    for text, value in shapes:
        (origin,) = filled(text, known, tones=value)[1]
        assert not origin.trusted
