import importlib
import inspect
import tomllib

import pytest

import llmops_sdk
from llmops_sdk.errors import MissingDependencyError


def test_every_public_name_of_the_package_is_found_and_listed():
    for name in llmops_sdk.__all__:
        assert getattr(llmops_sdk, name) is not None
        assert name in dir(llmops_sdk)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'llmops_sdk' has no attribute 'Promt'"):
        llmops_sdk.Promt  # noqa: B018


def test_the_version_is_that_of_the_project(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert llmops_sdk.__version__ == project["version"]


def test_every_all_names_each_once_and_those_of_public_modules_are_complete(modules):
    for module in modules:
        name = module.__name__
        private = any(part.startswith("_") for part in name.split("."))
        listed = list(getattr(module, "__all__", ()))
        assert sorted(listed) == sorted(set(listed)), name  # ruff keeps the order
        values = {key: value for key, value in vars(module).items() if not key.startswith(("_", "pytest_"))}
        defined = {key for key, value in values.items() if getattr(value, "__module__", None) == name}
        assert private or defined <= set(listed), f"{name}.__all__ lacks {sorted(defined - set(listed))}"


def test_every_name_in_an_all_exists(modules):
    for module in modules:
        for name in getattr(module, "__all__", ()):
            try:
                assert hasattr(module, name), f"{module.__name__}.{name}"
            except MissingDependencyError:
                continue  # the name of an adapter whose library is not installed here


def test_every_public_class_and_function_has_a_docstring(modules):
    for module in modules:
        assert module.__doc__, module.__name__
        for name in getattr(module, "__all__", ()):
            value = vars(module).get(name)
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith("llmops_sdk"):
                assert value.__doc__, f"{module.__name__}.{name}"


def test_every_module_can_be_imported_or_says_which_extra_it_needs(module_names, root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked_for = set()
    for name in module_names:
        try:
            importlib.import_module(name)
        except MissingDependencyError as error:
            asked_for.add(error.extra)
    assert asked_for <= set(project["optional-dependencies"])
