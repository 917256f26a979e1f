"""Prompts of other tools become files that render the same text; what does not carry over is listed."""

import json

import pytest

from llmops_sdk.cli._main import main
from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Message
from llmops_sdk.prompts import import_prompts
from llmops_sdk.prompts._files import parse_prompt


@pytest.fixture
def imported(tmp_path):
    """`imported(text or value, name)`: the prompts by name, and what is left as pairs."""

    def run(given, name="greet.json", **options):
        file = tmp_path / name
        file.write_text(given if isinstance(given, str) else json.dumps(given))
        files, left = import_prompts([file], **options)
        prompts = {
            one.path.removesuffix(".prompt.md"): parse_prompt(
                one.text.encode(), name=one.path.removesuffix(".prompt.md"), where=one.path
            )
            for one in files
            if one.path.endswith(".prompt.md")
        }
        return prompts, [(one.what, one.why) for one in left]

    return run


def texts(prompt, **values):
    return [(message.role, message.text) for message in prompt.render(**values).messages]


# LangChain.


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("Tell me about {topic}.", {"topic": "{bees}"}, "Tell me about {bees}."),
        ('Answer as {{"answer": "..."}}: {q}', {"q": "?"}, 'Answer as {"answer": "..."}: ?'),
        ("{{{q}}}", {"q": "?"}, "{?}"),
        ("{{ q }} {q}", {"q": "?"}, "{ q } ?"),
        ("{a}{b}{a}", {"a": "1", "b": "2"}, "121"),
        ("100 % {{}}", {}, "100 % {}"),
    ],
)
def test_f_strings_render_as_langchain_renders_them(imported, template, values, text):
    assert template.format(**values) == text  # which is what it does
    prompts, left = imported({"_type": "prompt", "input_variables": list(values), "template": template})
    assert texts(prompts["greet"], **values) == [("user", text)]
    assert left == []


def test_braces_that_would_open_a_template_of_ours_stay_text(imported):
    template = "{{{{ name }}}} {{{{#if}}}} {{% if %}} {{# x #}} {q}"
    prompts, _ = imported({"_type": "prompt", "template": template})
    assert texts(prompts["greet"], q="?") == [("user", template.format(q="?"))]


def lc(kind, **fields):
    return {"lc": 1, "type": "constructor", "id": ["langchain", "prompts", "x", kind], "kwargs": fields}


def template(text, **more):
    return lc("PromptTemplate", template=text, template_format="f-string", input_variables=[], **more)


def test_a_serialised_chat_keeps_its_messages_its_history_and_its_partial_values(imported):
    chat = lc(
        "ChatPromptTemplate",
        input_variables=["q"],
        partial_variables={"tone": "kind"},
        messages=[
            lc("SystemMessagePromptTemplate", prompt=template("You are {tone}.")),
            lc("MessagesPlaceholder", variable_name="chat_history", optional=True),
            lc("AIMessage", content="I {am} here", type="ai"),
            lc("HumanMessagePromptTemplate", prompt=[template("{q}")]),
        ],
    )
    prompts, left = imported(chat)
    prompt = prompts["greet"]
    assert texts(prompt, q="Hi", chat_history=[Message.user("before")]) == [
        ("system", "You are kind."),
        ("user", "before"),
        ("assistant", "I {am} here"),
        ("user", "Hi"),
    ]
    assert prompt.content.variables["tone"].trusted
    assert left == []


def test_few_shot_examples_are_written_out(imported):
    few_shot = {
        "_type": "few_shot",
        "input_variables": ["adjective"],
        "prefix": "Write antonyms.",
        "example_prompt": {"_type": "prompt", "template": "Input: {input}\nOutput: {output}"},
        "examples": [{"input": "happy", "output": "sad"}, {"input": "{tall}", "output": "short"}],
        "suffix": "Input: {adjective}\nOutput:",
        "example_separator": "\n\n",
        "example_selector": None,
    }
    prompts, left = imported(few_shot)
    assert texts(prompts["greet"], adjective="big") == [
        (
            "user",
            "Write antonyms.\n\nInput: happy\nOutput: sad\n\nInput: {tall}\nOutput: short\n\nInput: big\nOutput:",
        )
    ]
    assert left == []
    chat = lc(
        "ChatPromptTemplate",
        messages=[
            lc(
                "FewShotChatMessagePromptTemplate",
                examples=[{"a": "2+2", "b": "4"}],
                example_prompt=lc(
                    "ChatPromptTemplate",
                    messages=[
                        lc("HumanMessagePromptTemplate", prompt=template("{a}")),
                        lc("AIMessagePromptTemplate", prompt=template("{b}")),
                    ],
                ),
            ),
            lc("HumanMessagePromptTemplate", prompt=template("{q}")),
        ],
    )
    prompts, left = imported(chat)
    assert texts(prompts["greet"], q="3+3") == [("user", "2+2"), ("assistant", "4"), ("user", "3+3")]
    assert left == []


def test_yaml_files_of_load_prompt_are_read(imported):
    prompts, left = imported("_type: prompt\ninput_variables: [q]\ntemplate: |-\n  Say {q}\n", "folder.yaml")
    assert texts(prompts["folder"], q="x") == [("user", "Say x")]
    assert left == []


def test_mustache_values_carry_over_and_what_depends_on_a_value_does_not(imported):
    prompts, left = imported({"_type": "prompt", "template": "{{{a.b}}} {{&c}}", "template_format": "mustache"})
    assert texts(prompts["greet"], a={"b": "1"}, c="2") == [("user", "1 2")]
    assert left == []
    _, left = imported({"_type": "prompt", "template": "{{a}}", "template_format": "mustache"})
    assert left == [("the escaping of HTML in `{{ }}`", "values are put in as they are, as `{{{ }}}` does")]


def test_sections_of_mustache_are_kept_as_text_and_listed(imported):
    prompts, left = imported({"_type": "prompt", "template": "{{#a}}x{{/a}}", "template_format": "mustache"})
    assert texts(prompts["greet"]) == [("user", "{{#a}}x{{/a}}")]
    assert [what for what, _ in left] == ["`{{#a}}`", "`{{/a}}`"]


def test_jinja_templates_of_langchain_are_ours_already(imported):
    text = "{% for x in xs %}{{ x }},{% endfor %} {{ y|upper }}"
    prompts, left = imported({"_type": "prompt", "template": text, "template_format": "jinja2"})
    assert texts(prompts["greet"], xs=["a", "b"], y="c") == [("user", "a,b, C")]
    assert left == []


@pytest.mark.parametrize("text", ["x\n", "\n\n x \n", "[user]\nx", "\\[user]", "---\nx"])
def test_texts_that_look_like_the_syntax_of_files_are_kept_to_the_letter(imported, text):
    prompts, left = imported({"_type": "prompt", "template": text})
    assert texts(prompts["greet"]) == [("user", text)]
    assert left == []


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"_type": "prompt", "template_path": "a.txt"}, "`template_path`"),
        ({"_type": "prompt", "template": "x {n:>3}"}, "`{n:>3}`"),
        ({"_type": "prompt", "template": "x {n!r}"}, "`{n!r}`"),
        ({"_type": "prompt", "template": "x {a.b}"}, "`{a.b}`"),
        ({"_type": "prompt", "template": "x {"}, "the template"),
        ({"_type": "prompt", "template": "x {_y}"}, "the name '_y' of a variable"),
        ({"_type": "prompt", "template": "x", "output_parser": {"a": 1}}, "`output_parser`"),
        ({"_type": "prompt", "template": "x", "metadata": {"a": 1}}, "`metadata: {'a': 1}` of a PromptTemplate"),
        (
            {"_type": "prompt", "template": "{x}", "partial_variables": {"x": {"lc": 1}}},
            "the value of the variable 'x'",
        ),
        ({"_type": "few_shot", "suffix": "x", "examples": "a.json"}, "the examples"),
        (lc("ChatPromptTemplate", messages=[lc("ToolMessage", content="x")]), "message 1, a ToolMessage"),
        (lc("RunnableSequence", first=template("x"), last=lc("ChatOpenAI")), "a ChatOpenAI behind the prompt"),
        (lc("PipelinePromptTemplate"), "a PipelinePromptTemplate"),
        ({"_type": "prompt", "template": "a\r\nb"}, "carriage returns"),
    ],
)
def test_what_langchain_has_and_we_have_not_is_listed(imported, given, what):
    _, left = imported(given)
    assert what in [one for one, _ in left]


# Langfuse.


def test_a_text_of_langfuse_keeps_its_parameters_and_lists_the_rest(imported):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    config = {"model": "gpt-5", "temperature": 0.2, "max_tokens": 9, "own": 1}
    config["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    prompts, left = imported(
        {
            "name": "support/answer it",
            "type": "text",
            "version": 3,
            "prompt": 'As {{ critic }} of {{movie}}: {"a": 1} {x}',
            "labels": ["production", "latest"],
            "tags": ["t"],
            "config": config,
        }
    )
    prompt = prompts["support/answer-it"]
    assert texts(prompt, critic="an expert", movie="Dune") == [("user", 'As an expert of Dune: {"a": 1} {x}')]
    assert prompt.parameters == {"temperature": 0.2, "max_tokens": 9}
    assert prompt.output == schema
    assert [what for what, _ in left] == [
        "`config.model: gpt-5`",
        "`config.own: 1`",
        "the label 'production'",
        "`tags: ['t']`",
    ]


def test_a_chat_of_langfuse_keeps_its_placeholders(imported):
    prompts, left = imported(
        {
            "name": "chat",
            "type": "chat",
            "prompt": [
                {"role": "system", "content": "Be {{tone}}."},
                {"type": "placeholder", "name": "history"},
                {"type": "chatmessage", "role": "user", "content": "{{q}}"},
                {"role": "tool", "content": "x"},
            ],
        }
    )
    assert texts(prompts["chat"], tone="kind", history=[Message.assistant("a")], q="?") == [
        ("system", "Be kind."),
        ("assistant", "a"),
        ("user", "?"),
    ]
    assert left == [("a message of the role 'tool'", "there are system, user and assistant")]


def test_a_chat_may_be_a_text_as_in_the_database_and_lists_what_its_messages_have_besides(imported):
    messages = [{"role": "assistant", "content": "Hi {{a}}", "tool_calls": [1]}, {"type": "placeholder", "name": "h"}]
    for prompt in (messages, json.dumps(messages)):
        prompts, left = imported({"name": "chat", "type": "chat", "prompt": prompt})
        assert texts(prompts["chat"], a="x", h=[Message.user("y")]) == [("assistant", "Hi x"), ("user", "y")]
        assert left == [("`tool_calls: [1]` of message 1", "there is no such thing here")]


def test_of_several_versions_the_highest_is_kept_and_the_others_are_listed(imported):
    versions = [{"name": "a", "version": n, "prompt": f"v{n}"} for n in (2, 10, 1)]
    prompts, left = imported({"data": versions, "meta": {}})
    assert texts(prompts["a"]) == [("user", "v10")]
    assert [what for what, _ in left] == ["all of it", "all of it"]


# dotprompt.

DOTPROMPT = """---
model: googleai/gemini-flash
config: {temperature: 0.9, maxOutputTokens: 50, topK: 3}
input:
  schema:
    name: string, of the guest
    style?: string
    age(integer): integer
  default: {style: kind}
output:
  format: json
  schema:
    reply: string, what is said
    mood(enum, how it sounds): [GLAD, SAD]
    tags?(array): string
---
{{role "system"}}
You are {{style}}. {"json": true}
{{history}}
{{role "user"}}
{{!-- greet --}}
I am {{name}} {{{style}}}.
"""


def test_a_dotprompt_keeps_messages_variables_parameters_and_the_schema(imported):
    prompts, left = imported(DOTPROMPT.replace("age(integer): integer", "age: integer"), "hello.prompt")
    prompt = prompts["hello"]
    assert texts(prompt, name="Ada", age=3, history=[Message.user("x")]) == [
        ("system", 'You are kind. {"json": true}'),
        ("user", "x"),
        ("user", "I am Ada kind."),
    ]
    assert prompt.parameters == {"temperature": 0.9, "max_tokens": 50}
    declared = prompt.content.variables
    assert (declared["name"].type, declared["name"].description) == ("str", "of the guest")
    assert declared["age"].type == "int"
    assert (declared["style"].optional, declared["style"].default) == (True, "kind")
    assert prompt.output == {
        "type": "object",
        "properties": {
            "reply": {"type": "string", "description": "what is said"},
            "mood": {"enum": ["GLAD", "SAD"], "description": "how it sounds"},
            "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        },
        "additionalProperties": False,
        "required": ["reply", "mood"],
    }
    assert [what for what, _ in left] == [
        "`config.topK: 3`",
        "`model: googleai/gemini-flash`",
        "the comment `greet`",
    ]


@pytest.mark.parametrize(
    ("text", "values", "rendered"),
    [
        ("{{#if a}}yes{{else}}no{{/if}}", {"a": 0}, "no"),
        ("{{#if a}}1{{else if b}}2{{else}}3{{/if}}", {"b": 1}, "2"),
        ("{{#unless a}}x{{/unless}}.", {}, "x."),
        ("A\n{{#if a}}\nB\n{{/if}}\nC", {"a": 1}, "A\nB\nC"),
        ("A {{#if a}}B{{/if}}\nC", {"a": 1}, "A B\nC"),
        ("{{#each xs}}{{this}},{{/each}}", {"xs": ["a", "b"]}, "a,b,"),
        (
            "{{#each xs}}{{@index}}{{name}}{{#if @last}}!{{/if}}{{/each}}",
            {"xs": [{"name": "a"}, {"name": "b"}]},
            "0a1b!",
        ),
        ("{{#each xs as |x|}}{{x.n}} {{/each}}.", {"xs": [{"n": 1}]}, "1 ."),
        ("{{#with a}}{{b}}{{/with}}", {"a": {"b": 2}}, "2"),
        ("{{#ifEquals a 'x'}}1{{else}}2{{/ifEquals}}", {"a": "x"}, "1"),
        ("a  {{~b~}}  c", {"b": "B"}, "aBc"),
        ("\\{{a}} \\\\{{a}} \\n", {"a": "A"}, "{{a}} \\A \\n"),
        ("{{#with a as |b|}}{{b.c}}{{c}}{{/with}}", {"a": {"c": 1}}, "11"),
        ("{{#each xs}}{{item}}{{this.item}} {{/each}}{{item}}", {"xs": [{"item": 1}], "item": 2}, "11 2"),
        ("{{#each xs as |x|}}{{#each x.ys as |y|}}{{x.n}}{{y}}{{n}}{{/each}}{{/each}}", {"xs": []}, ""),
        ("{{json a}}", {"a": {"b": [1]}}, '{"b": [1]}'),
    ],
)
def test_blocks_of_handlebars_render_the_same(imported, text, values, rendered):
    prompts, left = imported(text, "a.prompt")
    assert texts(prompts["a"], **values) == [("user", rendered)]
    assert left == []


def test_images_and_the_types_of_inputs_are_kept(imported):
    schema = "{n: integer, 'tags(array)': string, 'mood?(enum)': [GLAD, SAD]}"
    text = f"---\ninput: {{schema: {schema}}}\n---\n{{{{media url=photo}}}}{{{{n}}}}"
    prompts, left = imported(text, "a.prompt")
    declared = prompts["a"].content.variables
    assert left == []
    assert (declared["photo"].type, declared["n"].type) == ("image", "int")
    assert declared["tags"].schema == {"type": "array", "items": {"type": "string"}}
    assert (declared["mood"].schema, declared["mood"].optional) == ({"type": "string", "enum": ["GLAD", "SAD"]}, True)
    (message,) = prompts["a"].render(photo="https://example.com/a.png", n=3, tags=[]).messages
    assert message.content[0].url == "https://example.com/a.png"


def test_two_names_never_become_one(imported):
    prompts, left = imported({"name": "a", "prompt": "{{a-b}} {{a_b}} {{a.b}}"})
    assert len(set(prompts["a"].variables)) == 3
    assert [what for what, _ in left] == [f"the name {name!r} of a variable" for name in ("a-b", "a_b", "a.b")]


def test_a_commit_of_the_hub_is_its_manifest(imported):
    chat = lc(
        "ChatPromptTemplate",
        messages=[
            lc(
                "HumanMessagePromptTemplate",
                prompt=[template("{q}"), lc("ImagePromptTemplate", template={"url": "{photo}"})],
            ),
            lc("AIMessage", content="x", additional_kwargs={"tool_calls": [1]}),
        ],
    )
    bound = lc("RunnableBinding", bound=chat, kwargs={"stop": ["a"]})
    prompts, left = imported({"commit_hash": "1", "repo": "rag", "manifest": bound, "examples": []})
    assert prompts["rag"].content.variables["photo"].type == "image"
    assert [what for what, _ in left] == [
        "`kwargs: {'stop': ['a']}` of a RunnableBinding",
        "`additional_kwargs: {'tool_calls': [1]}` of a AIMessage",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x {{media url=image contentType=kind}}", "`contentType=kind` of `{{media}}`"),
        ("{{#each xs}}{{media url=this.url}}{{/each}}", "`{{media}}`"),
        ("{{{{raw}}}}{{x}}{{{{/raw}}}}", "`{{{{raw}}}}{{x}}{{{{/raw}}}}`"),
        ("{{#each xs as |x i|}}{{x}}{{/each}}", "`{{#each xs as |x i|}}`"),
        ("{{#if a b}}x{{/if}}", "`{{#if a b}}`"),
        ("---\ninput: {schema: {m(object): {a: string}}}\n---\n{{#each m}}{{this}}{{/each}}", "`{{#each m}}`"),
        ("{{null}}", "`{{null}}`"),
        ("{{#if none}}x{{/if}}", "the name 'none' of a variable"),
        ('x {{media url="https://a.b/c.png"}}', '`{{media url="https://a.b/c.png"}}`'),
        ('x {{section "a"}}', '`{{section "a"}}`'),
        ("x {{lookup a b}}", "`{{lookup a b}}`"),
        ("x {{a-b}}", "the name 'a-b' of a variable"),
        ('{{role "tool"}}x{{role "user"}}y', "a message of the role 'tool'"),
        ("---\ntools: [search]\n---\nx", "`tools: ['search']`"),
        ("---\noutput: {schema: Named}\n---\nx", "`output.schema`"),
        ("---\ninput: {schema: Named}\n---\nx", "`input.schema`"),
        ("---\next: {a: 1}\n---\nx", "`ext: {'a': 1}`"),
    ],
)
def test_what_dotprompt_has_and_we_have_not_is_listed(imported, text, what):
    _, left = imported(text, "a.prompt")
    assert what in [one for one, _ in left]


@pytest.mark.parametrize(
    ("text", "shown", "what"),
    [
        ("{{#if a}}1{{#if ?}}2{{/if}}3{{/if}}", "1{{#if ?}}2{{/if}}3", ["`{{#if ?}}`", "`{{/if}}`"]),
        ("{{#each a}}[{{#each}}x{{/each}}]{{/each}}", "[{{#each}}x{{/each}}]", ["`{{#each}}`", "`{{/each}}`"]),
        (
            "{{#ifEquals a ?}}x{{/ifEquals}}{{a}}",
            "{{#ifEquals a ?}}x{{/ifEquals}}1",
            ["`{{#ifEquals a ?}}`", "`{{/ifEquals}}`"],
        ),
        ("{{json a indent}}{{a}}", "{{json a indent}}1", ["`{{json a indent}}`"]),
    ],
)
def test_what_cannot_be_said_stays_as_it_is_and_so_does_its_end(imported, text, shown, what):
    prompts, left = imported(text, "a.prompt")
    assert texts(prompts["a"], a="1") == [("user", shown)]
    assert [one for one, _ in left] == what


def test_a_partial_of_dotprompt_becomes_a_file_that_templates_include(tmp_path):
    (tmp_path / "_tone.prompt").write_text("Be {{tone}}.\n")
    files, left = import_prompts([tmp_path / "_tone.prompt"])
    assert [(one.path, one.text) for one in files] == [("_tone.md", "Be {{ tone }}.\n")]
    assert left == ()


def test_prompts_include_the_partials_that_were_imported_with_them(tmp_path):
    (tmp_path / "_tone.prompt").write_text("Be {{tone}}.\n")
    (tmp_path / "a.prompt").write_text("{{>tone}} Now.")
    (tmp_path / "b.prompt").write_text("{{>none}}")
    files, left = import_prompts(sorted(tmp_path.glob("*.prompt"), reverse=True))
    partials = {one.path: one.text.encode() for one in files}
    prompt = parse_prompt(partials["a.prompt.md"], name="a", where="a", read=partials.get)
    assert texts(prompt, tone="kind") == [("user", "Be kind. Now.")]
    assert [(one.what, "_none.md" in one.why) for one in left] == [("all of it", True)]


# Files that are none.


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"a: [", "is not YAML"),
        ("a.json", b"{}", "holds no prompt"),
        ("a.json", b"[]", "holds no prompt"),
        ("a.json", b"\xff", "is not UTF-8"),
        ("a.prompt", b"---\na: [\n---\nx", "not YAML"),
        ("a.prompt", b"---\na: 1", "is not closed"),
    ],
)
def test_a_file_that_is_no_prompt_is_named(tmp_path, name, data, says):
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(PromptError, match=says) as failed:
        import_prompts([file])
    assert str(file) in str(failed.value)


# The command.


def test_the_command_writes_files_and_tells_what_is_left(tmp_path, capsys):
    source = tmp_path / "hello.json"
    source.write_text(json.dumps({"name": "a/b", "prompt": "Hi {{name}}", "labels": ["production"]}))
    out = tmp_path / "prompts"
    assert main(["import", str(source), "-o", str(out), "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [{"path": str(out / "a/b.prompt.md"), "source": str(source)}]
    assert told["left"][0]["what"] == "the label 'production'"
    assert "Hi {{ name }}" in (out / "a/b.prompt.md").read_text()
    assert main(["import", str(source), "-o", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["import", str(source), "-o", str(out), "--force"]) == 1
    assert "the label 'production'" in capsys.readouterr().out
    source.write_text(json.dumps({"name": "c", "prompt": "Hi {{name}}"}))
    assert main(["import", str(source), "-o", str(out)]) == 0
    assert main(["import", str(tmp_path / "none.json"), "-o", str(out)]) == 2


def test_names_lead_nowhere_else(tmp_path):
    source = tmp_path / "hello.json"
    for name in ("../../x", "/etc/x", "..", "a/../../b", "\0x"):
        source.write_text(json.dumps({"name": name, "prompt": "x"}))
        (file,), _ = import_prompts([source])
        assert ".." not in file.path.split("/")
        assert not file.path.startswith("/")
        assert "\0" not in file.path
