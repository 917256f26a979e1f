r"""Which braces of a text are template, and which are text.

Template is:

* `{{` where a letter follows, at once or behind blanks (or `-`, `+`): `{{ name }}`, `{{name | upper}}`. So
  `{{"a": 1}}`, `{{ (x) }}`, `{{}}` and `{single}` are text;
* `{{` where a text in quotes follows and then anything but `:` and `,`: `{{ "Dear " ~ name }}`, `{{ ", " if x }}`,
  `{{ "{%" }}` (with a blank before a text that stands alone); and where a blank and a number, `(` or `[` follow,
  and `|` or `~` before the end: `{{ [a, b] | join }}`. These close on their line, without a brace before;
* `{%` where a statement's word follows: `{% if x %}`, `{%- for a in b %}`;
* `{#` where a blank, a line end or `-` follows, and `{#note#}` on one line without a brace in it: a comment.

LaTeX is text: `{{a}}` without blanks, right behind a command of two letters or more (`\frac{{a}}{b}`), unless `a` is
declared as a variable. What lies between `{% raw %}` and `{% endraw %}` is text, too. What is none of these and looks
like a template gone wrong is an error: a `{{ name` or a statement that is not closed, signs of other template languages
(`{{#each}}`), and `{% word %}` with a word that is no statement.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from llmops_sdk.prompts._variables import NAME, did_you_mean

__all__ = ["TEXT", "BadTextError", "Opening", "openings_of"]

VARIABLE = re.compile(rf"\{{\{{[ \t]*({NAME}(?:\.{NAME})*)[ \t]*\}}\}}")
"""What the plain template has, and nothing else."""

TEXT = r"""(?:'[^'\n]*'|"[^"\n]*")"""
"""A text in quotes, on one line."""
_CANDIDATE = re.compile(
    r"\{\{(?=[-+]?[ \t]*[^\W\d]|[#/^>!&]"
    rf"|[-+]?[ \t]*{TEXT}[ \t]*[^\s:,{{}}][^\n{{}}]*+\}}\}}|[-+]?[ \t]+{TEXT}[ \t]*\}}\}}"
    r"|[-+]?[ \t]+[\d(\[][^\n{}|~]*+[|~][^\n{}]*+\}\})"
    r"|\{%|\{#|\\[A-Za-z]{2,}(?=\{)"
)
_LATEX = re.compile(r"(?:\{\{[^{}\s]*\}\}|\{[^{}\n]*\})+")
_STATEMENT = re.compile(r"\{%[-+]?\s*([a-z]+)\b")
_END_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
# What stands in code: texts, closed or to the end of their line (braces in them are no ends); braces; and the ends.
_CODE = re.compile(r"'(?:\\.|[^'\\\n])*+'?|\"(?:\\.|[^\"\\\n])*+\"?|\}\}|%\}|[{}]")
_LEAVES_LINE = re.compile(r"\n|\{%")
_LEAVES_NOTE = re.compile(r"[\n{}]")
_UNDERSCORE = re.compile(r"\{\{[-+]?[ \t]*_|[^'\"]*\._")
_MOST_SHOWN = 200

_WORDS = (
    *("if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "filter", "endfilter"),
    *("macro", "endmacro", "call", "endcall", "include", "import", "from", "raw"),
)
_REFUSED = {
    "extends": "a prompt extends nothing: `include` its parts",
    "block": "a prompt has no blocks: `include` its parts, or write a macro",
    "endblock": "a prompt has no blocks: `include` its parts, or write a macro",
    "do": "nothing is done for its effect in a prompt: use `set`",
    "autoescape": "nothing is escaped by itself: write `{{ x | xml }}` or `{{ x | json }}`",
    "break": "a loop runs to its end: `{% for x in all if ... %}` leaves items out",
    "continue": "a loop runs to its end: `{% for x in all if ... %}` leaves items out",
}


class BadTextError(Exception):
    """A text that looks like a template gone wrong; the message says how, `at` is the place of it."""

    def __init__(self, at: int, problem: str, *, variable: str | None = None) -> None:
        super().__init__(problem)
        self.at = at
        self.variable = variable


class Opening(NamedTuple):
    """One `{{`, `{%` or `{#` that is template.

    Attributes:
        at: Where it stands.
        end: Where the text goes on.
        path: What stands in it, where it is a name, or names with dots between; `None` where it takes more than the
            plain template to render it.
        word: The word of a statement.
    """

    at: int
    end: int
    path: str | None = None
    word: str | None = None


def openings_of(text: str, declared: Collection[str] = ()) -> Iterator[Opening]:
    """The openings in a text, in order.

    Raises:
        BadTextError: Something looks like a template and is none.
    """
    closes = _Closes(text)
    position = 0
    while (candidate := _CANDIDATE.search(text, position)) is not None:
        at = candidate.start()
        sign = text[at : at + 2]
        if sign[0] == "\\":
            latex = _LATEX.match(text, candidate.end())
            named = latex is not None and any(f"{{{{{name}}}}}" in latex[0] for name in declared)
            position = candidate.end() if latex is None or named else latex.end()
            continue
        found: Opening | None
        if sign == "{{":
            found = _expression(text, at)
        elif sign == "{%":
            found = _statement(text, at, closes)
        else:
            found = _comment(text, at, closes)
        if found is None:
            position = at + 2
            continue
        yield found
        position = found.end
        if found.word == "raw":
            closing = _END_RAW.search(text, position)
            if closing is None:
                raise BadTextError(at, "`{% raw %}` is not closed: write `{% endraw %}` behind the text")
            yield Opening(closing.start(), closing.end(), None, "endraw")
            position = closing.end()


class _Closes:
    """Where the next close of a kind stands; each stretch of the text is looked through once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = {"%}": -1, "#}": -1}

    def after(self, at: int, sign: str) -> int | None:
        if self._next[sign] < at:
            found = self._text.find(sign, at)
            self._next[sign] = found if found >= 0 else len(self._text) + 1
        return self._next[sign] if self._next[sign] < len(self._text) else None

    def before(self, at: int, sign: str, leaves: re.Pattern[str]) -> int | None:
        """The next close, where nothing stands before it that leaves what it closes."""
        close = self.after(at, sign)
        return None if close is None or leaves.search(self._text, at, close) else close


def _expression(text: str, at: int) -> Opening:
    plain = VARIABLE.match(text, at)
    if plain is not None:
        return Opening(at, plain.end(), plain[1])
    if text[at + 2] in "#/^>!&":
        raise BadTextError(
            at, f"`{_shown(text, at, '}}')}` is not part of the syntax, which is Jinja's: `{{% if x %}}`, `{{% for %}}`"
        )
    end = _end_of(text, at, "}}")
    if _UNDERSCORE.match(text, at, _line_end(text, at) if end is None else end):
        raise BadTextError(
            at, f"`{_shown(text, at, '}}')}` is not part of the syntax: no name may begin with an underscore"
        )
    if end is None:
        raise BadTextError(
            at,
            f"`{_shown(text, at, '}}')}` is not closed: write `{{{{ name }}}}`; for braces as text, `{{% raw %}}`",
        )
    return Opening(at, end)


def _statement(text: str, at: int, closes: _Closes) -> Opening | None:
    match = _STATEMENT.match(text, at)
    if match is None:
        return None
    word = match[1]
    if word in _WORDS:
        end = _end_of(text, at, "%}")
        if end is None:
            raise BadTextError(at, f"`{_shown(text, at, '%}')}` is not closed: end it with `%}}`")
        return Opening(at, end, None, word)
    if closes.before(at + 2, "%}", _LEAVES_LINE) is None:
        return None
    shown = _shown(text, at, "%}")
    if word in _REFUSED:
        raise BadTextError(at, f"`{shown}` is not part of the syntax: {_REFUSED[word]}")
    if word == "endraw":
        raise BadTextError(at, f"`{shown}` closes nothing: no `{{% raw %}}` stands before it")
    raise BadTextError(
        at, f"`{shown}` is not part of the syntax: there is no statement {word!r}.{did_you_mean(word, _WORDS)}"
    )


def _comment(text: str, at: int, closes: _Closes) -> Opening | None:
    if text[at + 2 : at + 3] in (" ", "\t", "\n", "\r", "-"):
        close = closes.after(at + 2, "#}")
        if close is None:
            raise BadTextError(at, f"the comment `{_shown(text, at, '#}')}` is not closed: end it with `#}}`")
        return Opening(at, close + 2)
    close = closes.before(at + 2, "#}", _LEAVES_NOTE)
    return None if close is None else Opening(at, close + 2)


def _end_of(text: str, at: int, close: str) -> int | None:
    """Where the code ends that begins at `at`, behind its `close`."""
    braces = 0
    position = at + 2
    while (found := _CODE.search(text, position)) is not None:
        sign, position = found[0], found.end()
        if sign == close and (not braces or close == "%}"):
            return position
        if sign == "{":
            braces += 1
        elif sign[0] == "}" and braces:
            braces -= 1
            position = found.start() + 1  # the second brace of `}}` may belong to what is around
    return None


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at, at + _MOST_SHOWN)
    return min(len(text), at + _MOST_SHOWN) if end < 0 else end


def _shown(text: str, at: int, close: str) -> str:
    line_end = _line_end(text, at)
    end = text.find(close, at, line_end)
    return text[at : end + 2 if end >= 0 else min(line_end, at + 40)]
