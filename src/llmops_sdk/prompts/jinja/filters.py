"""The filters and tests of templates: those of Jinja that do no harm, each with its work counted beforehand, and ours.

Left out are those that make HTML (`escape`, `safe`, `tojson` as Jinja has it, `urlize`, ...), that reach into values
(`attr`), that do something else each time (`random`), and `format`, whose widths build gigabytes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from jinja2 import Environment, Undefined, pass_environment
from jinja2.environment import TemplateModule
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.tests import TESTS as JINJA_TESTS
from jinja2.utils import Namespace

from llmops_sdk.messages import Document, ImagePart
from llmops_sdk.prompts._templates.values import UnfitError, text_of
from llmops_sdk.prompts.jinja.fencing import fenced
from llmops_sdk.prompts.jinja.limits import LimitError, metered, running, weight_of
from llmops_sdk.prompts.jinja.pieces import Captured, DocumentText, Labels, Method, Piece, put_out, refuse_images

__all__ = [
    "CONCAT",
    "EACH",
    "FENCE",
    "FENCE_OUT",
    "FILTERS",
    "LOOK",
    "OWN",
    "PUT_OUT",
    "SPEND",
    "TESTS",
    "json_of",
    "xml_of",
]

# Filters that the compiler writes and nobody else can, since no name in a template looks like this.
PUT_OUT, FENCE_OUT, FENCE = "%put out", "%fence out", "%fence"
CONCAT, EACH, LOOK, SPEND = "%concat", "%each", "%look", "%spend"

_MAX_NUMBER: Final = 1_000
"""Largest number that filters take which make something of that size."""


def json_of(value: object, indent: int | None = None) -> str:
    r"""The value as JSON (RFC 8259): a text with its quotes, a mapping, a list; letters stay as they are.

    Raises:
        UnfitError: It cannot be JSON.

    Example:
        >>> json_of('Say "hi"')
        '"Say \\"hi\\""'
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, default=_jsonable)
    except (TypeError, ValueError) as exc:
        raise UnfitError(f"this is no JSON: {exc}") from exc


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is in it")


def xml_of(value: object) -> str:
    """The value as text in XML or HTML: `<`, `>` and `&` are escaped, so that it cannot open or close an element.

    Example:
        >>> xml_of("</doc> & more")
        '&lt;/doc&gt; &amp; more'
    """
    return _text(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(value: object) -> str:
    if isinstance(value, Undefined):
        return str(value)  # says what is not there
    return text_of(value, "the value", variable="")


@pass_environment
def _join(environment: Environment, value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    between, rendering = _text(d), running.get()
    texts: list[str] = []
    chars = 0
    for item in items:
        refuse_images(item)
        texts.append(_text(item.text if isinstance(item, Document) else item))
        chars += len(texts[-1]) + len(between)
        if chars > rendering.max_chars:
            break
    rendering.allow(chars)
    return between.join(texts)


def _check_indent(value: object, width: int | str = 4, *_: object, **__: object) -> None:
    each = len(width) if isinstance(width, str) else _limited(width)
    running.get().allow(len(_text(value)) + each * (_text(value).count("\n") + 1))


def _check_replace(value: object, old: object, new: object, count: int | None = None) -> None:
    text, before = _text(value), _text(old)
    times = text.count(before) if count is None or count < 0 else min(count, text.count(before))
    running.get().allow(len(text) + len(_text(new)) * times)


def _check_wordwrap(
    value: object,
    width: int = 79,
    break_long_words: bool = True,  # noqa: ARG001, FBT002  (as the filter has it)
    wrapstring: str | None = None,
    *_: object,
) -> None:
    if isinstance(width, int) and width < 1:
        raise UnfitError("`wordwrap` takes a width of 1 or more")
    text = _text(value)
    running.get().allow(len(text) * (1 + len(wrapstring or "\n")))


def _check_numbers(_value: object, *rest: object, **named: object) -> None:
    for one in (*rest, *named.values()):
        if isinstance(one, int):
            _limited(one)


def _check_sum(_value: object, attribute: object = None, start: object = 0) -> None:
    del attribute
    if not isinstance(start, int | float):
        raise UnfitError("`sum` adds numbers")


def _limited(number: int) -> int:
    if abs(number) > _MAX_NUMBER:
        raise LimitError(f"{number:,} is more than the {_MAX_NUMBER:,} that this filter takes")
    return number


_CHECKS: dict[str, Callable[..., None]] = {
    "batch": _check_numbers,
    "center": _check_numbers,
    "indent": _check_indent,
    "json": _check_numbers,
    "replace": _check_replace,
    "round": _check_numbers,
    "slice": _check_numbers,
    "sum": _check_sum,
    "tojson": _check_numbers,
    "wordwrap": _check_wordwrap,
}
_SLOW = ("wordwrap", "title", "urlencode", "wordcount", "json", "tojson", "sort", "unique", "groupby", "dictsort")
_SLOWER = 16
_ANY_VALUE = (
    "default",
    "d",
    "first",
    "last",
    "list",
    "length",
    "count",
    "reverse",
    "batch",
    "slice",
    "select",
    "reject",
)
"""Filters that hand on items as they are, images among them."""

_CALL = 10  # steps, for about ten times as long as a part of a template takes
_INNER = (Context, LoopContext, Macro, Method, Namespace, TemplateModule)
"""Jinja's own objects, in which texts of any origin may be."""


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    check = _CHECKS.get(name)
    times = _SLOWER if name in _SLOW else 1

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if type(args[-1]) is str and len(args) == first + 1 and not kwargs and check is None:  # most are
            running.get().spend(_CALL + weight_of(args[-1]) * times)
            return function(*args)
        for one in (*args[first:], *kwargs.values()):
            if isinstance(one, _INNER) or (callable(one) and not isinstance(one, Undefined)):
                kind = type(one).__name__
                raise UnfitError(f"`{name}` takes no {kind}; templates call nothing, so pass what it returns")
        given = [metered(one, _CALL) if isinstance(one, Iterator) else one for one in args[first:]]
        running.get().spend(_CALL + weight_of(*given, *kwargs.values()) * times)
        if name not in _ANY_VALUE:
            refuse_images(*given)
        if check is not None:
            check(*given, **kwargs)
        made = function(*args[:first], *given, **kwargs)
        if type(given[0]) is DocumentText and type(made) is str and not kwargs and _no_texts(given[1:]):
            return DocumentText.of(made, given[0].document)
        return made

    return counted


def _no_texts(values: list[object]) -> bool:
    return all(value is None or type(value) in (int, bool, float) for value in values)


def _counted_test(function: Callable[..., Any]) -> Callable[..., Any]:
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def counted(*args: Any) -> Any:
        running.get().spend(weight_of(*args[first:]))
        return function(*args)

    return counted


def _concat(parts: list[object]) -> str:
    rendering = running.get()
    rendering.spend(weight_of(parts))
    refuse_images(*parts)
    if any(isinstance(part, _INNER) for part in parts):
        raise UnfitError("`~` joins texts")
    texts = [_text(part) for part in parts]
    rendering.allow(sum(map(len, texts)))
    return "".join(texts)


def _each(items: Any, cost: int) -> Any:
    if items is None or isinstance(items, Document | ImagePart):
        raise UnfitError(f"a loop goes through a list, and this is {'None' if items is None else 'a single one'}")
    if isinstance(items, Iterator) or not hasattr(items, "__len__"):
        return metered(items, cost)
    running.get().spend(len(items) * cost)
    return items


def _look(value: object) -> object:
    running.get().spend(weight_of(value))
    return value


def _spend(cost: int) -> None:
    running.get().spend(cost)


def _put_out(value: object, labels: Labels) -> str:
    if type(value) is str:  # most are
        return Piece.of(value, labels) if labels else value
    return put_out(_outer(value), labels)


def _fence_out(value: object, labels: Labels, kind: str, name: str, settled: bool) -> str:
    """Put out in a fence what does not stand in one; `settled`: it should, or be a count."""
    if type(value) is Captured or (settled and type(value) in (int, bool)):
        return _put_out(value, labels)
    return fenced(_outer(value), labels, kind, name)


def _fence(value: object, labels: Labels, kind: str, name: object) -> str:
    refuse_images(value)
    return fenced(_outer(value), labels, kind, name)


def _outer(value: object) -> object:
    if isinstance(value, _INNER):
        raise UnfitError(f"a {type(value).__name__.lower()} is no text")
    return str(value) if isinstance(value, Undefined) else value  # says what is not there


def _fence_by_name(*_: object, **__: object) -> str:
    raise UnfitError("`fence` is written behind what it fences: `{{ x | fence }}`")


_FROM_JINJA = (
    *("abs", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "filesizeformat", "first", "float"),
    *("groupby", "indent", "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum", "title"),
    *("trim", "truncate", "unique", "upper", "urlencode", "wordcount", "wordwrap"),
)
_OURS: dict[str, Callable[..., Any]] = {"join": _join, "json": json_of, "tojson": json_of, "xml": xml_of}

FILTERS: Final[dict[str, Callable[..., Any]]] = {
    **{name: _counted(name, JINJA_FILTERS[name]) for name in _FROM_JINJA},
    **{name: _counted(name, function) for name, function in _OURS.items()},
    "fence": _fence_by_name,  # the compiler writes FENCE for it
    PUT_OUT: _put_out,
    FENCE_OUT: _fence_out,
    FENCE: _fence,
    CONCAT: _concat,
    EACH: _each,
    LOOK: _look,
    SPEND: _spend,
}

OWN: Final = frozenset((PUT_OUT, FENCE_OUT, FENCE, CONCAT, EACH, LOOK, SPEND))
"""Filters that no template may name."""

_NO_TESTS = ("callable", "escaped", "filter", "sameas", "test")
TESTS: Final[dict[str, Callable[..., Any]]] = {
    name: _counted_test(cast("Callable[..., Any]", function))
    for name, function in JINJA_TESTS.items()
    if name not in _NO_TESTS
}
