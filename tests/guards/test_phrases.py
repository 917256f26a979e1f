"""The matcher of phrases: what counts as the same words, and exactness at every cut."""

import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._phrases.matcher import Phrases


def found(phrases, text, *, inflected=True):
    return [(one.start, one.end) for one in Phrases([(p, p) for p in phrases], inflected=inflected).find(text)]


@pytest.mark.parametrize(
    "text",
    [
        "side effect",
        "Side-Effects",
        "SIDE EFFECTS",
        "side\n    effects",
        "s\u0456de effect",
        "si\u200bde effect",
        "side_effect",
        "s\u00edde effect",
        "\uff53\uff49\uff44\uff45 effect",
        "s1de effect",
    ],
)
def test_the_same_words_are_found_however_they_are_written(text):
    assert found(["side effect"], f"a {text}, so") == [(2, 2 + len(text))]


@pytest.mark.parametrize("text", ["side. Effect", "side, effect", "sideeffect", "aside effect", "side affect", "side"])
def test_other_words_are_not(text):
    assert found(["side effect"], text) == []


def test_scripts_without_spaces_are_read_by_character():
    assert found(["副作用"], "有什么副作用吗") == [(3, 6)]
    assert found(["의약품"], "의약품을") == [(0, 3)]
    assert found(["ยา"], "กินยาแล้ว") == [(3, 5)]


def test_the_first_phrase_counts_and_the_longest_that_begins_there():
    assert found(["new york", "york times", "new york city"], "new york times, new york city") == [(0, 8), (16, 29)]


def test_signs_behind_a_word_tell_names_apart():
    assert found(["c++"], "C and C# but C++ here", inflected=False) == [(13, 16)]
    assert found(["java"], "Java+ it is", inflected=False) == [(0, 5)]


def test_words_are_inflected_only_when_asked():
    assert found(["dose"], "doses and dosing", inflected=True) == [(0, 5), (10, 16)]
    assert found(["dose"], "doses and dosing", inflected=False) == []


@pytest.mark.parametrize("phrase", ["", "...", "a " * 13, 3])
def test_what_is_no_phrase_is_refused(phrase):
    with pytest.raises(ConfigurationError):
        Phrases([(phrase, 1)], inflected=True)


def test_thousands_of_phrases_are_found_in_one_pass():
    many = Phrases([(f"word{n} of{n}", n) for n in range(5_000)], inflected=False)
    assert [one.value for one in many.find("word17 of17 word18 of17 word4999-of4999")] == [17, 4999]


def test_it_survives_pickle():
    again = pickle.loads(pickle.dumps(Phrases([("side effect", "x")], inflected=True)))
    assert again.find("Side-Effects")[0].value == "x"


PIECES = [
    "side",
    "effect",
    "new",
    "york",
    "city",
    "times",
    " ",
    "-",
    ". ",
    "  \n",
    "\u0301",
    "\u200b",
    "用",
    "副",
    "+",
    "é",
    "x" * 60,
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=14), st.lists(st.integers(0, 80), max_size=6))
def test_scanning_in_pieces_finds_what_the_whole_holds(pieces, edges):
    text = "".join(pieces)
    matcher = Phrases(
        [(p, p) for p in ("side effect", "new york", "new york city", "york times", "副用", "副 用 用")], inflected=True
    )
    buffer, offset, seen = "", 0, []
    bounds = [0, *sorted(min(edge, len(text)) for edge in edges), len(text)]
    for start, end in itertools.pairwise(bounds):
        buffer += text[start:end]
        scan = matcher.scan(buffer, final=False)
        assert len(buffer) - scan.decided <= matcher.window
        seen += [(one.start + offset, one.end + offset) for one in scan.found]
        buffer, offset = buffer[scan.decided :], offset + scan.decided
    seen += [(one.start + offset, one.end + offset) for one in matcher.scan(buffer, final=True).found]
    assert seen == [(one.start, one.end) for one in matcher.scan(text, final=True).found]
    assert seen == [(one.start, one.end) for one in matcher.find(text)]
