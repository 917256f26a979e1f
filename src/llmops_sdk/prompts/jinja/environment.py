"""The sandbox: Jinja's own, with fewer things to read and to call, and every operation counted."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, TemplateNotFound, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from llmops_sdk.messages import Document
from llmops_sdk.prompts._templates.values import (
    MISSING,
    UnfitError,
    attribute_of,
    near_attributes,
    refuse_hidden_documents,
)
from llmops_sdk.prompts.jinja.filters import FILTERS, OWN, TESTS
from llmops_sdk.prompts.jinja.limits import MAX_DEPTH, MAX_RANGE, LimitError, running, weight_of
from llmops_sdk.prompts.jinja.pieces import DocumentText, Method, captured

__all__ = ["GLOBALS", "LOOP_COUNTERS", "Sandbox"]

LOOP_COUNTERS: Final = frozenset(
    ("index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0")
)
"""What `loop` says of the place in it and not of the items."""

_LOOP_METHODS = ("cycle", "changed")
_LOOP_ITEMS = ("previtem", "nextitem")
_TEXT_METHODS = frozenset(
    (
        *("capitalize", "endswith", "lower", "lstrip", "removeprefix", "removesuffix", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "title", "upper"),
    )
)
_MAPPING_METHODS = frozenset(("get", "items", "keys", "values"))
_MACRO = 20  # steps, for about twenty times as long as a part of a template takes
_MAX_BITS = 10_000
"""Most bits of a number that a template may work out."""


class _Undefined(StrictUndefined):
    """Something that is not there; what comes close is looked for only when somebody asks."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if isinstance(self._undefined_obj, int | float | str | list | tuple):
            return f"{_short(self._undefined_obj)} has no {self._undefined_name!r}"
        if not isinstance(self._undefined_name, str) or type(self._undefined_obj) is object:
            return f"there is no {self._undefined_name!r}"
        if self._undefined_obj is None:
            return f"{self._undefined_name!r} is read from None"
        if isinstance(self._undefined_obj, LoopContext | Namespace):
            kind = "`loop`" if isinstance(self._undefined_obj, LoopContext) else "the namespace"
            return f"{kind} has no {self._undefined_name!r}"
        return near_attributes(self._undefined_obj, self._undefined_name, "the value")


def _short(value: object) -> str:
    return repr(value[:20]) if isinstance(value, str) else f"a {type(value).__name__}"


class _Pieces(CodeGenerator):
    """Generates code that puts out what an expression gives as it is, and works out nothing beforehand."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        pass

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        pass

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return node.data


class _Compiled(BaseLoader):
    """Gives Jinja the partials that are compiled already."""

    def __init__(self) -> None:
        self.templates: dict[str, Template] = {}

    def load(self, environment: Environment, name: str, globals: Any = None) -> Template:  # noqa: A002  (Jinja's name)
        if name not in self.templates:
            raise TemplateNotFound(name)
        return self.templates[name]


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one template and its partials."""

    code_generator_class = _Pieces
    concat = staticmethod(captured)
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    compiled: _Compiled

    def __init__(self) -> None:
        super().__init__(
            undefined=_Undefined,
            loader=_Compiled(),
            optimized=False,  # nothing is worked out at compile time, where no limit counts
            autoescape=False,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.filters: dict[str, Any] = dict(FILTERS)
        self.tests: dict[str, Any] = dict(TESTS)
        self.globals = dict(GLOBALS)

    def add(self, tree: nodes.Template, name: str) -> Template:
        """Compile a tree; others may include it by its name."""
        template = self.template_class.from_code(self, self.compile(tree, name), self.make_globals(None))
        assert isinstance(self.loader, _Compiled)
        self.loader.templates[name] = template
        return template

    def getattr(self, obj: Any, attribute: str) -> Any:
        """An attribute or key. See the package's page for what may be read."""
        if isinstance(obj, Document) and attribute == "text":
            return DocumentText.of(obj.text, obj)
        if isinstance(obj, str) and attribute in _TEXT_METHODS:
            return Method(getattr(obj, attribute), obj)
        if isinstance(obj, LoopContext):
            if attribute in _LOOP_METHODS:
                return Method(getattr(obj, attribute), None)
            readable = attribute in LOOP_COUNTERS or attribute in _LOOP_ITEMS
            return getattr(obj, attribute) if readable else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, self.undefined | Macro | Context | Method):
            return super().getattr(obj, attribute) if isinstance(obj, self.undefined) else _refused(attribute)
        found = attribute_of(obj, attribute, _named(obj))
        if found is MISSING:
            if isinstance(obj, Mapping) and attribute in _MAPPING_METHODS:
                return Method(getattr(obj, attribute), obj)
            return self.undefined(obj=obj, name=attribute)
        if not isinstance(obj, Mapping) and not self.is_safe_attribute(obj, attribute, found):
            _refused(attribute)
        if not isinstance(obj, Mapping | Namespace):
            refuse_hidden_documents(found, attribute)
        return found

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What `obj[argument]` is."""
        if isinstance(argument, str) and not isinstance(obj, Mapping):
            return self.getattr(obj, str(argument))
        if isinstance(obj, self.undefined):
            return super().getattr(obj, "")
        running.get().spend(weight_of(argument))
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro, or one of the few things else that may be called."""
        rendering = running.get()
        rendering.spend(1)
        kwargs.pop("_loop_vars", None)  # what Jinja hands on to functions that ask for its context; none does
        kwargs.pop("_block_vars", None)
        kind = type(obj)
        if kind is Macro:
            rendering.spend(_MACRO)
            if rendering.depth >= MAX_DEPTH:
                raise LimitError(f"macros call each other more than {MAX_DEPTH} deep")
            rendering.depth += 1
            try:
                return context.call(obj, *args, **kwargs)
            finally:
                rendering.depth -= 1
        if "caller" in kwargs:
            raise UnfitError("`{% call %}` calls macros only")
        rendering.spend(weight_of(*args, *kwargs.values()))
        if kind is Method:
            rendering.spend(weight_of(obj.owner))
            return obj.function(*args, **kwargs)
        if obj in _CALLABLE:
            return obj(*args, **kwargs)
        if isinstance(obj, self.undefined):
            obj()  # says what is not there
        raise UnfitError(
            f"{_named(obj)} is not called: a template calls its macros, range(), dict(), namespace() and "
            "a few methods of texts and mappings; pass what the call returns"
        )

    def call_filter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a filter that a template names in a text, as `map("upper")` does."""
        if name in OWN:
            raise UnfitError(f"there is no filter {name!r}")
        return super().call_filter(name, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`, if that stays small."""
        rendering = running.get()
        rendering.spend(weight_of(left, right))
        texts = isinstance(left, str), isinstance(right, str)
        if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
            _allow_number(operator, left, right)
        elif operator == "+" and all(texts):
            rendering.allow(len(left) + len(right))
        elif operator == "*" and any(texts) and isinstance(left, int | str) and isinstance(right, int | str):
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str) and isinstance(times, int):
                    rendering.allow(len(text) * max(times, 0))
        elif isinstance(left, self.undefined) or isinstance(right, self.undefined):
            pass  # says by itself what is not there
        elif operator != "+" or not (isinstance(left, list | tuple) and isinstance(right, list | tuple)):
            raise UnfitError(
                f"`{operator}` is for numbers, not for {type(left).__name__} and {type(right).__name__}; "
                "`~` joins texts"
            )
        return super().call_binop(context, operator, left, right)


_NUMBERS = (int, float, Decimal)


def _allow_number(operator: str, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        bits = 0
        if operator == "**":
            bits = left.bit_length() * max(right, 0)
        elif operator == "*":
            bits = left.bit_length() + right.bit_length()
        if bits > _MAX_BITS:
            raise LimitError(f"`{operator}` would make a number of {bits:,} bits, more than {_MAX_BITS:,}")


def _named(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def _refused(attribute: str) -> None:
    raise UnfitError(f"a template does not read {attribute!r} of that")


def _range(*numbers: int) -> range:
    made = range(*numbers)
    if len(made) > MAX_RANGE:
        raise LimitError(f"range() would give {len(made):,} numbers, more than {MAX_RANGE:,}")
    return made


GLOBALS: Final[dict[str, Any]] = {"range": _range, "dict": dict, "namespace": Namespace}
"""What templates know beside their variables."""

_CALLABLE = tuple(GLOBALS.values())
