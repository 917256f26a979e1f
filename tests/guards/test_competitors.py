"""`Competitors`: names, their variants, and what stands in their place."""

import re

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Competitors
from llmops_sdk.testing import GuardContract


class TestContract(GuardContract):
    examples_allowed = ("our own offer", "acmeist", "deep in the mind")
    examples_caught = ("Acme's offer", "Deep Mind, A\u200bcme and \u0410CME")
    tries = 60

    def make_guard(self):
        return Competitors(["Acme", "DeepMind"])


class TestContractWhenItBlocks(TestContract):
    def make_guard(self):
        return Competitors(["Acme", "DeepMind"], action="block")


class TestContractWhenItFlags(TestContract):
    def make_guard(self):
        return Competitors(["Acme", "DeepMind"], action="flag", ignore=["acme of fashion"])


@pytest.mark.parametrize("written", ["OpenAI", "open ai", "Open-AI", "OPENAI", "0penAI", "\u041epenAI", "openAIs"])
def test_variants_are_found(written):
    assert Competitors(["OpenAI"]).check(f"by {written}, too").text == "by [competitor], too"


@pytest.mark.parametrize("genitive", ["Acme's", "Acme\u2019s"])
def test_a_genitive_stays(genitive):
    assert Competitors(["Acme"], replacement="X").check(f"{genitive} plan").text == f"X{genitive[4:]} plan"


def test_variants_stand_for_their_name():
    verdict = Competitors({"Acme": ["Roadrunner Supplies"]}, action="flag").check("roadrunner supplies")
    assert [(f.kind, f.rule) for f in verdict.findings] == [("competitor", "Acme")]


def test_capitals_count_when_asked():
    guard = Competitors(["Apple"], match_case=True)
    assert guard.check("an apple a day, apples").action == "allow"
    assert guard.check("Apple and APPLE and Apples").text == "[competitor] and [competitor] and [competitor]"


def test_what_is_ignored_is_no_finding():
    guard = Competitors(["Apple"], ignore=["apple pie", re.compile("Appl[e]s")])
    assert guard.check("apple pie, Apples, and an apple").text == "apple pie, Apples, and an [competitor]"


@pytest.mark.parametrize("names", ["Acme", [], ["..."], {"Acme": "variant"}])
def test_what_is_no_list_of_names_is_refused(names):
    with pytest.raises(ConfigurationError):
        Competitors(names)


def test_an_unknown_action_is_refused():
    with pytest.raises(ConfigurationError, match="action"):
        Competitors(["Acme"], action="erase")
