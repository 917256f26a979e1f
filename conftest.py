"""The examples in the README, the pages and the docstrings are tests: `nox -s docs`."""

import doctest

from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.parsers import myst, rest
from sybil.sybil import SybilCollection

pytest_plugins = ["pytester"]  # for tests/testing, which runs suites of its own; pytest takes it only from here

# The first texts that hypothesis draws on a fresh machine take seconds: it makes its tables of Unicode then.
settings.register_profile("llmops_sdk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("llmops_sdk")

_PAGE_PARSERS = [myst.PythonCodeBlockParser(), myst.SkipParser()]

pytest_collect_file = SybilCollection(
    [
        Sybil(parsers=_PAGE_PARSERS, patterns=["README.md"]),
        Sybil(parsers=_PAGE_PARSERS, path="docs", patterns=["*.md"]),
        Sybil(parsers=[rest.DocTestParser(doctest.ELLIPSIS)], path="src", patterns=["*.py"]),
    ]
).pytest()
