"""Guards by name: every guard of the library that can be made without arguments, and classifiers by folder."""

from __future__ import annotations

import importlib
import inspect

from llmops_sdk import guards
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Guard

__all__ = ["DEFAULT", "describe", "make_guards"]

DEFAULT = "secrets,pii,prompt-injection"
_BASES = frozenset({"Guard", "PatternGuard", "SegmentGuard"})
_CLASSIFIER = "classifier:"
_PACKAGED = "stackone-defender"


def _classes() -> dict[str, type[Guard]]:
    found: dict[str, type[Guard]] = {}
    for name in guards.__all__:
        value = getattr(guards, name)
        if name not in _BASES and inspect.isclass(value) and issubclass(value, Guard):
            needed = [
                one
                for one in inspect.signature(value).parameters.values()
                if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
            ]
            if not needed:
                found[value.name.replace("_", "-")] = value
    return found


def make_guards(names: str) -> list[Guard]:
    """The guards of a list with commas.

    Raises:
        ConfigurationError: A name is unknown.
        MissingDependencyError: One needs a package that is not installed.
    """
    classes = _classes()
    made: list[Guard] = []
    for name in filter(None, (one.strip() for one in names.split(","))):
        if name == _PACKAGED or name.startswith(_CLASSIFIER):
            classifier = importlib.import_module("llmops_sdk.guards.classifier").Classifier
            one: Guard = classifier.packaged(name) if name == _PACKAGED else classifier(name.removeprefix(_CLASSIFIER))
        elif name in classes:
            one = classes[name]()
        else:
            known = ", ".join([*sorted(classes), _PACKAGED, f"{_CLASSIFIER}FOLDER"])
            raise ConfigurationError(f"no guard is called {name!r}; there are {known}")
        one.prepare()
        made.append(one)
    if not made:
        raise ConfigurationError("name at least one guard")
    return made


def describe() -> int:
    """Print the names, each with a line about it."""
    listed = {name: (cls.__doc__ or "").strip().partition("\n")[0] for name, cls in _classes().items()}
    listed[_PACKAGED] = "Recognises prompt injections with a small model (extra injection-model)."
    listed[f"{_CLASSIFIER}FOLDER"] = "Runs the text classifier in FOLDER (extra classifier)."
    chosen = set(DEFAULT.split(","))
    for name, line in sorted(listed.items()):
        print(f"{name:<22} {'*' if name in chosen else ' '} {line}")
    print("\n* on unless --guards says otherwise")
    return 0
