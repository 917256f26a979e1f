"""What a run is given: hooks, money, variables or a question; what makes no sense is refused with words."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from llmops_sdk.calls import Call, Event
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import dollars
from llmops_sdk.messages import Message, Request
from llmops_sdk.protocols import Hook, takes_two

__all__ = ["asked", "budget_of", "hooks_of", "merged", "variables_of"]


def hooks_of(hooks: object) -> tuple[Hook, ...]:
    """The hooks, each as a function of an event and its call."""
    if not isinstance(hooks, Iterable):
        raise ConfigurationError(f"`hooks` is a list of hooks, `[{hooks!r}]`, not one alone")
    return tuple(_hook_of(hook) for hook in hooks)


def budget_of(budget_usd: Decimal | float | str | None) -> Decimal | None:
    """What a run may spend, `None` for no limit."""
    if budget_usd is None:
        return None
    amount = dollars(budget_usd)
    if amount is None:
        raise ConfigurationError(f"`budget_usd` is a number of US dollars over 0, such as '0.05', not {budget_usd!r}")
    return amount


class _OneArgument:
    """A hook that does not want to know the call."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def __call__(self, event: Event, call: Call) -> object:
        return self._hook(event)


def _hook_of(hook: Any) -> Hook:
    if not callable(hook):
        raise ConfigurationError(f"{hook!r} is no hook: a hook is a function of an event and its call")
    if isinstance(hook, type):
        raise ConfigurationError(f"{hook!r} is a class, and no hook: write `{hook.__name__}()`, with its arguments")
    for one in (hook, getattr(hook, "func", None), getattr(hook, "__call__", None)):  # noqa: B004  (its method)
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise ConfigurationError(
                f"the hook {hook!r} is async, and nobody would await it: make it a plain function that hands its work "
                "on, with `asyncio.get_running_loop().create_task(...)` or a queue"
            )
    return hook if takes_two(hook) else _OneArgument(hook)


def merged(variables: Any, more: dict[str, Any]) -> Any:
    """What was given as one thing and what was given by keywords, as one."""
    if not more:
        return variables
    if variables is None:
        return more
    if isinstance(variables, Mapping):
        return {**variables, **more}
    raise ConfigurationError(
        "give the variables as one mapping, or as keyword arguments; a text or messages stand alone"
    )


def variables_of(given: Any, prompt: Any) -> Mapping[str, Any]:
    """What the prompt is rendered with."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    raise ConfigurationError(
        f"the prompt {getattr(prompt, 'name', 'prompt')!r} takes variables, not a {type(given).__name__}: "
        "write `run(name=value)` or `run({'name': value})`"
    )


def asked(given: Any) -> Request:
    """The question to a pipeline without a prompt."""
    if given is None:
        raise ConfigurationError("this pipeline has no prompt: give it a text, messages or a Request: `run('Hello')`")
    if isinstance(given, Mapping):
        raise ConfigurationError(
            "this pipeline has no prompt, so variables have nowhere to go: give it a text, or put a prompt first"
        )
    if isinstance(given, Sequence) and not isinstance(given, str) and not all(isinstance(m, Message) for m in given):
        raise ConfigurationError("messages are `Message` objects: `run([Message.user('Hello')])`")
    request = Request.of(given)
    if not request.messages:
        raise ConfigurationError("a request needs one message at least")
    return request
