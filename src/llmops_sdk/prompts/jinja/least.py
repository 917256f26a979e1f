"""The words that a template puts out whatever its variables are: how long its text is at least."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from jinja2 import nodes

from llmops_sdk.prompts._templates.partials import PartialReader, Partials
from llmops_sdk.prompts._variables import Variable
from llmops_sdk.prompts.jinja.environment import Sandbox
from llmops_sdk.prompts.jinja.template import Parsing

__all__ = ["least_text"]


def least_text(text: str, variables: Mapping[str, Variable], partials: PartialReader) -> str:
    """The words of a template that compiles which are there in every rendering.

    Of an `if` that is its shortest branch. What a loop, a macro or a filter makes may be nothing.
    """
    parsing, included = Parsing(Sandbox(), variables), Partials(partials)

    def load(path: str) -> nodes.Template:
        return parsing.parsed(included.text(path), path)

    return _of_all(parsing.parsed(text, None).body, load)


def _of_all(body: Iterable[nodes.Node], load: Callable[[str], nodes.Template]) -> str:
    return "".join(_of(node, load) for node in body)


def _of(node: nodes.Node, load: Callable[[str], nodes.Template]) -> str:
    if isinstance(node, nodes.Output):
        return "".join(one.data for one in node.nodes if isinstance(one, nodes.TemplateData))
    if isinstance(node, nodes.If):
        branches = [node.body, *(one.body for one in node.elif_), node.else_]
        return min((_of_all(branch, load) for branch in branches), key=len)
    if isinstance(node, nodes.With | nodes.Scope):
        return _of_all(node.body, load)
    if isinstance(node, nodes.Include):
        return _of_all(load(str(node.template.value)).body, load)  # type: ignore[attr-defined]  # a text, else it does not compile
    return ""
