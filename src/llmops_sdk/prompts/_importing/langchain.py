"""LangChain's prompts: what `prompt.save(...)` writes for `load_prompt`, and what `dumps` makes (`"lc": 1`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._importing.imported import Draft, Imported, Left, file_name
from llmops_sdk.prompts._importing.tags import Tag, pieces_of, statement
from llmops_sdk.prompts._templates.f_strings import with_fields
from llmops_sdk.prompts._templates.literals import literal

__all__ = ["from_langchain", "is_langchain"]

_KINDS = {
    "prompt": "PromptTemplate",
    "few_shot": "FewShotPromptTemplate",
    "chat": "ChatPromptTemplate",
}
_ROLES = {
    "SystemMessagePromptTemplate": "system",
    "HumanMessagePromptTemplate": "user",
    "AIMessagePromptTemplate": "assistant",
    "SystemMessage": "system",
    "HumanMessage": "user",
    "AIMessage": "assistant",
}
_SAYS_NOTHING = (
    *("_type", "input_variables", "optional_variables", "input_types", "validate_template"),
    *("template_format", "name", "partial_variables", "template", "messages"),
    *("prompt", "response_metadata", "type", "example"),
    *("content", "id", "output_parser", "suffix", "prefix"),
    *("examples", "example_prompt", "example_separator"),
)
"""What is not there, is used in another place, or says how the rest is written."""


def is_langchain(given: object) -> bool:
    """Whether a JSON or YAML value is a prompt of LangChain's."""
    if not isinstance(given, Mapping):
        return False
    manifest = given.get("manifest")  # which the hub's API gives for a commit
    if isinstance(manifest, Mapping):
        return is_langchain(manifest)
    return (given.get("lc") == 1 and "id" in given) or given.get("_type") in _KINDS


def from_langchain(given: Mapping[str, Any], path: str, stem: str, left: list[Left]) -> list[Imported]:
    """The prompt in a JSON or YAML value."""
    draft = Draft(file_name(given.get("name") or given.get("repo"), stem), path, left)
    if isinstance(given.get("manifest"), Mapping):
        given = given["manifest"]
    kind, fields = _unpacked(given)
    if kind in ("RunnableSequence", "RunnableBinding"):
        kind, fields = _first_of(draft, kind, fields)
    if kind in ("PromptTemplate", "FewShotPromptTemplate"):
        draft.message("user", _template(draft, kind, fields), "the template")
    elif kind in ("ChatPromptTemplate", "StructuredPrompt"):
        _chat(draft, kind, fields)
    else:
        draft.leave(f"a {kind}", "this kind of prompt is not known here")
    file = draft.file()
    return [] if file is None else [file]


def _unpacked(given: Any) -> tuple[str, Mapping[str, Any]]:
    """The class of a serialised object, and its fields."""
    if not isinstance(given, Mapping):
        return type(given).__name__, {}
    if "lc" in given:
        kind = given.get("id")
        fields = given.get("kwargs")
        name = str(kind[-1]) if isinstance(kind, list) and kind else "object"
        return name, fields if isinstance(fields, Mapping) else {}
    named = _KINDS.get(str(given.get("_type")), "")
    if not named:
        named = (
            "FewShotPromptTemplate" if "examples" in given else "PromptTemplate" if "template" in given else "object"
        )
    return named, given


def _first_of(draft: Draft, kind: str, fields: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The prompt of a chain."""
    if fields.get("kwargs"):
        draft.leave(f"`kwargs: {fields['kwargs']}` of a {kind}"[:200], "put what is a parameter into `parameters`")
    first = fields.get("first" if kind == "RunnableSequence" else "bound")
    for one in (*(fields.get("middle") or ()), fields.get("last")):
        if one is not None:
            draft.leave(f"a {_unpacked(one)[0]} behind the prompt", "a chain is a pipeline here: `prompt | engine`")
    return _unpacked(first)


def _others(draft: Draft, kind: str, fields: Mapping[str, Any], *known: str) -> None:
    for name, value in fields.items():
        if name not in (*_SAYS_NOTHING, *known) and value not in (None, {}, [], "", False):
            draft.leave(f"`{name}: {value}` of a {kind}"[:200], "there is no such thing here")
    if fields.get("output_parser") is not None:
        draft.leave("`output_parser`", "an answer is read by the prompt's `output`")


def _template(draft: Draft, kind: str, fields: Mapping[str, Any]) -> str:
    """The text of a template, in our own syntax."""
    _others(draft, kind, fields)
    for name, value in (fields.get("partial_variables") or {}).items():
        if isinstance(value, str | int | float | bool):
            draft.variable(name, default=value, trusted=True)
        else:
            draft.leave(f"the value of the variable {name!r}", "it is made by code: give it at each render")
    if kind == "FewShotPromptTemplate":
        return _few_shot(draft, fields)
    text = fields.get("template")
    if not isinstance(text, str):
        draft.leave(f"`{'template_path' if 'template_path' in fields else 'template'}`", "the text is not in the file")
        return ""
    return _converted(draft, text, str(fields.get("template_format", "f-string")))


def _converted(draft: Draft, text: str, kind: str) -> str:
    if kind == "jinja2":
        return text
    if kind == "mustache":
        return _from_mustache(draft, text)
    if kind != "f-string":
        draft.leave(f"`template_format: {kind}`", "it is not known here, so the text is kept as it is")
        return literal(text)
    return _from_f_string(draft, text)


def _from_f_string(draft: Draft, text: str) -> str:
    def variable_of(name: str, written: str) -> str | None:
        if name != written or not name.isidentifier():
            draft.leave(
                f"`{{{written}}}`", "values are put in as they are: give them in the form that they are to have"
            )
        return draft.variable(name) if name.isidentifier() else None

    try:
        return with_fields(text, variable_of)
    except ConfigurationError as exc:
        draft.leave("the template", f"it is kept as it is: {exc}")
        return literal(text)


def _from_mustache(draft: Draft, text: str) -> str:
    made: list[str] = []
    opened: list[str] = []
    for piece in pieces_of(text):
        if isinstance(piece, str):
            made.append(literal(piece))
        else:
            made.append(_mustache_tag(draft, piece, opened))
    return "".join(made)


def _mustache_tag(draft: Draft, tag: Tag, opened: list[str]) -> str:
    word = tag.words[0] if len(tag.words) == 1 else ""
    if tag.kind in ("", "{", "&") and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", word) and not opened:
        if tag.kind == "":
            draft.leave("the escaping of HTML in `{{ }}`", "values are put in as they are, as `{{{ }}}` does")
        first, *steps = word.split(".")
        return f"{{{{ {'.'.join((draft.variable(first), *steps))} }}}}"
    if tag.kind == "^" and word.isidentifier() and not opened:
        opened.append(word)
        return statement(f"if not {draft.variable(word, optional=True)}", tag)
    if tag.kind == "/" and opened[-1:] == [word]:
        opened.pop()
        return statement("endif", tag)
    if tag.kind == "!":
        draft.leave(f"the comment `{word or tag.source}`"[:100], "it is of no use to a model, and is not kept")
        return ""
    draft.leave(f"`{tag.source}`", "what it means depends on the value: write `{% if %}` or `{% for %}` in its place")
    return literal(tag.source)


def _few_shot(draft: Draft, fields: Mapping[str, Any]) -> str:
    """All of its texts: the examples are known, so they are written out."""
    separator = str(fields.get("example_separator", "\n\n"))
    kind = str(fields.get("template_format", "f-string"))
    shown = [literal(one) for one in _examples(draft, fields)]
    around = [str(fields.get(name) or "") for name in ("prefix", "suffix")]
    prefix, suffix = (_converted(draft, one, kind) if one else "" for one in around)
    return literal(separator).join(one for one in (prefix, *shown, suffix) if one)


def _examples(draft: Draft, fields: Mapping[str, Any]) -> list[str]:
    examples = fields.get("examples")
    kind, template = _unpacked(fields.get("example_prompt"))
    if not isinstance(examples, Sequence) or isinstance(examples, str) or fields.get("example_selector"):
        draft.leave("the examples", "they are chosen by code, or are in another file")
        return []
    if kind != "PromptTemplate" or template.get("template_format", "f-string") != "f-string":
        draft.leave("the examples", "their template is no f-string")
        return []
    try:
        partial = template.get("partial_variables") or {}
        return [str(template["template"]).format(**{**partial, **one}) for one in examples]
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        draft.leave("the examples", f"they do not fit their template: {exc!r}")
        return []


def _chat(draft: Draft, kind: str, fields: Mapping[str, Any]) -> None:
    _others(draft, kind, fields, "schema_", "schema")
    schema = fields.get("schema_") or fields.get("schema")
    if kind == "StructuredPrompt" and isinstance(schema, Mapping):
        draft.output(schema, "`schema_`")
    for name, value in (fields.get("partial_variables") or {}).items():
        if isinstance(value, str | int | float | bool):
            draft.variable(name, default=value, trusted=True)
        elif value:
            draft.leave(f"the value of the variable {name!r}", "it is made by code: give it at each render")
    for number, message in enumerate(fields.get("messages") or ()):
        _message(draft, message, f"message {number + 1}")


def _message(draft: Draft, given: Any, said: str) -> None:
    kind, fields = _unpacked(given)
    if kind == "MessagesPlaceholder":
        _others(draft, kind, fields, "variable_name", "optional", "n_messages")
        if fields.get("n_messages"):
            draft.leave("`n_messages`", "give as many messages as there are to be")
        name = str(fields.get("variable_name") or "history")
        if fields.get("optional"):
            draft.variable(name, optional=True, default=[])
        draft.history(name)
        return
    if kind == "FewShotChatMessagePromptTemplate":
        _few_shot_chat(draft, fields)
        return
    role = _ROLES.get(kind) or str(fields.get("role") or "")
    if role not in ("system", "user", "human", "assistant", "ai"):
        draft.leave(f"{said}, a {kind}", "there are messages of the system, the user and the assistant")
        return
    _others(draft, kind, fields, "role")
    if "prompt" in fields:
        draft.message(role, _parts(draft, fields["prompt"]), said)
    elif isinstance(fields.get("content"), str):
        draft.message(role, literal(fields["content"]), said)
    else:
        draft.leave(f"the content of {said}", "it is no text")


def _parts(draft: Draft, prompt: Any) -> str:
    texts = []
    for one in prompt if isinstance(prompt, list) else [prompt]:
        kind, fields = _unpacked(one)
        if kind == "PromptTemplate":
            texts.append(_template(draft, kind, fields))
        elif kind == "ImagePromptTemplate" and (url := _image_url(fields)):
            texts.append(f"{{{{ {draft.variable(url, type='image')} }}}}")
        else:
            draft.leave(f"a {kind}", "an image is a variable, an `ImagePart`: write `{{ image }}` in its place")
    return "".join(texts)


def _image_url(fields: Mapping[str, Any]) -> str | None:
    """The variable that is the whole address of an image."""
    template = fields.get("template")
    url = template.get("url") if isinstance(template, Mapping) and template.keys() <= {"url"} else None
    whole = re.fullmatch(r"\{(\w+)\}", url) if isinstance(url, str) else None
    return whole[1] if whole else None


def _few_shot_chat(draft: Draft, fields: Mapping[str, Any]) -> None:
    kind, template = _unpacked(fields.get("example_prompt"))
    examples = fields.get("examples")
    messages = [_unpacked(one) for one in template.get("messages") or ()] if kind == "ChatPromptTemplate" else []
    if not isinstance(examples, list) or not messages:
        draft.leave("the examples", "they are chosen by code, or their template is no chat")
        return
    for example in examples:
        for name, one in messages:
            _, inner = _unpacked(one.get("prompt"))
            shown = _examples(draft, {"examples": [example], "example_prompt": one.get("prompt")})
            if name in _ROLES and shown and inner:
                draft.message(_ROLES[name], literal(shown[0]), "an example")
            else:
                draft.leave(f"a {name} in an example", "it is no plain message")
