"""What the tests of the house look at: the package's modules, and the files of the repository."""

import importlib
import pkgutil
import subprocess
from pathlib import Path

import pytest

import llmops_sdk
from llmops_sdk.errors import MissingDependencyError

ROOT = Path(__file__).parents[2]


def _module_names():
    found = pkgutil.walk_packages(llmops_sdk.__path__, "llmops_sdk.", onerror=pytest.fail)
    return ["llmops_sdk", *sorted(one.name for one in found)]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def modules():
    """Every module of the package, but for adapters whose library is not installed here."""
    loaded = []
    for name in _module_names():
        try:
            loaded.append(importlib.import_module(name))
        except MissingDependencyError:
            continue
    return loaded


@pytest.fixture(scope="session")
def module_names():
    return _module_names()


@pytest.fixture(scope="session")
def files():
    """Every text file of the repository that is tracked, or would be: path from the root -> text."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                texts[name] = content.decode()
    return texts
