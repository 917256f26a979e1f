import subprocess
import sys

import pytest

from llmops_sdk import testing


def test_importing_the_room_loads_no_third_party_library():
    script = """
import sys, llmops_sdk.testing as testing
for name in testing.__all__:
    getattr(testing, name)
heavy = {"pytest", "_pytest", "hypothesis", "orjson", "httpx2", "pydantic", "httptools"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_room_alone_loads_none_of_its_modules():
    script = "import sys, llmops_sdk.testing; print([m for m in sys.modules if m.startswith('llmops_sdk.testing.')])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_the_public_names_are_listed():
    assert set(testing.__all__) <= set(dir(testing))


def test_an_unknown_name_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        testing.nothing  # noqa: B018
