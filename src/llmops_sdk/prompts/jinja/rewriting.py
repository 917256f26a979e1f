"""The parsed template, rewritten so that it puts out pieces and counts its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from llmops_sdk.prompts.jinja.expressions import arguments_of
from llmops_sdk.prompts.jinja.filters import CONCAT, EACH, FENCE, FENCE_OUT, LOOK, PUT_OUT, SPEND
from llmops_sdk.prompts.jinja.scopes import labels_in, unsettled_in

if TYPE_CHECKING:
    from llmops_sdk.prompts.jinja.origins import Analysis

__all__ = ["rewritten"]

_CAUGHT = "_caught"  # no name of a template begins so


def rewritten(tree: nodes.Template, analysis: Analysis) -> nodes.Template:
    """The tree itself, changed.

    Args:
        tree: The parsed template.
        analysis: What was found out about it.
    """
    cost = _parts_in(tree.body)
    _Rewriter(analysis).visit(tree)
    tree.body.insert(0, _spending(cost, 1))
    assert tree.environment is not None
    return tree.set_environment(tree.environment)  # type: ignore[return-value]


def _parts_in(body: list[nodes.Node]) -> int:
    return sum(1 + sum(1 for _ in node.find_all(nodes.Node)) for node in body)


def _filtered(node: nodes.Node, name: str, *arguments: object) -> nodes.Filter:
    constants = [one if isinstance(one, nodes.Expr) else nodes.Const(one, lineno=node.lineno) for one in arguments]
    return nodes.Filter(node, name, constants, [], None, None, lineno=node.lineno)


def _spending(cost: int, line: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(_filtered(nodes.Const(cost, lineno=line), SPEND), lineno=line)


class _Rewriter(NodeTransformer):
    def __init__(self, analysis: Analysis) -> None:
        self._puts_out = analysis.puts_out
        self._fencings = analysis.fencings
        self._fences = analysis.fences

    def _putting_out(self, node: nodes.Expr, key: int) -> nodes.Filter:
        found = self._puts_out[key]
        fencing = self._fencings.get(key)
        if fencing is None:
            return _filtered(node, PUT_OUT, labels_in(found))
        settled = not unsettled_in(found)
        return _filtered(node, FENCE_OUT, labels_in(found), fencing.kind, fencing.name, settled)

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802  (Jinja calls them so)
        shown: list[nodes.Expr] = []
        for child in node.nodes:
            if not isinstance(child, nodes.TemplateData):
                key = id(child)
                child = self._putting_out(self.visit(child), key)  # noqa: PLW2901
            shown.append(child)
        node.nodes = shown
        return node

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Scope:  # noqa: N802
        key = id(node)
        self.generic_visit(node)
        line = node.lineno
        caught = nodes.AssignBlock(nodes.Name(_CAUGHT, "store"), node.filter, node.body, lineno=line)
        shown = nodes.Output([self._putting_out(nodes.Name(_CAUGHT, "load", lineno=line), key)], lineno=line)
        return nodes.Scope([caught, shown], lineno=line)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Filter:  # noqa: N802
        fence = self._fences.get(id(node))
        self.generic_visit(node)
        if fence is None or node.node is None:
            return node
        given = arguments_of(node, ("kind", "name")) or {}
        return _filtered(node.node, FENCE, labels_in(fence.found), fence.kind, given.get("name", fence.name))

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        cost = 1 + _parts_in(node.body)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, EACH, cost)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:  # noqa: N802
        cost = _parts_in(node.body)
        self.generic_visit(node)
        node.body.insert(0, _spending(cost, node.lineno))
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:  # noqa: N802
        cost = _parts_in(node.body)
        call = node.call
        self.generic_visit(node)
        node.call = call  # it has to stay a call; its arguments were rewritten in place
        node.body.insert(0, _spending(cost, node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), CONCAT)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered(node.expr, LOOK)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, LOOK)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:  # noqa: N802
        self.generic_visit(node)
        node.key = _filtered(node.key, LOOK)  # it is hashed, with all that is in it
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> Any:  # noqa: N802
        self.generic_visit(node)
        # A slice is Python's own, which asks nobody.
        return _filtered(node, LOOK) if isinstance(node.arg, nodes.Slice) else node
