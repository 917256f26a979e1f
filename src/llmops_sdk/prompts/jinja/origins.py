"""Which variables each `{{ ... }}` of a template may get its text from, found in the parsed template.

It errs to one side: a variable that may have to do with a text is named, whatever the order in which things happen.
What a name holds is the sum of all that is ever put into it there, a macro's parameter the sum of its arguments, a
namespace's attribute that of all namespaces. Only conditions count for nothing: `{% if question %}yes` is
the application's own text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn, TypeAlias

from jinja2 import nodes

from llmops_sdk.prompts._templates.partials import BadPartialError
from llmops_sdk.prompts._variables import did_you_mean
from llmops_sdk.prompts.jinja.environment import GLOBALS, LOOP_COUNTERS
from llmops_sdk.prompts.jinja.filters import FILTERS, TESTS

__all__ = ["Analysis", "RefusedError"]

_Found: TypeAlias = frozenset[str]
_NONE: Final[_Found] = frozenset()

_NAMESPACES, _ARGUMENTS, _CALLERS = "namespaces", "arguments", "callers"
"""What is summed up in one place: attributes of namespaces, arguments of unknown calls, `{% call %}` blocks."""

_MOST_VISITS: Final = 200_000
_MOST_PASSES: Final = 100
_ANY = "*"  # any of a macro's parameters
_MACRO_NAMES = ("varargs", "kwargs")
_INSTEAD = {
    **dict.fromkeys(("escape", "e", "forceescape", "safe"), " Write `xml` or `json`: nothing is escaped by itself"),
    **dict.fromkeys(("attr",), " Write `x.name` or `x['name']`"),
    **dict.fromkeys(("format",), " Write `a ~ b` to join texts, or `x | round(2)`"),
}
_RESERVED = ("self", "super")
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Extends: "a prompt extends nothing: `include` its parts",
    nodes.Block: "a prompt has no blocks: `include` its parts, or write a macro",
}


class RefusedError(Exception):
    """A template does what none may; `unit` (`None`: the text itself) and `line` say where."""

    def __init__(self, problem: str, unit: str | None, line: int) -> None:
        super().__init__(problem)
        self.unit = unit
        self.line = line


class _Scope:
    """Names that are visible at one place.

    Attributes:
        key: What tells it from the others, however often it is visited.
        names: Names that are set in it: `True` where they hide what is around, as a loop's do.
    """

    def __init__(self, key: int, around: _Scope | None, names: Mapping[str, bool] | None = None) -> None:
        self.key = key
        self.around = around
        self.names = dict(names or {})

    def visible(self, name: str) -> Iterator[tuple[int, bool]]:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                yield scope.key, scope.names[name]
            scope = scope.around


class Analysis:
    """The analysis of a template and all that it includes.

    Attributes:
        variables: Names of its variables, in order of their first use.
        trees: The parsed partials, by path.
        lines: The variables that are used on a line of a unit (`None`: the text itself).
        shown: Those whose text may be put out on a line of a unit.
        puts_out: What each expression that is put out may come from, by its `id`.
    """

    def __init__(self, tree: nodes.Template, declared: Collection[str], load: Callable[[str], nodes.Template]) -> None:
        """Analyse.

        Args:
            tree: The parsed template.
            declared: Names that are variables for certain.
            load: Reads and parses a partial.

        Raises:
            RefusedError: The template does what none may.
        """
        self.variables: dict[str, None] = {}
        self.trees: dict[str, nodes.Template] = {}
        self.lines: dict[tuple[str | None, int], set[str]] = {}
        self.shown: dict[tuple[str | None, int], set[str]] = {}
        self.puts_out: dict[int, _Found] = {}
        self._declared = declared
        self._load = load
        self._bound: dict[tuple[int, str], _Found] = {}
        self._sums: dict[str, _Found] = {}
        self._macros: dict[int, nodes.Macro] = {}
        self._macro_of: dict[tuple[int, str], set[int]] = {}
        self._units: list[str | None] = [None]
        self._outputs: list[set[str]] = [set()]
        self._assigned: set[tuple[int, str]] = set()
        self._visits = 0
        self._first = True
        for _ in range(_MOST_PASSES):
            before = (dict(self._bound), dict(self._sums), dict(self.puts_out))
            self._visits = 0
            self._statements(tree.body, _Scope(id(tree), None))
            self._first = False
            if before == (self._bound, self._sums, self.puts_out):
                return
        self._refuse(tree, "names are handed from one to the next too often to see where they come from")

    # ------------------------------------------------------------------------------------------------ statements
    def _statements(self, body: Iterable[nodes.Node], scope: _Scope) -> None:
        for node in body:
            self._visits += 1
            if self._visits > _MOST_VISITS:
                self._refuse(node, "the template is too long, with all that it includes")
            handler = getattr(self, f"_{type(node).__name__.lower()}", None)
            if handler is None:
                self._refuse(node, _REFUSED.get(type(node), "this is not part of the syntax"))
            handler(node, scope)

    def _output(self, node: nodes.Output, scope: _Scope) -> None:
        for child in node.nodes:
            if not isinstance(child, nodes.TemplateData):
                self._note(child, self._expression(child, scope))

    def _note(self, node: nodes.Node, found: _Found) -> None:
        self.puts_out[id(node)] = self.puts_out.get(id(node), _NONE) | found
        self._outputs[-1] |= found
        on_line = self.shown.setdefault((self._units[-1], node.lineno), set())
        on_line.update(label.partition(".")[0] for label in found)

    def _if(self, node: nodes.If, scope: _Scope) -> None:
        self._expression(node.test, scope)
        self._statements((*node.body, *node.elif_, *node.else_), scope)

    def _for(self, node: nodes.For, scope: _Scope) -> None:
        if node.recursive:
            self._refuse(node, "a loop is not recursive: write a macro that calls itself")
        items = self._expression(node.iter, scope)
        inner = _Scope(id(node), scope, {"loop": True})
        self._bind(node.target, items, inner, hides=True)
        self._sum((inner.key, "loop"), items)
        if node.test is not None:
            self._expression(node.test, inner)
        self._statements(node.body, inner)
        self._statements(node.else_, _Scope(id(node.else_), scope))

    def _assign(self, node: nodes.Assign, scope: _Scope) -> None:
        self._bind(node.target, self._expression(node.node, scope), scope)

    def _assignblock(self, node: nodes.AssignBlock, scope: _Scope) -> None:
        inner = _Scope(id(node), scope)
        with self._catching() as caught:
            self._statements(node.body, inner)
        found = frozenset(caught) | (self._expression(node.filter, inner) if node.filter else _NONE)
        self._bind(node.target, found, scope)

    def _filterblock(self, node: nodes.FilterBlock, scope: _Scope) -> None:
        inner = _Scope(id(node), scope)
        with self._catching() as caught:
            self._statements(node.body, inner)
        self._note(node, frozenset(caught) | self._expression(node.filter, inner))

    def _with(self, node: nodes.With, scope: _Scope) -> None:
        inner = _Scope(id(node), scope)
        for target, value in zip(node.targets, node.values, strict=True):
            self._bind(target, self._expression(value, inner), inner, hides=True)
        self._statements(node.body, inner)

    def _scope(self, node: nodes.Scope, scope: _Scope) -> None:
        self._statements(node.body, _Scope(id(node), scope))

    def _exprstmt(self, node: nodes.ExprStmt, scope: _Scope) -> None:
        self._expression(node.node, scope)

    def _macro(self, node: nodes.Macro, scope: _Scope) -> None:
        self._check_name(node, node.name)
        scope.names.setdefault(node.name, False)
        self._macros[id(node)] = node
        self._macro_of.setdefault((scope.key, node.name), set()).add(id(node))
        inner = self._callable(node, scope)
        inner.names["caller"] = True
        self._sum((inner.key, "caller"), self._sums.get(_CALLERS, _NONE))
        with self._catching() as caught:
            self._statements(node.body, inner)
        self._sum((scope.key, node.name), frozenset(caught))

    def _callblock(self, node: nodes.CallBlock, scope: _Scope) -> None:
        inner = self._callable(node, scope)
        with self._catching() as caught:
            self._statements(node.body, inner)
        self._sums[_CALLERS] = self._sums.get(_CALLERS, _NONE) | caught
        self._outputs[-1] |= self._expression(node.call, scope) | caught

    def _callable(self, node: nodes.Macro | nodes.CallBlock, scope: _Scope) -> _Scope:
        """The scope of a macro's body, with its parameters."""
        inner = _Scope(id(node), scope, dict.fromkeys(_MACRO_NAMES, True))
        given = self._bound.get((id(node), _ANY), _NONE) | self._sums.get(_ARGUMENTS, _NONE)
        for name in _MACRO_NAMES:
            self._sum((inner.key, name), given)
        for parameter in node.args:
            self._bind(parameter, given, inner, hides=True)
        # A default may name the parameters before it.
        for parameter, default in zip(reversed(node.args), reversed(node.defaults), strict=False):
            self._bind(parameter, self._expression(default, inner), inner, hides=True)
        return inner

    def _include(self, node: nodes.Include, scope: _Scope) -> None:
        tree = self._partial(node)
        with self._inside(node, str(node.template.value)):  # type: ignore[attr-defined]
            self._statements(tree.body, _Scope(id(tree), scope if node.with_context else None))

    def _import(self, node: nodes.Import, scope: _Scope) -> None:
        self._check_name(node, node.target)
        module = self._module(node, scope)
        scope.names.setdefault(node.target, False)
        found = _NONE.union(*(self._bound.get((module.key, name), _NONE) for name in module.names))
        self._sum((scope.key, node.target), found)

    def _fromimport(self, node: nodes.FromImport, scope: _Scope) -> None:
        module = self._module(node, scope)
        for one in node.names:
            name, alias = one if isinstance(one, tuple) else (one, one)
            self._check_name(node, alias)
            if name not in module.names:
                there_are = f"; there are {', '.join(sorted(module.names))}" if module.names else ""
                self._refuse(node, f"{node.template.value!r} has no {name!r}{there_are}")  # type: ignore[attr-defined]
            scope.names.setdefault(alias, False)
            self._sum((scope.key, alias), self._bound.get((module.key, name), _NONE))
            macros = self._macro_of.get((module.key, name), set())
            self._macro_of.setdefault((scope.key, alias), set()).update(macros)

    def _module(self, node: nodes.Import | nodes.FromImport, scope: _Scope) -> _Scope:
        tree = self._partial(node)
        module = _Scope(id(tree), scope if node.with_context else None)
        with self._inside(node, str(node.template.value)), self._catching():  # type: ignore[attr-defined]
            self._statements(tree.body, module)
        return module

    def _partial(self, node: nodes.Include | nodes.Import | nodes.FromImport) -> nodes.Template:
        path = node.template
        if not isinstance(path, nodes.Const) or not isinstance(path.value, str):
            self._refuse(node, 'what is included is named in the template: `{% include "shared/tone.md" %}`')
        if getattr(node, "ignore_missing", False):
            self._refuse(node, "a partial that is missing is an error: leave `ignore missing` out")
        name = path.value
        if name in self._units:
            around = " -> ".join([*map(str, self._units[self._units.index(name) :]), name])
            self._refuse(node, f"the partial includes itself: {around}")
        if name not in self.trees:
            try:
                self.trees[name] = self._load(name)
            except BadPartialError as exc:
                self._refuse(node, str(exc))
        return self.trees[name]

    @contextmanager
    def _inside(self, node: nodes.Node, path: str) -> Iterator[None]:
        if len(self._units) > 20:
            self._refuse(node, "partials include each other more than 20 deep")
        self._units.append(path)
        yield
        self._units.pop()

    @contextmanager
    def _catching(self) -> Iterator[set[str]]:
        """What is put out meanwhile, by whoever."""
        self._outputs.append(set())
        yield self._outputs[-1]
        self._outputs.pop()

    # --------------------------------------------------------------------------------------------------- binding
    def _bind(self, target: nodes.Node, found: _Found, scope: _Scope, *, hides: bool = False) -> None:
        if isinstance(target, nodes.NSRef):
            self._sums[_NAMESPACES] = self._sums.get(_NAMESPACES, _NONE) | found
        elif isinstance(target, nodes.Name):
            self._check_name(target, target.name)
            scope.names[target.name] = scope.names.get(target.name, False) or hides
            self._assigned.add((scope.key, target.name))
            self._sum((scope.key, target.name), found)
        else:
            for one in target.iter_child_nodes():
                self._bind(one, found, scope, hides=hides)

    def _sum(self, key: tuple[int, str], found: _Found) -> None:
        self._bound[key] = self._bound.get(key, _NONE) | found

    def _check_name(self, node: nodes.Node, name: str) -> None:
        if name.startswith("_"):
            self._refuse(node, f"no name may begin with an underscore, as {name!r} does")
        if name in _RESERVED:
            self._refuse(node, f"{name!r} is a word of Jinja: take another name")

    # ----------------------------------------------------------------------------------------------- expressions
    def _expression(self, node: nodes.Node, scope: _Scope) -> _Found:
        self._visits += 1
        if self._visits > _MOST_VISITS:
            self._refuse(node, "the template is too long, with all that it includes")
        if isinstance(node, nodes.Name):
            return self._name(node, scope)
        if isinstance(node, nodes.Getattr):
            return self._attribute(node, scope)
        if isinstance(node, nodes.Call):
            return self._call(node, scope)
        if isinstance(node, nodes.Filter | nodes.Test):
            self._check_known(node)
        if isinstance(node, nodes.CondExpr):
            self._expression(node.test, scope)
            other = _NONE if node.expr2 is None else self._expression(node.expr2, scope)
            return self._expression(node.expr1, scope) | other
        return _NONE.union(*(self._expression(child, scope) for child in node.iter_child_nodes()))

    def _check_known(self, node: nodes.Filter | nodes.Test) -> None:
        kind, known = ("filter", FILTERS) if isinstance(node, nodes.Filter) else ("test", TESTS)
        if node.name not in known:
            instead = _INSTEAD.get(node.name, did_you_mean(node.name, known))
            self._refuse(node, f"there is no {kind} {node.name!r}.{instead}")

    def _name(self, node: nodes.Name, scope: _Scope) -> _Found:
        name = node.name
        self._check_name(node, name)
        found = _NONE
        seen = False
        for key, hides in scope.visible(name):
            seen = True
            found |= self._bound.get((key, name), _NONE)
            if hides:
                return found
        if name in GLOBALS and name not in self._declared and not seen:
            return self._sums.get(_NAMESPACES, _NONE) if name == "namespace" else _NONE
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

    def _alone(self, scope: _Scope) -> bool:
        """Whether the scope is that of a partial that does not see the variables."""
        while scope.around is not None:
            scope = scope.around
        return any(scope.key == id(tree) for tree in self.trees.values())

    def _line(self, node: nodes.Node) -> set[str]:
        return self.lines.setdefault((self._units[-1], node.lineno), set())

    def _attribute(self, node: nodes.Getattr, scope: _Scope) -> _Found:
        if node.attr.startswith("_"):
            self._refuse(node, f"no name may begin with an underscore, as {node.attr!r} does")
        of_loop = isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in LOOP_COUNTERS
        if of_loop and any(hides for _, hides in scope.visible("loop")):
            return _NONE
        found = self._expression(node.node, scope)
        path = _path(node.node)
        # A path in a variable that nothing else is mixed with is named in full.
        return frozenset((f"{path}.{node.attr}",)) if path is not None and found == {path} else found

    def _call(self, node: nodes.Call, scope: _Scope) -> _Found:
        # What a method gives comes from what it is a method of.
        callee = self._expression(node.node.node if isinstance(node.node, nodes.Getattr) else node.node, scope)
        given = _NONE.union(
            *(self._expression(one, scope) for one in (*node.args, *node.kwargs)),
            *(self._expression(one, scope) for one in (node.dyn_args, node.dyn_kwargs) if one is not None),
        )
        called = self._called(node.node, scope)
        if called is None:
            self._sums[_ARGUMENTS] = self._sums.get(_ARGUMENTS, _NONE) | given
        for macro in called or ():
            self._hand_on(node, self._macros[macro], scope, given)
        return callee | given

    def _hand_on(self, call: nodes.Call, macro: nodes.Macro, scope: _Scope, given: _Found) -> None:
        """Note the arguments of a call for the parameters of the macro."""
        parameters = [parameter.name for parameter in macro.args]
        named = {one.key: one.value for one in call.kwargs} | dict(zip(parameters, call.args, strict=False))
        if call.dyn_args or call.dyn_kwargs or len(call.args) > len(parameters) or not named.keys() <= {*parameters}:
            self._sum((id(macro), _ANY), given)
            return
        for name, value in named.items():
            self._sum((id(macro), name), self._expression(value, scope))

    def _called(self, callee: nodes.Node, scope: _Scope) -> set[int] | None:
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

    def _refuse(self, node: nodes.Node, problem: str) -> NoReturn:
        raise RefusedError(problem, self._units[-1], node.lineno)


def _path(node: nodes.Node) -> str | None:
    """`"a.b"` for `a.b`, `None` for what is not such a path."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        before = _path(node.node)
        return None if before is None else f"{before}.{node.attr}"
    return None
