# ruff: noqa: E501  (tables read better in one line each)
from __future__ import annotations

import json
import string
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart
from llmops_sdk.prompts._files import parse_prompt
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._templates import compile_template, reader_of
from llmops_sdk.prompts._variables import Variable

TRUSTED = {"tone": Variable(name="tone", trusted=True), "tones": Variable(name="tones", trusted=True)}
PARTIALS = {
    "say.md": "<{{ q }}|{{ tone }}>\n",
    "macros.md": "{% macro wrap(x, y='-') %}[{{ x }}{{ y }}]{% endmacro %}{% set fixed = 'own' %}",
    "loop.md": "{% for x in q.split() %}{{ x }}{% endfor %}",
}


@dataclass
class Customer:
    name: str
    tags: list[str] = field(default_factory=list)


def rendered(text: str, partials: dict[str, str] | None = None, **values: object) -> str:
    return compile_template(text, partials=reader_of(partials or {})).render(values)[0]


def marked(text: str, **values: object) -> list[tuple[str, str, bool]]:
    template = compile_template(text, variables=TRUSTED, partials=reader_of(PARTIALS))
    whole, origins, _ = template.render(values)
    return [(whole[one.start : one.end], one.source, one.trusted) for one in origins]


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("{% if a %}yes{% elif b %}maybe{% else %}no{% endif %}", "yes"),
        ("{% for x in l %}{{ loop.index }}:{{ x }}{{ ', ' if not loop.last }}{% endfor %}", "1:p, 2:q"),
        ("{% for x in [] %}{% else %}none{{ a }}{% endfor %}", "none1"),
        ("{% set x = a + 2 %}{{ x }}", "3"),
        ("{% set x %}<{{ a }}>{% endset %}{{ x }}{{ x | length }}", "<1>3"),
        ("{% filter upper %}x{{ b }}{% endfilter %}", "XTEXT"),
        (
            "{% macro m(x, y=2) %}{{ x }}{{ y }}{{ caller() if caller is defined }}{% endmacro %}{{ m(1) }}{{ m(1, y=3) }}",
            "1213",
        ),
        ("{% macro m() %}<{{ caller('z') }}>{% endmacro %}{% call(v) m() %}{{ v }}{{ a }}{% endcall %}", "<z1>"),
        ("{% with x = 5 %}{{ x }}{% endwith %}{{ a }}", "51"),
        ("{% raw %}{{ x }}{% if %}{% endraw %}{{ a }}", "{{ x }}{% if %}1"),
        ("a{# {{ nothing }} #}b{#note#}", "ab"),
        ("{%- if a %} x {%- endif %}", " x"),
        ("{% if a %}\n  {% if b %}\nline\n  {% endif %}\n{% endif %}\nend", "line\nend"),
        ('{{"a": {"b": {{ a }}}} {single} {{ b | upper }}', '{{"a": {"b": 1}} {single} TEXT'),
        ('{{ "Dear " ~ b }}{{ [1, 2] | join("-") }}{{ "{%" }}', "Dear text1-2{%"),
        ("{{ b.upper() }} {{ d.get('k') }} {% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}", "TEXT v k=v"),
        ("{{ d.k }}{{ d['k'] }}{{ l[0] }}{{ b[1:3] }}{{ c.name }}", "vvpexAda"),
        ("{{ d.nothing | default('-') }}{{ 'x' if d.nothing is defined else 'y' }}", "-y"),
        ("{% set n = namespace(x=0) %}{% for i in range(4) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "6"),
        ("{% for x in l %}{% for i in range(2) %}{{ x.upper() }}{{ dict(k=i).k }}{% endfor %}{% endfor %}", "P0P1Q0Q1"),
        ("{{ l | map('upper') | join(' ') }}{{ l | reverse | first }}{{ a * 2.345 }}", "P Qq2.345"),
        ("{{ b | json }}{{ d | tojson }}{{ q | xml }}", '"text"{"k": "v"}&lt;b&gt;&amp;'),
        (
            "{{ l | max }}{{ l | min }}{{ l | last }}{{ l | count }}{{ [a, a] | unique | list | length }}{{ [a, 2] | sum }}",
            "qpq213",
        ),
        (
            "{{ a | abs }} {{ b | wordcount }} {{ b | capitalize }} {{ b | replace('e', 'i') }} {{ b | center(6) }}|",
            "1 1 Text tixt  text |",
        ),
        (
            "{% for k, v in d | dictsort %}{{ k }}{{ v }}{% endfor %}{{ '2' | int }}{{ a | float }}{{ '%d' if a }}",
            "kv21.0%d",
        ),
        ("{% for g in l | batch(1) %}{{ g | first }};{% endfor %}{{ l | select('eq', 'p') | list | length }}", "p;q;1"),
        (
            "{% for k, g in [c] | groupby('name') %}{{ k }}{{ g | length }}{% endfor %}{{ b | truncate(2, true, '', 0) }}",
            "Ada1te",
        ),
        ("\r\n{{ b | upper }}", "\nTEXT"),
    ],
)
def test_what_jinja_has_is_there(text: str, is_: str) -> None:
    known = {"a": 1, "b": "text", "l": ["p", "q"], "d": {"k": "v"}, "c": Customer("Ada"), "q": "<b>&"}
    template = compile_template(text)

    assert template.render({name: known[name] for name in template.variables})[0] == is_


_AS_JSON, _AS_XML = compile_template("{{ x | json }}"), compile_template("{{ x | xml }}")


@given(st.text(st.sampled_from('"\\\n/é😀<>&\u2028\x00a')))
def test_json_reads_back_and_xml_opens_nothing(value: str) -> None:
    assert json.loads(_AS_JSON.render({"x": value})[0]) == value
    escaped = _AS_XML.render({"x": value})[0]
    assert "<" not in escaped
    assert escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == value


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("own {{ q | upper }}", [("EVIL", "variable:q", False)]),
        ("{{ tone | upper }}{{ tone ~ q }}", [("NICE", "variable:tone", True), ("niceevil", "variable:q,tone", False)]),
        ("{{ c.name | trim }}", [("Ada", "variable:c.name", False)]),
        ("{% if q %}own{% endif %}{{ 'own' if q else 'else' ~ '' }}", []),
        ("{% for x in ['a', 'b'] %}{{ x }}{{ loop.index }}{% endfor %}", []),
        ("{% for x in [tone, q] %}{{ loop.index }}{{ x }}{% endfor %}",
         [("nice", "variable:q,tone", False), ("evil", "variable:q,tone", False)]),
        ("{% for x in tones %}{{ x }}{% endfor %}{% for x in q %}{{ x | upper }}{% endfor %}",
         [("t1", "variable:tones", True), *((one, "variable:q", False) for one in "EVIL")]),
        ("{% set x %}own {{ q }}{% endset %}{{ x }}", [("evil", "variable:q", False)]),
        ("{% set x %}own {{ q }}{% endset %}{{ x | upper }}", [("OWN EVIL", "variable:q", False)]),
        ("{% filter upper %}own {{ tone }}{% endfilter %}", [("OWN NICE", "variable:tone", True)]),
        ("{% macro m(a, b) %}{{ a }}|{{ b }}{% endmacro %}{{ m(q, tone) }}",
         [("evil", "variable:q", False), ("nice", "variable:tone", True)]),
        ("{% macro m(a) %}{{ a }}{% endmacro %}{{ m(q) | title }}", [("Evil", "variable:q", False)]),
        ("{% macro m(f) %}{{ f(q) }}{% endmacro %}{% macro g(a) %}{{ a }}{% endmacro %}{{ m(g) }}",
         [("evil", "variable:q", False)]),
        ("{% macro m() %}<{{ caller(q) }}>{% endmacro %}{% call(a) m() %}{{ a }}{{ tone }}{% endcall %}",
         [("evil", "variable:q", False), ("nice", "variable:tone", True)]),
        ("{% macro m() %}{{ caller() | upper }}{% endmacro %}{% call m() %}{{ q }}{% endcall %}",
         [("EVIL", "variable:q", False)]),
        ("{% macro m() %}{{ varargs | join }}{{ kwargs.z }}{% endmacro %}{{ m(q, z=q) }}",
         [("evil", "variable:q", False), ("evil", "variable:q", False)]),
        ("{% set n = namespace(x='') %}{% set o = n %}{% set o.x = q %}{{ n.x }}", [("evil", "variable:q", False)]),
        ("{% set a = b %}{% set b = q %}{% for i in [1] %}{% set a = b %}{{ a }}{% endfor %}".replace("a = b %}{% set b", "b"),
         [("evil", "variable:q", False)]),
        ("{% include 'say.md' %}", [("evil", "variable:q", False), ("nice", "variable:tone", True)]),
        ("{% for q in tones %}{% include 'say.md' %}{% endfor %}", [("t1", "variable:tones", True), ("nice", "variable:tone", True)]),
        ("{% include 'loop.md' %}", [("evil", "variable:q", False)]),
        ("{% from 'macros.md' import wrap as w, fixed %}{{ w(q) }}{{ fixed }}", [("evil", "variable:q", False)]),
        ("{% import 'macros.md' as m %}{{ m.wrap(tone, y=q) | upper }}", [("[NICEEVIL]", "variable:q,tone", False)]),
        ("{{ {'k': q}.k ~ '' }}{{ ([q] | map('upper') | list)[0] | string }}", [("EVIL", "variable:q", False)]),
        ("{{ tone | replace('n', q) }}{{ q[0:1] | string }}",
         [("evilice", "variable:q,tone", False), ("e", "variable:q", False)]),
    ],
)  # fmt: skip
def test_each_stretch_says_where_it_came_from(text: str, origins: list[tuple[str, str, bool]]) -> None:
    known = {"q": "evil", "tone": "nice", "tones": ["t1"], "c": Customer("Ada")}
    names = compile_template(text, variables=TRUSTED, partials=reader_of(PARTIALS)).variables

    assert marked(text, **{name: known[name] for name in names}) == origins


_SHAPES = st.recursive(
    st.sampled_from(["{{ q }}", "{{ tone }}", "own", "{{ q | upper }}", "{{ tone ~ q }}", "{{ v }}", "{{ w | string }}",
                     "{{ c.name }}", "{{ [tone, q] | join(',') }}", "{{ n.x }}", "{{ m(q) }}", "{{ m(v) | lower }}",
                     "{{ (tone if q else v) | trim }}", "{% include 'say.md' %}", "{{ l[0] | default(v) }}",
                     "{{ m.name | default(q) ~ '' }}".replace("m.name", "c.name"), "{{ {'a': q, 'b': v}['a'] | string }}"]),
    lambda inner: st.builds(
        lambda frame, parts: frame.replace("@", "".join(parts)),
        st.sampled_from(["{% if q %}@{% endif %}", "{% for v in l %}@{% endfor %}", "{% for w in tones %}@{% endfor %}",
                         "{% set v %}@{% endset %}{{ v }}", "{% set w = q %}@{{ w }}", "{% filter lower %}@{% endfilter %}",
                         "{% with v = c.name %}@{% endwith %}", "{% call(w) k() %}@{{ w }}{% endcall %}",
                         "{% set n.x = v %}@{{ n.x }}", "{% set n.x %}@{% endset %}", "{% set v = v ~ w %}@",
                         "{% set v | upper %}@{% endset %}", "@{% set w = m(v) %}{{ w[1:] | string }}"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip
_HEAD = (
    "{% set n = namespace(x='') %}{% set v = tone %}{% set w = tone %}{% macro m(a) %}({{ a }}){% endmacro %}"
    "{% macro k() %}<{{ caller(q) }}{{ caller(tone) }}>{% endmacro %}"
)


@settings(max_examples=80, deadline=None)
@given(_SHAPES)
def test_untrusted_text_stands_nowhere_outside_of_an_untrusted_origin(shape: str) -> None:
    # Untrusted text has only letters that nothing else has.
    values = {"q": "ÄÖÜ", "tone": "nice", "c": Customer("ÖÄ"), "l": ["ÜÜ", "Ä"], "tones": ["soft"]}
    template = compile_template(_HEAD + shape, variables=TRUSTED, partials=reader_of(PARTIALS))

    text, origins, _ = template.render({name: values[name] for name in template.variables})

    covered = {at for one in origins if not one.trusted for at in range(one.start, one.end)}
    assert all(at in covered for at, letter in enumerate(text) if letter in "ÄÖÜäöü")
    assert [one.start for one in origins] == sorted(one.start for one in origins)
    assert all(0 <= one.start <= one.end <= len(text) for one in origins)


@given(st.text(st.sampled_from(string.ascii_letters + '{}"%#|\n '), max_size=40))
def test_a_text_is_a_template_or_an_error_and_never_something_else(text: str) -> None:
    try:
        template = compile_template(text)
    except PromptError:
        return
    if not template.variables and not any(sign in text for sign in ("{%", "{{", "{#")):
        assert template.render({})[0] == text


def test_documents_keep_their_names_and_their_trust() -> None:
    sources = [Document(id="a", text=" T1 "), Document(id="b", text="<T2>", trusted=True)]

    assert marked("{% for d in sources %}{{ d.text }}|{{ d.text | trim | xml }}{% endfor %}{{ sources }}", sources=sources) == [
        (" T1 ", "document:a", False),
        ("T1", "document:a", False),
        ("<T2>", "document:b", True),
        ("&lt;T2&gt;", "document:b", True),
        (" T1 ", "document:a", False),
        ("<T2>", "document:b", True),
    ]  # fmt: skip
    assert marked("{{ tones[0].text ~ '' }}", tones=sources) == [(" T1 ", "variable:tones", False)]
    assert marked("{{ tones.deep[0].text ~ '' }}", tones={"deep": sources})[0][2] is False
    with pytest.raises(PromptError, match="holds documents"):
        marked("{% for d in tones.tags %}{{ d.text ~ '' }}{% endfor %}", tones=Customer("x", sources))


def test_images_stand_where_they_are_written_and_are_lost_nowhere() -> None:
    image = ImagePart(url="https://example.org/x.png")
    template = compile_template("{% macro m(i) %}<{{ i }}>{% endmacro %}{% for i in all %}{{ m(i) }}{% endfor %}!")

    text, _, images = template.render({"all": [image, image]})

    assert (text, images) == ("<><>!", ((1, image), (3, image)))
    for lost in ("{{ i ~ 'x' }}", "{{ i | upper }}", "{% filter upper %}{{ i }}{% endfilter %}", "{{ [i] | join }}"):
        with pytest.raises(PromptError, match="image"):
            compile_template(lost).render({"i": image})


@pytest.mark.parametrize(
    ("text", "says", "variable"),
    [
        ("a\n{% if 1 %}\n{{ q.nam | upper }}{% endif %}", "prompts/x.prompt.md:12: the value has no key 'nam'. Did you mean 'name'", "q"),
        ("a\n{% for x in q.tags %}{{ x }}{% endfor %}", "prompts/x.prompt.md:11: the value has no key 'tags'", "q"),
        ("\n\n{{ nil | upper ~ q.name.first }}", "prompts/x.prompt.md:12: 'x' has no 'first' (this line uses 'nil', 'q')", None),
        ("{{ q | json }}{{ bad | trim }}", "prompts/x.prompt.md:10: RuntimeError: no database", None),
        ("{% for x in nil %}{% endfor %}", "a loop goes through a list, and this is None", "nil"),
        ("{{ nil ~ 'x' }}\n{% if nil %}{% endif %}", "is None; give it a value", "nil"),
        ("{{ q / 2 }}", "`/` is for numbers", "q"),
        ("{{ q.nam + 1 }}", "the value has no key 'nam'", "q"),
        ("{% if 1 + q.nam %}x{% endif %}", "the value has no key 'nam'", "q"),
        ("x\n{% include 'broken.md' %}", "broken.md:2: the value has no key 'nam'", "q"),
        ("x\n{% include 'syntax.md' %}", "syntax.md:3: ", None),
        ("x\n{% include 'text.md' %}", "text.md:2: `{{#each x}}` is not part of the syntax", None),
        ("x\n{% include 'brokn.md' %}", "prompts/x.prompt.md:11: there is no partial 'brokn.md'. Did you mean 'broken.md'", None),
        ("{% include q %}", "prompts/x.prompt.md:10: what is included is named in the template", None),
        ("{% include 'a.md' ignore missing %}", "leave `ignore missing` out", None),
        ("{% from 'macros.md' import other %}", "'macros.md' has no 'other'; there are fixed, wrap", None),
        ("{% from 'needs.md' import f %}{{ f() }}", "needs.md:1: 'q' is not known in what is imported", None),
    ],
)  # fmt: skip
def test_errors_name_the_file_the_line_and_the_variable(text: str, says: str, variable: str | None) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no database")

    partials = {
        **PARTIALS,
        "broken.md": "\n{{ q.nam }}\n",
        "syntax.md": "\n\n{% if %}",
        "text.md": "\n{{#each x}}",
        "needs.md": "{% macro f() %}{{ q }}{% endmacro %}",
    }
    known = {"q": {"name": "x"}, "nil": None, "bad": Broken()}

    with pytest.raises(PromptError) as caught:
        template = compile_template(
            text, prompt="x", where="prompts/x.prompt.md", line=10, partials=reader_of(partials)
        )
        template.render({name: known[name] for name in template.variables})

    assert says in str(caught.value)
    assert caught.value.prompt == "x"
    assert caught.value.variable == variable


def test_partials_are_part_of_what_a_prompt_is() -> None:
    text = "{% include 'shared/tone.md' %}\nNext: {{ q }}"
    first = Prompt.from_string(text, partials={"shared/tone.md": "Be {{ tone }}.\n", "unused.md": "x"})
    second = Prompt.from_string(text, partials={"shared/tone.md": "Be very {{ tone }}."})

    assert first.variables == ("tone", "q")
    assert first.render(tone="kind", q="?").messages[0].text == "Be kind.\nNext: ?"
    assert dict(first.content.partials) == {"shared/tone.md": "Be {{ tone }}.\n".removesuffix("\n")}
    assert first.hash != second.hash
    with pytest.raises(PromptError, match=r"None were given: `partials=\{"):
        Prompt.from_string(text)


def test_a_file_reads_its_partials_at_its_own_version() -> None:
    files = {"shared/tone.md": "\ufeffBe brief.\r\n"}

    def read(path: str) -> bytes | None:
        return text.encode() if (text := files.get(path)) is not None else None

    data = b"[system]\n{% include 'shared/tone.md' %}\n\n[user]\n{{ q }}"
    prompt = parse_prompt(data, name="x", where="prompts/x.prompt.md", read=read)

    assert prompt.render(q="?").messages[0].text == "Be brief."
    with pytest.raises(PromptError, match=r"x\.prompt\.md:2: .*Did you mean 'shared/tone\.md'"):
        parse_prompt(data.replace(b"tone.md", b"tone"), name="x", where="x.prompt.md", read=read)
    files["shared/tone.md"] = "x" * 200_001
    with pytest.raises(PromptError, match="200,001 bytes, more than the 200,000"):
        parse_prompt(data, name="x", where="x.prompt.md", read=read)


def test_a_section_without_variables_is_rendered_once_and_for_all() -> None:
    prompt = Prompt.from_string("{% for x in range(3) %}{{ x }}{% endfor %}")

    assert prompt.render().messages[0].text == "012"
    assert prompt.render().messages[0] is prompt.render().messages[0]


def test_a_declared_variable_in_latex_is_a_variable() -> None:
    known = {"a": Variable(name="a")}

    assert compile_template(r"\frac{{a}}{b}", variables=known).render({"a": "x"})[0] == r"\fracx{b}"
