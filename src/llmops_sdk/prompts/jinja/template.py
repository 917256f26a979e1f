"""The template with Jinja's syntax: from a text to something that renders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Template, TemplateSyntaxError, nodes
from jinja2.exceptions import TemplateError

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart, Origin
from llmops_sdk.prompts._templates.openings import BadTextError, openings_of
from llmops_sdk.prompts._templates.partials import PartialReader, Partials
from llmops_sdk.prompts._templates.values import UnfitError
from llmops_sdk.prompts._variables import Variable
from llmops_sdk.prompts.jinja.environment import Sandbox
from llmops_sdk.prompts.jinja.limits import LimitError, Rendering, running
from llmops_sdk.prompts.jinja.origins import Analysis, RefusedError
from llmops_sdk.prompts.jinja.pieces import Captured, Labels, Piece
from llmops_sdk.prompts.jinja.rewriting import rewritten

if TYPE_CHECKING:
    from llmops_sdk.prompts._templates.compiling import Filled

__all__ = ["JinjaTemplate", "compile_jinja", "parsed"]

_MAIN = ""
"""What Jinja calls the text itself."""


class _Sites:
    """Where the units of a template stand, for errors."""

    def __init__(self, prompt: str, where: str, line: int) -> None:
        self._prompt = prompt
        self._where = where
        self._before = line - 1
        self.used: Mapping[tuple[str | None, int], set[str]] = {}

    def error(self, problem: str, unit: str | None, line: int) -> PromptError:
        used = self.used.get((unit, line), set())
        at = f"{self._where}:{line + self._before}" if unit is None else f"{unit}:{line}"
        part_of = "" if unit is None else f" (a partial of {self._where})"
        names = f" (this line uses {', '.join(map(repr, sorted(used)))})" if used else ""
        variable = next(iter(used)) if len(used) == 1 else None
        return PromptError(f"{at}: {problem}{names}{part_of}", prompt=self._prompt, variable=variable)


class JinjaTemplate:
    """A compiled template; made by `compile_jinja`, never changed.

    Attributes:
        variables: Names of the variables in it, each once, in order of their first use.
        partials: Text of what it includes, by path.
    """

    __slots__ = ("_known", "_max_chars", "_optional", "_origins", "_root", "_shown", "_sites", "partials", "variables")

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
        self._optional = frozenset(name for name, variable in self._known.items() if variable.optional)
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
        token = running.set(Rendering(self._max_chars, self._optional))
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
        for one in output:
            for piece in one.pieces if type(one) is Captured else (one,):
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
            if variable.trusted and not isinstance(given[name], str) and _holds_doubtful(given[name])
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


def _holds_doubtful(value: object) -> bool:
    waiting, looked_at = [value], 0
    while waiting:
        one = waiting.pop()
        looked_at += 1
        if isinstance(one, Document):
            if not one.trusted:
                return True
        elif isinstance(one, list | tuple | set | frozenset):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
            waiting.extend(one)
        if looked_at > _MOST_LOOKED_AT:
            return True
    return False


_MOST_LOOKED_AT = 100_000
"""More parts of a value than these are not looked at: whoever holds so much is not trusted."""


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
    unit: str | None = None
    try:
        tree = parsed(sandbox, text, None, variables)
        analysis = Analysis(tree, variables, lambda path: parsed(sandbox, included.text(path), path, variables))
        sites.used = analysis.lines
        for unit, part in analysis.trees.items():
            sandbox.add(rewritten(part, analysis.puts_out), unit)
        unit = None
        root = sandbox.add(rewritten(tree, analysis.puts_out), _MAIN)
    except RefusedError as exc:
        raise sites.error(str(exc), exc.unit, exc.line) from None
    except TemplateSyntaxError as exc:
        raise sites.error(exc.message or "this is no template", exc.name or unit, exc.lineno) from None
    except (RecursionError, SyntaxError, MemoryError) as exc:  # Python's own limits, on the code that Jinja writes
        raise sites.error("the template is nested too deeply", unit, 1) from exc
    return JinjaTemplate(
        root,
        tuple(analysis.variables),
        known=variables,
        partials=included.texts,
        sites=sites,
        shown=analysis.shown,
        max_chars=max_chars,
    )


def parsed(sandbox: Sandbox, text: str, unit: str | None, declared: Mapping[str, Variable]) -> nodes.Template:
    """The tree of a text.

    Jinja would take every `{{`, `{%` and `{#` for its own. So a sign that is nowhere in the text takes the place of the
    first brace where there is template, and Jinja is told to look for that sign.
    """
    try:
        openings = list(openings_of(text, declared))
    except BadTextError as exc:
        raise RefusedError(str(exc), unit, 1 + text.count("\n", 0, exc.at)) from None
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
    sandbox.block_start_string = f"{sign}%"
    sandbox.variable_start_string = f"{sign}{{"
    sandbox.comment_start_string = f"{sign}#"
    return sandbox.parse("".join(parts), unit)
