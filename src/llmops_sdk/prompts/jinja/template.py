"""The template with Jinja's syntax: from a text to something that renders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Template, TemplateSyntaxError, nodes
from jinja2.exceptions import TemplateError

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart, Origin
from llmops_sdk.prompts._templates.openings import BadTextError, openings_of
from llmops_sdk.prompts._templates.partials import PartialReader, Partials
from llmops_sdk.prompts._templates.values import UnfitError, holds_doubtful
from llmops_sdk.prompts._variables import Variable
from llmops_sdk.prompts.jinja.environment import Sandbox
from llmops_sdk.prompts.jinja.limits import LimitError, Rendering, running
from llmops_sdk.prompts.jinja.origins import Analysis
from llmops_sdk.prompts.jinja.pieces import Captured, FenceEnd, FenceStart, Labels, Piece
from llmops_sdk.prompts.jinja.rewriting import rewritten
from llmops_sdk.prompts.jinja.scopes import RefusedError

if TYPE_CHECKING:
    from llmops_sdk.prompts._templates.compiling import Filled

__all__ = ["JinjaTemplate", "Parsing", "compile_jinja"]

_MAIN = ""
"""What Jinja calls the text itself."""


_MOST_OPENINGS = 5_000
_MOST_CODE = 100_000
"""Most `{{`, `{%` and `{#` of a text with its partials, and most characters in them: a second of compiling."""


class _Sites:
    """Where the units of a template stand, for errors."""

    def __init__(self, prompt: str, where: str, line: int) -> None:
        self._prompt = prompt
        self._where = where
        self._before = line - 1
        self.used: Mapping[tuple[str | None, int], set[str]] = {}

    def error(self, problem: str, unit: str | None, line: int, variable: str | None = None) -> PromptError:
        used = self.used.get((unit, line), set())
        at = f"{self._where}:{line + self._before}" if unit is None else f"{unit}:{line}"
        part_of = "" if unit is None else f" (a partial of {self._where})"
        names = f" (this line uses {', '.join(map(repr, sorted(used)))})" if used else ""
        variable = variable or (next(iter(used)) if len(used) == 1 else None)
        return PromptError(f"{at}: {problem}{names}{part_of}", prompt=self._prompt, variable=variable)


class JinjaTemplate:
    """A compiled template; made by `compile_jinja`, never changed.

    Attributes:
        variables: Names of the variables in it, each once, in order of their first use.
        partials: Text of what it includes, by path.
    """

    __slots__ = ("_known", "_max_chars", "_origins", "_root", "_shown", "_sites", "partials", "variables")

    def __init__(
        self,
        root: Template,
        variables: tuple[str, ...],
        *,
        known: Mapping[str, Variable],
        partials: Mapping[str, str],
        sites: _Sites,
        shown: Mapping[tuple[str | None, int], set[str]],
        max_chars: int,
    ) -> None:
        self._root = root
        self._shown = shown
        self._known = {name: known.get(name) or Variable(name=name) for name in variables}
        self._origins: dict[Labels, tuple[str, bool]] = {}
        self._sites = sites
        self._max_chars = max_chars
        self.variables = variables
        self.partials = partials

    def uses(self) -> Iterator[tuple[str, str | None, int, bool]]:
        """See `Template`."""
        for (unit, line), used in {**self._shown, **self._sites.used}.items():
            shown = self._shown.get((unit, line), set())
            for name in sorted(used | shown):
                yield name, unit, line, name in shown

    def render(self, values: Mapping[str, object], /) -> Filled:
        """See `Template`."""
        given = {name: values[name] for name in self.variables}
        token = running.set(Rendering(self._max_chars, self._known))
        try:
            return self._assembled(self._root.root_render_func(self._root.new_context(given)), self._doubted(given))
        except Exception as exc:
            raise self._failed(exc) from exc
        finally:
            running.reset(token)

    def _assembled(self, output: Iterable[str], doubted: frozenset[str]) -> Filled:
        texts: list[str] = []
        origins: list[Origin] = []
        images: list[tuple[int, ImagePart]] = []
        position = 0
        line_has_to_end = False
        for one in output:
            for piece in one.pieces if type(one) is Captured else (one,):
                begins = type(piece) is FenceStart and piece.own_line and not _ends_line(texts)
                if begins or (line_has_to_end and piece and piece[0] != "\n"):
                    texts.append("\n")
                    position += 1
                line_has_to_end = piece.own_line if type(piece) is FenceEnd else line_has_to_end and not piece
                end = position + len(piece)
                if type(piece) is Piece:
                    source, trusted = self._origin_of(piece.came, doubted)
                    origins.append(Origin(start=position, end=end, source=source, trusted=trusted))
                    if piece.image is not None:
                        images.append((position, piece.image))
                texts.append(piece)
                position = end
            if position > self._max_chars:
                raise LimitError(
                    f"the prompt would have more than {position:,} characters, and {self._max_chars:,} are allowed; "
                    "give it less text"
                )
        return "".join(texts), tuple(origins), tuple(images)

    def _origin_of(self, came: Labels | Document, doubted: frozenset[str]) -> tuple[str, bool]:
        if isinstance(came, Document):
            return f"document:{came.id}", came.trusted
        found = self._origins.get(came)
        if found is None:
            roots = [label.partition(".")[0] for label in came]
            found = f"variable:{','.join(came)}", all(self._known[root].trusted for root in roots)
            self._origins[came] = found
        if doubted and found[1] and not doubted.isdisjoint(label.partition(".")[0] for label in came):
            return found[0], False
        return found

    def _doubted(self, given: Mapping[str, object]) -> frozenset[str]:
        """Variables that the prompt vouches for, though they hold documents that nobody vouches for."""
        return frozenset(
            name
            for name, variable in self._known.items()
            if variable.trusted and not isinstance(given[name], str) and holds_doubtful(given[name])
        )

    def _failed(self, exc: Exception) -> PromptError:
        unit, line = _place_of(exc) or (None, 1)
        if isinstance(exc, UnfitError | LimitError | TemplateError):
            problem = str(exc)
        elif isinstance(exc, RecursionError):
            problem = "the values or the macros are nested too deeply"
        else:
            problem = f"{type(exc).__name__}: {exc}"
        return self._sites.error(problem, unit, line)


def _ends_line(texts: Sequence[str]) -> bool:
    return next((text for text in reversed(texts) if text), "\n").endswith("\n")


def _place_of(exc: BaseException) -> tuple[str | None, int] | None:
    """The unit and line that was rendered when `exc` was raised."""
    found = None
    step = exc.__traceback__
    while step is not None:
        template: Any = step.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            found = template.name or None, template.get_corresponding_lineno(step.tb_lineno)
        step = step.tb_next
    return found


def compile_jinja(
    text: str,
    /,
    *,
    variables: Mapping[str, Variable],
    prompt: str,
    where: str,
    line: int,
    max_chars: int,
    partials: PartialReader | None,
) -> JinjaTemplate:
    """Compile a text that takes more than the plain template.

    Raises:
        PromptError: The text is no template, does what none may, or includes what is not there.
    """
    sandbox = Sandbox()
    sites = _Sites(prompt, where, line)
    included = Partials(partials)
    parsing = Parsing(sandbox, variables)
    unit: str | None = None
    try:
        tree = parsing.parsed(text, None)
        analysis = Analysis(tree, variables, lambda path: parsing.parsed(included.text(path), path))
        sites.used = analysis.lines
        for unit, part in analysis.trees.items():
            sandbox.add(rewritten(part, analysis), unit)
        unit = None
        root = sandbox.add(rewritten(tree, analysis), _MAIN)
    except RefusedError as exc:
        raise sites.error(str(exc), exc.unit, exc.line, exc.variable) from None
    except TemplateSyntaxError as exc:
        raise sites.error(exc.message or "this is no template", exc.name or unit, exc.lineno) from None
    except (RecursionError, SyntaxError, MemoryError) as exc:  # Python's own limits, on the code that Jinja writes
        raise sites.error("the template is nested too deeply", unit, 1) from exc
    except ValueError as exc:  # a number of more digits than Python reads
        raise sites.error(f"the template cannot be read: {exc}", unit, 1) from exc
    return JinjaTemplate(
        root,
        tuple(analysis.variables),
        known=variables,
        partials=included.texts,
        sites=sites,
        shown=analysis.shown,
        max_chars=max_chars,
    )


class Parsing:
    """Parses a text, and what it includes."""

    def __init__(self, sandbox: Sandbox, declared: Mapping[str, Variable]) -> None:
        self._sandbox = sandbox
        self._declared = declared
        self._openings = 0
        self._code = 0

    def parsed(self, text: str, unit: str | None) -> nodes.Template:
        """The tree of a text.

        Jinja would take every `{{`, `{%` and `{#` for its own. So a sign that is nowhere in the text takes the place of
        the first brace where there is template, and Jinja is told to look for that sign.
        """
        try:
            openings = list(openings_of(text, self._declared))
        except BadTextError as exc:
            raise RefusedError(str(exc), unit, 1 + text.count("\n", 0, exc.at)) from None
        self._openings += len(openings)
        self._code += sum(opening.end - opening.at for opening in openings)
        if self._openings > _MOST_OPENINGS or self._code > _MOST_CODE:
            problem = (
                f"the template has {self._openings:,} statements and expressions of {self._code:,} characters, with "
                f"what it includes, and {_MOST_OPENINGS:,} of {_MOST_CODE:,} may be: give long texts as variables"
            )
            raise RefusedError(problem, unit, 1)
        sign = next((sign for sign in map(chr, range(0xE000, 0xF900)) if sign not in text), None)  # for private use
        if sign is None:
            raise RefusedError("the text uses all characters for private use (U+E000 to U+F8FF)", unit, 1)
        parts: list[str] = []
        position = 0
        for opening in openings:
            end = opening.end
            parts += (text[position : opening.at], sign)
            position = opening.at + 1
            if opening.word == "include" and text[end - 3] not in "-+":
                # What is included ends without a line end, so the one behind the statement stays.
                parts += (text[position : end - 2], "+")
                position = end - 2
        parts.append(text[position:])
        self._sandbox.block_start_string = f"{sign}%"
        self._sandbox.variable_start_string = f"{sign}{{"
        self._sandbox.comment_start_string = f"{sign}#"
        return self._sandbox.parse("".join(parts), unit)
