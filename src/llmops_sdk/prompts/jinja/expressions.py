"""Which variables an expression of a template may get its value from.

What a name holds is the sum of all that is ever put into it there, a macro's parameter the sum of its arguments, a
namespace's attribute that of all namespaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

from jinja2 import nodes

from llmops_sdk.prompts._variables import FENCES, Variable, did_you_mean
from llmops_sdk.prompts.jinja.environment import GLOBALS, LOOP_COUNTERS
from llmops_sdk.prompts.jinja.fencing import COUNTING, Fencing, MixedError, fencing_of
from llmops_sdk.prompts.jinja.filters import FILTERS, TESTS
from llmops_sdk.prompts.jinja.scopes import NOTHING, Found, RefusedError, Scope, labels_in, open_again, settled

__all__ = ["ANY", "ARGUMENTS", "CALLERS", "Expressions", "FenceFilter", "arguments_of"]

NAMESPACES, ARGUMENTS, CALLERS = "namespaces", "arguments", "callers"
"""What is summed up in one place: attributes of namespaces, arguments of unknown calls, `{% call %}` blocks."""

ANY: Final = "*"
"""Any of a macro's parameters."""

_MOST_VISITS: Final = 200_000
_INSTEAD = {
    **dict.fromkeys(("escape", "e", "forceescape", "safe"), " Write `xml` or `json`: nothing is escaped by itself"),
    **dict.fromkeys(("attr",), " Write `x.name` or `x['name']`"),
    **dict.fromkeys(("format",), " Write `a ~ b` to join texts, or `x | round(2)`"),
}
_RESERVED = ("self", "super")


class FenceFilter(NamedTuple):
    """`x | fence`.

    Attributes:
        found: What `x` may come from.
        kind: One of `FENCES`.
        name: What it calls the text, where the template does not say it.
    """

    found: Found
    kind: str
    name: str | None


class Expressions:
    """What is known of a template while it is analysed, and what it says of the template's expressions.

    Attributes:
        variables: Names of its variables, in order of their first use.
        trees: The parsed partials, by path.
        lines: The variables that are used on a line of a unit (`None`: the text itself).
        fences: The filters `fence`, by their `id`.
    """

    def __init__(self, declared: Mapping[str, Variable]) -> None:
        self.variables: dict[str, None] = {}
        self.trees: dict[str, nodes.Template] = {}
        self.lines: dict[tuple[str | None, int], set[str]] = {}
        self.fences: dict[int, FenceFilter] = {}
        self._declared = declared
        self._bound: dict[tuple[int, str], Found] = {}
        self._sums: dict[str, Found] = {}
        self._macros: dict[int, nodes.Macro] = {}
        self._macro_of: dict[tuple[int, str], set[int]] = {}
        self._units: list[str | None] = [None]
        self._assigned: set[tuple[int, str]] = set()
        self._visits = 0
        self._first = True

    def _visit(self, node: nodes.Node) -> None:
        self._visits += 1
        if self._visits > _MOST_VISITS:
            self._refuse(node, "the template is too long, with all that it includes")

    def _bind(self, target: nodes.Node, found: Found, scope: Scope, *, hides: bool = False) -> None:
        if isinstance(target, nodes.NSRef):
            self._sums[NAMESPACES] = self._sums.get(NAMESPACES, NOTHING) | found
        elif isinstance(target, nodes.Name):
            self._check_name(target, target.name)
            scope.names[target.name] = scope.names.get(target.name, False) or hides
            self._assigned.add((scope.key, target.name))
            self._sum((scope.key, target.name), found)
        else:
            for one in target.iter_child_nodes():
                self._bind(one, found, scope, hides=hides)

    def _sum(self, key: tuple[int, str], found: Found) -> None:
        self._bound[key] = self._bound.get(key, NOTHING) | found

    def _check_name(self, node: nodes.Node, name: str) -> None:
        if name.startswith("_"):
            self._refuse(node, f"no name may begin with an underscore, as {name!r} does")
        if name in _RESERVED:
            self._refuse(node, f"{name!r} is a word of Jinja: take another name")

    def _expression(self, node: nodes.Node, scope: Scope) -> Found:
        self._visit(node)
        if isinstance(node, nodes.Name):
            return self._name(node, scope)
        if isinstance(node, nodes.Getattr):
            return self._attribute(node, scope)
        if isinstance(node, nodes.Call):
            return self._call(node, scope)
        if isinstance(node, nodes.Filter | nodes.Test):
            self._check_known(node)
        if isinstance(node, nodes.Filter) and node.name == "fence":
            return self._fence(node, scope)
        if isinstance(node, nodes.CondExpr):
            self._expression(node.test, scope)
            other = NOTHING if node.expr2 is None else self._expression(node.expr2, scope)
            return self._expression(node.expr1, scope) | other
        found = NOTHING.union(*(self._expression(child, scope) for child in node.iter_child_nodes()))
        return settled(found) if _counts(node) else open_again(found)

    def _fence(self, node: nodes.Filter, scope: Scope) -> Found:
        if not _has_operand(node):
            self._refuse(node, "`fence` is no filter for a block: write it behind what it fences, `{{ x | fence }}`")
        assert node.node is not None
        found = open_again(self._expression(node.node, scope))
        given = arguments_of(node, ("kind", "name"))
        if given is None:
            self._refuse(node, '`fence` takes a kind and a name: `{{ x | fence }}`, `{{ x | fence("xml", "notes") }}`')
        kind, name = given.get("kind"), given.get("name")
        if kind is not None and (not isinstance(kind, nodes.Const) or kind.value not in FENCES):
            self._refuse(node, f"the fence is named in the template, one of {', '.join(FENCES)}")
        if name is not None and (others := self._expression(name, scope)):
            says = ", ".join(labels_in(others))
            self._refuse(node, f"the name of a fence is the template's own, and this one comes from {says}")
        own: Fencing | None = None
        if kind is None or name is None:
            try:
                own = fencing_of(found, self._declared)
            except MixedError as exc:
                if name is None:
                    self._refuse(node, str(exc), variable=exc.variable)
        chosen = kind.value if isinstance(kind, nodes.Const) else own.kind if own is not None else "xml"
        labels = labels_in(found)
        if name is None and len(labels) != 1 and own is None:
            self._refuse(node, f'say what it is called, `{{{{ x | fence("{chosen}", "notes") }}}}`')
        named = None if name is not None else own.name if own is not None else labels[0]
        self.fences[id(node)] = FenceFilter(found, chosen, named)
        return settled(found)

    def _check_known(self, node: nodes.Filter | nodes.Test) -> None:
        kind, known = ("filter", FILTERS) if isinstance(node, nodes.Filter) else ("test", TESTS)
        if node.name not in known:
            instead = _INSTEAD.get(node.name, did_you_mean(node.name, known))
            self._refuse(node, f"there is no {kind} {node.name!r}.{instead}")

    def _name(self, node: nodes.Name, scope: Scope) -> Found:
        name = node.name
        self._check_name(node, name)
        found = NOTHING
        seen = False
        for key, hides in scope.visible(name):
            seen = True
            found |= self._bound.get((key, name), NOTHING)
            if hides:
                return found
        if name in GLOBALS and name not in self._declared and not seen:
            return self._sums.get(NAMESPACES, NOTHING) if name == "namespace" else NOTHING
        if name == "loop" and name not in self._declared:
            self._refuse(node, "`loop` is known inside of a loop only")
        if self._alone(scope):
            if not seen:
                self._refuse(node, f"{name!r} is not known in what is imported: make it an argument of the macro")
            return found
        if not seen and self._first:
            self.variables.setdefault(name)
        if name in self.variables or name in self._declared:
            self.variables.setdefault(name)
            self._line(node).add(name)
            found |= {name}
        return found

    def _alone(self, scope: Scope) -> bool:
        """Whether the scope is that of a partial that does not see the variables."""
        while scope.around is not None:
            scope = scope.around
        return any(scope.key == id(tree) for tree in self.trees.values())

    def _line(self, node: nodes.Node) -> set[str]:
        return self.lines.setdefault((self._units[-1], node.lineno), set())

    def _attribute(self, node: nodes.Getattr, scope: Scope) -> Found:
        if node.attr.startswith("_"):
            self._refuse(node, f"no name may begin with an underscore, as {node.attr!r} does")
        of_loop = isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in LOOP_COUNTERS
        if of_loop and any(hides for _, hides in scope.visible("loop")):
            return NOTHING
        found = self._expression(node.node, scope)
        path = _path(node.node)
        # A path in a variable that nothing else is mixed with is named in full.
        return frozenset((f"{path}.{node.attr}",)) if path is not None and found == {path} else open_again(found)

    def _call(self, node: nodes.Call, scope: Scope) -> Found:
        # What a method gives comes from what it is a method of.
        callee = self._expression(node.node.node if isinstance(node.node, nodes.Getattr) else node.node, scope)
        given = NOTHING.union(
            *(self._expression(one, scope) for one in (*node.args, *node.kwargs)),
            *(self._expression(one, scope) for one in (node.dyn_args, node.dyn_kwargs) if one is not None),
        )
        called = self._called(node.node, scope)
        if called is None:
            self._sums[ARGUMENTS] = self._sums.get(ARGUMENTS, NOTHING) | given
        for macro in called or ():
            self._hand_on(node, self._macros[macro], scope, given)
        # What a macro gives is made of pieces, each in its fence.
        found = callee | given
        return settled(found) if called or self._is_caller(node.node, scope) else open_again(found)

    def _is_caller(self, callee: nodes.Node, scope: Scope) -> bool:
        """Whether it is the block of a `{% call %}`."""
        if not isinstance(callee, nodes.Name) or callee.name != "caller":
            return False
        keys = [(key, "caller") for key, _ in scope.visible("caller")]
        return bool(keys) and self._assigned.isdisjoint(keys)

    def _hand_on(self, call: nodes.Call, macro: nodes.Macro, scope: Scope, given: Found) -> None:
        """Note the arguments of a call for the parameters of the macro."""
        parameters = [parameter.name for parameter in macro.args]
        named = {one.key: one.value for one in call.kwargs} | dict(zip(parameters, call.args, strict=False))
        if call.dyn_args or call.dyn_kwargs or len(call.args) > len(parameters) or not named.keys() <= {*parameters}:
            self._sum((id(macro), ANY), given)
            return
        for name, value in named.items():
            self._sum((id(macro), name), self._expression(value, scope))

    def _called(self, callee: nodes.Node, scope: Scope) -> set[int] | None:
        """The macros that a call means; `None` where that may be any: one that was passed on, or of a module."""
        if isinstance(callee, nodes.Name):
            keys = [(key, callee.name) for key, _ in scope.visible(callee.name)]
            if not keys and callee.name in GLOBALS:
                return set()
            if not keys:
                self._refuse(callee, f"{callee.name!r} is not called, it is no macro: pass what the call returns")
            found = [self._macro_of.get(key, set()) for key in keys]
            if all(found) and self._assigned.isdisjoint(keys):
                return set().union(*found)
        return None

    def _refuse(self, node: nodes.Node, problem: str, *, variable: str | None = None) -> NoReturn:
        raise RefusedError(problem, self._units[-1], node.lineno, variable=variable)


def _path(node: nodes.Node) -> str | None:
    """`"a.b"` for `a.b`, `None` for what is not such a path."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        before = _path(node.node)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _has_operand(node: nodes.Filter) -> bool:
    """Whether it is not the filter of a block, whose text nobody sees here."""
    inner: nodes.Expr | None = node
    while isinstance(inner, nodes.Filter):
        inner = inner.node
    return inner is not None


def _counts(node: nodes.Node) -> bool:
    """Whether it gives a number or a yes or no, in which nobody can say anything."""
    if isinstance(node, nodes.Filter):
        return node.name in COUNTING
    return isinstance(node, nodes.Test | nodes.Compare | nodes.Not)


def arguments_of(node: nodes.Filter, names: Sequence[str]) -> dict[str, nodes.Expr] | None:
    """The arguments of a filter by their names; `None` where there are others."""
    if node.dyn_args is not None or node.dyn_kwargs is not None or len(node.args) > len(names):
        return None
    given: dict[str, nodes.Expr] = dict(zip(names, node.args, strict=False))
    for one in node.kwargs:
        key, value = str(one.key), one.value
        if key not in names or key in given:
            return None
        given[key] = value
    return given
