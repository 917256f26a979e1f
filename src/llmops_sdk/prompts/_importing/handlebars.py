"""Handlebars, as far as dotprompt has it, in our own syntax."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from llmops_sdk.prompts._importing.imported import Draft
from llmops_sdk.prompts._importing.tags import Tag, pieces_of, statement
from llmops_sdk.prompts._templates.literals import literal

__all__ = ["Handlebars"]

_PATH = re.compile(r"(?:this\.|\./)?[A-Za-z_][\w-]*(?:\.[A-Za-z_]\w*)*|this|\.")
_PARAMETER = re.compile(r"\|\s*([A-Za-z_]\w*)\s*\|")
_INDENT = re.compile(r"(?:indent=([0-9]+))?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|true|false")
_CONSTANTS = ("true", "false", "null", "undefined")
_LOOP = {"@index": "loop.index0", "@first": "loop.first", "@last": "loop.last"}
_BLOCKS = ("if", "unless", "each", "with", "ifEquals", "unlessEquals")


class _UnknownError(Exception):
    """Something that has no counterpart; the message says what."""


@dataclass
class _Block:
    """A block that is open: its word, how it ends, what `this` is in it, and the name that it gives to that."""

    word: str
    ends: str
    this: str | None
    named: str | None = None
    shown: bool = True


@dataclass
class Handlebars:
    """Turns a Handlebars text into messages of `draft`.

    Attributes:
        draft: Where variables are declared, and what does not carry over is noted.
        on_role: Called with the text so far when `{{role "..."}}` begins a message; `None` in a partial.
        on_history: The same for `{{history}}`.
    """

    draft: Draft
    on_role: Callable[[str, str], None] | None = None
    on_history: Callable[[str], None] | None = None
    _open: list[_Block] = field(default_factory=list)
    _loops: int = 0

    def convert(self, text: str) -> str:
        """The text after the last `{{role}}` or `{{history}}`, as a template of ours."""
        made: list[str] = []
        for piece in pieces_of(text, escapes=True):
            if isinstance(piece, str):
                made.append(literal(piece))
                continue
            try:
                made.append(self._tag(piece, made))
            except _UnknownError as exc:
                self.draft.leave(f"`{piece.source}`", str(exc))
                made.append(literal(piece.source))
        for block in reversed(self._open):
            self.draft.leave(f"`{{{{#{block.word}}}}}`", "it is not closed")
        return "".join(made)

    def _tag(self, tag: Tag, made: list[str]) -> str:
        if tag.kind == "!":
            self.draft.leave(f"the comment `{tag.words[0][:60]}`", "it is of no use to a model, and is not kept")
            if tag.alone:
                _drop_line(made)
            return ""
        if tag.kind == "raw":
            raise _UnknownError("a raw block is kept as it is: take its two tags away")
        if not tag.words:
            raise _UnknownError("it is empty")
        if tag.kind == ">":
            return self._partial(tag)
        if tag.kind == "#":
            return self._begin(tag)
        if tag.kind == "/":
            return self._end(tag)
        word, *rest = tag.words
        if tag.kind == "^" or word == "else":
            return self._else(tag, rest if word == "else" else [])
        if word == "role" and len(rest) == 1 and not self._open and self.on_role is not None:
            self.on_role("".join(made), rest[0].strip("\"'"))
            made.clear()
            return ""
        if word == "history" and not rest and not self._open and self.on_history is not None:
            self.on_history("".join(made))
            made.clear()
            return ""
        return self._value(tag, word, rest)

    def _value(self, tag: Tag, word: str, rest: list[str]) -> str:
        opened, closed = ("{{-" if tag.left else "{{"), ("-}}" if tag.right else "}}")
        if word == "json" and rest:
            option = _INDENT.fullmatch(" ".join(rest[1:]))
            if option is None:
                raise _UnknownError("`json` takes `indent=` and a number, and nothing else")
            indent = f"(indent={option[1]})" if option[1] else ""
            return f"{opened} {self._expression(rest[0])} | tojson{indent} {closed}"
        if word == "media":
            return self._media(dict(one.split("=", 1) for one in rest if "=" in one))
        if rest or word in ("role", "history", "section"):
            raise _UnknownError("there is no such helper here")
        if (not _PATH.fullmatch(word) and word not in _LOOP) or word in _CONSTANTS:
            raise _UnknownError("this is no name of a variable")
        return f"{opened} {self._expression(word)} {closed}"

    def _media(self, options: dict[str, str]) -> str:
        if "url" not in options or options["url"][:1] in "\"'":
            raise _UnknownError("an image is given as a variable: `{{ image }}`")
        name = self._expression(options.pop("url"))
        for option, value in options.items():
            self.draft.leave(f"`{option}={value}` of `{{{{media}}}}`", "an image says itself what it is")
        if self.draft.knows(name):
            self.draft.variable(name, type="image")
        else:
            self.draft.leave("`{{media}}`", f"give {name!r} as a variable of its own, of the type `image`")
        return f"{{{{ {name} }}}}"

    def _partial(self, tag: Tag) -> str:
        if len(tag.words) > 1 or not re.fullmatch(r"[\w/.-]+", tag.words[0]):
            raise _UnknownError("a partial is included as it is: it takes no arguments and has a plain name")
        folder, _, name = tag.words[0].rpartition("/")
        path = f"{folder}/_{name}.md" if folder else f"_{name}.md"
        return statement(f'include "{path}"', tag._replace(alone=False))

    def _begin(self, tag: Tag) -> str:
        try:
            made, block = self._opened(tag)
        except _UnknownError:
            self._open.append(_Block(tag.words[0], "", self._this, shown=False))  # its end stays as it is, too
            raise
        self._open.append(block)
        return made

    def _opened(self, tag: Tag) -> tuple[str, _Block]:
        word, *rest = tag.words
        if word not in _BLOCKS:
            raise _UnknownError("there is no such block here")
        if word in ("ifEquals", "unlessEquals"):
            if len(rest) != 2:
                raise _UnknownError(f"`{word}` compares two things")
            sign = "==" if word == "ifEquals" else "!="
            made = statement(f"if {self._expression(rest[0])} {sign} {self._expression(rest[1])}", tag)
            return made, _Block(word, "endif", self._this)
        if not rest:
            raise _UnknownError(f"`{word}` of what?")
        named = _PARAMETER.fullmatch(" ".join(rest[2:])) if rest[1:2] == ["as"] and word in ("each", "with") else None
        if len(rest) > 1 and named is None:
            raise _UnknownError(f"`{word}` takes one thing here, and gives it one name")
        value = self._expression(rest[0], optional=True)
        if word == "each":
            if self.draft.is_mapping(value):
                raise _UnknownError("a loop goes over a list here, and this is an object")
            self._loops += 1
            item = named[1] if named else _item(self._loops)
            return statement(f"for {item} in {value}", tag), _Block(word, "endfor", item, named and named[1])
        this = value if word == "with" else self._this
        made = statement(f"if not {value}" if word == "unless" else f"if {value}", tag)
        return made, _Block(word, "endif", this, named and named[1])

    def _else(self, tag: Tag, rest: list[str]) -> str:
        if not self._open or not self._open[-1].shown:
            raise _UnknownError("no block of ours is open here")
        if not rest:
            return statement("else", tag)
        if rest[0] != "if" or len(rest) != 2 or self._open[-1].ends != "endif":
            raise _UnknownError("`else` is followed by `if` and a name, or by nothing")
        return statement(f"elif {self._expression(rest[1], optional=True)}", tag)

    def _end(self, tag: Tag) -> str:
        if not self._open or self._open[-1].word != tag.words[0]:
            raise _UnknownError("no such block is open")
        block = self._open.pop()
        if not block.shown:
            raise _UnknownError("there is no such block here")
        return statement(block.ends, tag)

    @property
    def _this(self) -> str | None:
        return self._open[-1].this if self._open else None

    def _expression(self, said: str, *, optional: bool = False) -> str:
        if said in _LOOP:
            if not any(block.word == "each" for block in self._open):
                raise _UnknownError(f"`{said}` stands in a loop")
            return _LOOP[said]
        if said[:1] in "\"'" or _NUMBER.fullmatch(said):
            return said
        if not _PATH.fullmatch(said):
            raise _UnknownError(f"`{said}` cannot be expressed")
        path = re.sub(r"^(?:this(?:\.|$)|\./|\.$)", "", said)
        this = self._this
        if path != said and this is None:
            raise _UnknownError("`this` stands in a loop")
        first, *steps = path.split(".")
        for block in reversed(self._open):
            if path == said and block.named == first:
                return ".".join((block.this or first, *steps))
        if this is not None:
            return f"{this}.{path}" if path else this
        first = self.draft.variable(first, **({"optional": True} if optional else {}))
        return ".".join((first, *steps))


def _item(number: int) -> str:
    return "item" if number == 1 else f"item_{number}"


def _drop_line(made: list[str]) -> None:
    """Take the blanks of a line away whose only tag is gone."""
    if made:
        made[-1] = made[-1][: len(made[-1]) - len(made[-1].rsplit("\n", 1)[-1])].removesuffix("\n")
