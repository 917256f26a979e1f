"""Which variables each `{{ ... }}` of a template may get its text from, found in the parsed template.

It errs to one side: a variable that may have to do with a text is named, whatever the order in which things happen.
Only conditions count for nothing: `{% if question %}yes` is the application's own text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from jinja2 import nodes

from llmops_sdk.prompts._templates.partials import BadPartialError
from llmops_sdk.prompts._variables import Variable, needs_own_lines
from llmops_sdk.prompts.jinja.expressions import ANY, ARGUMENTS, CALLERS, Expressions
from llmops_sdk.prompts.jinja.fencing import Fencing, MixedError, fencing_of
from llmops_sdk.prompts.jinja.scopes import NOTHING, Found, Scope, labels_in, open_again, settled, unsettled_in

__all__ = ["Analysis"]

_MOST_PASSES: Final = 100
_MACRO_NAMES = ("varargs", "kwargs")
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Extends: "a prompt extends nothing: `include` its parts",
    nodes.Block: "a prompt has no blocks: `include` its parts, or write a macro",
}


class Analysis(Expressions):
    """The analysis of a template and all that it includes.

    Attributes:
        shown: The variables whose text may be put out on a line of a unit (`None`: the text itself).
        puts_out: What each expression that is put out may come from, by its `id`.
        fencings: The fence that it is put out in, by its `id`.
    """

    def __init__(
        self, tree: nodes.Template, declared: Mapping[str, Variable], load: Callable[[str], nodes.Template]
    ) -> None:
        """Analyse.

        Args:
            tree: The parsed template.
            declared: What is known of the variables; each is one for certain.
            load: Reads and parses a partial.

        Raises:
            RefusedError: The template does what none may.
        """
        super().__init__(declared)
        self.shown: dict[tuple[str | None, int], set[str]] = {}
        self.puts_out: dict[int, Found] = {}
        self.fencings: dict[int, Fencing] = {}
        self._load = load
        self._outputs: list[set[str]] = [set()]
        for _ in range(_MOST_PASSES):
            before = (dict(self._bound), dict(self._sums), dict(self.puts_out))
            self._statements(tree.body, Scope(id(tree), None))
            self._first = False
            if before == (self._bound, self._sums, self.puts_out):
                return
        self._refuse(tree, "names are handed from one to the next too often to see where they come from")

    def _statements(self, body: Iterable[nodes.Node], scope: Scope) -> None:
        for node in body:
            self._visit(node)
            handler = getattr(self, f"_{type(node).__name__.lower()}", None)
            if handler is None:
                self._refuse(node, _REFUSED.get(type(node), "this is not part of the syntax"))
            handler(node, scope)

    def _output(self, node: nodes.Output, scope: Scope) -> None:
        for number, child in enumerate(node.nodes):
            if isinstance(child, nodes.TemplateData):
                continue
            self._note(child, self._expression(child, scope))
            found = self.puts_out[id(child)]
            fence = self.fences.get(id(child)) or (self.fencings.get(id(child)) if unsettled_in(found) else None)
            if fence is not None and needs_own_lines(fence.kind):
                self._check_own_line(node.nodes, number, fence.kind, labels_in(found))

    def _note(self, node: nodes.Node, found: Found) -> None:
        found |= self.puts_out.get(id(node), NOTHING)
        self.puts_out[id(node)] = found
        self._outputs[-1] |= settled(found)
        on_line = self.shown.setdefault((self._units[-1], node.lineno), set())
        on_line.update(label.partition(".")[0] for label in labels_in(found))
        if id(node) in self.fences:
            return
        try:
            fencing = fencing_of(found, self._declared)
        except MixedError as exc:
            self._refuse(node, str(exc), variable=exc.variable)
        if fencing is not None:
            self.fencings[id(node)] = fencing

    def _check_own_line(self, parts: Sequence[nodes.Node], number: int, kind: str, labels: Sequence[str]) -> None:
        """Refuse what stands beside a fence of lines; where a statement does, rendering sees to it."""
        before = parts[number - 1] if number else None
        after = parts[number + 1] if number + 1 < len(parts) else None
        begins = before is None or (isinstance(before, nodes.TemplateData) and before.data.endswith("\n"))
        ends = after is None or (isinstance(after, nodes.TemplateData) and after.data.startswith("\n"))
        if not begins or not ends:
            what, variable = "this", None
            if len(labels) == 1:
                what, variable = f"`{{{{ {labels[0]} }}}}`", labels[0].partition(".")[0]
            problem = f"{what} has `fence: {kind}`, so it needs a line of its own"
            self._refuse(parts[number], problem, variable=variable)

    def _if(self, node: nodes.If, scope: Scope) -> None:
        self._expression(node.test, scope)
        self._statements((*node.body, *node.elif_, *node.else_), scope)

    def _for(self, node: nodes.For, scope: Scope) -> None:
        if node.recursive:
            self._refuse(node, "a loop is not recursive: write a macro that calls itself")
        items = open_again(self._expression(node.iter, scope))
        inner = Scope(id(node), scope, {"loop": True})
        self._bind(node.target, items, inner, hides=True)
        self._sum((inner.key, "loop"), items)
        if node.test is not None:
            self._expression(node.test, inner)
        self._statements(node.body, inner)
        self._statements(node.else_, Scope(id(node.else_), scope))

    def _assign(self, node: nodes.Assign, scope: Scope) -> None:
        self._bind(node.target, self._expression(node.node, scope), scope)

    def _assignblock(self, node: nodes.AssignBlock, scope: Scope) -> None:
        inner = Scope(id(node), scope)
        with self._catching() as caught:
            self._statements(node.body, inner)
        found = frozenset(caught)
        if node.filter is not None:
            found = open_again(found | self._expression(node.filter, inner))
        self._bind(node.target, found, scope)

    def _filterblock(self, node: nodes.FilterBlock, scope: Scope) -> None:
        inner = Scope(id(node), scope)
        with self._catching() as caught:
            self._statements(node.body, inner)
        self._note(node, open_again(frozenset(caught) | self._expression(node.filter, inner)))

    def _with(self, node: nodes.With, scope: Scope) -> None:
        inner = Scope(id(node), scope)
        for target, value in zip(node.targets, node.values, strict=True):
            self._bind(target, self._expression(value, inner), inner, hides=True)
        self._statements(node.body, inner)

    def _scope(self, node: nodes.Scope, scope: Scope) -> None:
        self._statements(node.body, Scope(id(node), scope))

    def _exprstmt(self, node: nodes.ExprStmt, scope: Scope) -> None:
        self._expression(node.node, scope)

    def _macro(self, node: nodes.Macro, scope: Scope) -> None:
        self._check_name(node, node.name)
        scope.names.setdefault(node.name, False)
        self._macros[id(node)] = node
        self._macro_of.setdefault((scope.key, node.name), set()).add(id(node))
        inner = self._callable(node, scope)
        inner.names["caller"] = True
        self._sum((inner.key, "caller"), self._sums.get(CALLERS, NOTHING))
        with self._catching() as caught:
            self._statements(node.body, inner)
        self._sum((scope.key, node.name), frozenset(caught))

    def _callblock(self, node: nodes.CallBlock, scope: Scope) -> None:
        inner = self._callable(node, scope)
        with self._catching() as caught:
            self._statements(node.body, inner)
        self._sums[CALLERS] = self._sums.get(CALLERS, NOTHING) | caught
        self._outputs[-1] |= settled(self._expression(node.call, scope) | caught)

    def _callable(self, node: nodes.Macro | nodes.CallBlock, scope: Scope) -> Scope:
        """The scope of a macro's body, with its parameters."""
        inner = Scope(id(node), scope, dict.fromkeys(_MACRO_NAMES, True))
        given = self._bound.get((id(node), ANY), NOTHING) | self._sums.get(ARGUMENTS, NOTHING)
        for name in _MACRO_NAMES:
            self._sum((inner.key, name), given)
        for parameter in node.args:
            self._bind(parameter, given, inner, hides=True)
        # A default may name the parameters before it.
        for parameter, default in zip(reversed(node.args), reversed(node.defaults), strict=False):
            self._bind(parameter, self._expression(default, inner), inner, hides=True)
        return inner

    def _include(self, node: nodes.Include, scope: Scope) -> None:
        tree = self._partial(node)
        with self._inside(node, str(node.template.value)):  # type: ignore[attr-defined]
            self._statements(tree.body, Scope(id(tree), scope if node.with_context else None))

    def _import(self, node: nodes.Import, scope: Scope) -> None:
        self._check_name(node, node.target)
        module = self._module(node, scope)
        scope.names.setdefault(node.target, False)
        found = NOTHING.union(*(self._bound.get((module.key, name), NOTHING) for name in module.names))
        self._sum((scope.key, node.target), found)

    def _fromimport(self, node: nodes.FromImport, scope: Scope) -> None:
        module = self._module(node, scope)
        for one in node.names:
            name, alias = one if isinstance(one, tuple) else (one, one)
            self._check_name(node, alias)
            if name not in module.names:
                there_are = f"; there are {', '.join(sorted(module.names))}" if module.names else ""
                self._refuse(node, f"{node.template.value!r} has no {name!r}{there_are}")  # type: ignore[attr-defined]
            scope.names.setdefault(alias, False)
            self._sum((scope.key, alias), self._bound.get((module.key, name), NOTHING))
            macros = self._macro_of.get((module.key, name), set())
            self._macro_of.setdefault((scope.key, alias), set()).update(macros)

    def _module(self, node: nodes.Import | nodes.FromImport, scope: Scope) -> Scope:
        tree = self._partial(node)
        module = Scope(id(tree), scope if node.with_context else None)
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
