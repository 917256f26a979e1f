"""The parsed template, rewritten so that it puts out pieces and counts its work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from llmops_sdk.prompts.jinja.filters import CONCAT, EACH, LOOK, PUT_OUT, SPEND

__all__ = ["rewritten"]

_CAUGHT = "_caught"  # no name of a template begins so


def rewritten(tree: nodes.Template, puts_out: Mapping[int, frozenset[str]]) -> nodes.Template:
    """The tree itself, changed.

    Args:
        tree: The parsed template.
        puts_out: What each expression that is put out may come from, by its `id`.
    """
    cost = _parts_in(tree.body)
    _Rewriter(puts_out).visit(tree)
    tree.body.insert(0, _spending(cost, 1))
    assert tree.environment is not None
    return tree.set_environment(tree.environment)  # type: ignore[return-value]


def _parts_in(body: list[nodes.Node]) -> int:
    return sum(1 + sum(1 for _ in node.find_all(nodes.Node)) for node in body)


def _filtered(node: nodes.Node, name: str, *arguments: object) -> nodes.Filter:
    constants = [nodes.Const(one, lineno=node.lineno) for one in arguments]
    return nodes.Filter(node, name, constants, [], None, None, lineno=node.lineno)


def _spending(cost: int, line: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(_filtered(nodes.Const(cost, lineno=line), SPEND), lineno=line)


class _Rewriter(NodeTransformer):
    def __init__(self, puts_out: Mapping[int, frozenset[str]]) -> None:
        self._puts_out = puts_out

    def _putting_out(self, node: nodes.Expr, found: frozenset[str]) -> nodes.Filter:
        return _filtered(node, PUT_OUT, tuple(sorted(found)))

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802  (Jinja calls them so)
        shown: list[nodes.Expr] = []
        for child in node.nodes:
            if not isinstance(child, nodes.TemplateData):
                found = self._puts_out[id(child)]
                child = self._putting_out(self.visit(child), found)  # noqa: PLW2901
            shown.append(child)
        node.nodes = shown
        return node

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Scope:  # noqa: N802
        found = self._puts_out[id(node)]
        self.generic_visit(node)
        line = node.lineno
        caught = nodes.AssignBlock(nodes.Name(_CAUGHT, "store"), node.filter, node.body, lineno=line)
        shown = nodes.Output([self._putting_out(nodes.Name(_CAUGHT, "load", lineno=line), found)], lineno=line)
        return nodes.Scope([caught, shown], lineno=line)

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
