"""A pipeline from its import path, `app.pipelines:support`."""

from __future__ import annotations

import importlib
import re
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.pipelines._pipeline import Pipeline

__all__ = ["built", "named"]

_PATH = re.compile(r"(?:(?P<name>[\w./-]+)=)?(?P<path>(?P<module>\w+(?:\.\w+)*):(?P<attribute>\w+(?:\.\w+)*))")


def named(source: str) -> tuple[str, str]:
    """Name and import path in `"app.pipelines:support"` or `"name=app.pipelines:make"`.

    Raises:
        ConfigurationError: It is neither.

    Example:
        >>> named("app.pipelines:support"), named("help=app.pipelines:make")
        (('support', 'app.pipelines:support'), ('help', 'app.pipelines:make'))
    """
    found = _PATH.fullmatch(source)
    if found is None:
        raise ConfigurationError(
            f"{source!r} is no import path: write `package.module:pipeline`, or `name=package.module:pipeline`, where "
            "`pipeline` is a Pipeline or a function that returns one"
        )
    return found["name"] or found["attribute"].rpartition(".")[2], found["path"]


def built(path: str, name: str) -> Pipeline:
    """Import what `path` names; if that is a function, call it.

    Raises:
        ConfigurationError: There is no such module or attribute, or it is no pipeline.
        Exception: Whatever the import or the function raises, with a note that says what was being built.
    """
    module, _, attribute = path.partition(":")
    try:
        value: Any = _imported(module, path)
        for step in attribute.split("."):
            if not hasattr(value, step):
                raise ConfigurationError(f"{path!r}: there is no {step!r} in {module}")
            value = getattr(value, step)
        if not isinstance(value, Pipeline) and callable(value):
            value = value()
    except Exception as exc:
        exc.add_note(f"while the pipeline {name!r} of the lock was built from {path}")
        raise
    if not isinstance(value, Pipeline):
        raise ConfigurationError(
            f"{path!r} gives {value!r}, which is no Pipeline: name a Pipeline, or a function without arguments that "
            "returns one"
        )
    return value


def _imported(module: str, path: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (module == exc.name or module.startswith(f"{exc.name}.")):
            raise  # something that the module imports
        raise ConfigurationError(
            f"{path!r}: there is no module {exc.name!r} on Python's path; install the application, or run the command "
            "in the folder that holds it"
        ) from exc
