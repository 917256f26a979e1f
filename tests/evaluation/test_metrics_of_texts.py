"""Metrics that compare texts: which texts, in which form, with which result."""

import asyncio
import inspect
import pickle
import string
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmops_sdk import Scripted
from llmops_sdk.errors import ConfigurationError, DatasetError, EvaluationError
from llmops_sdk.evaluation import Case
from llmops_sdk.evaluation.metrics import (
    BLEU,
    ROUGE,
    SQUAD,
    ChrF,
    Contains,
    ContainsAll,
    EditDistance,
    EditSimilarity,
    Exact,
    Numeric,
    Regex,
    Score,
    StartsWith,
    TextForm,
    TokenF1,
    scores_of,
    summary_of,
)

WORDS = st.text(st.sampled_from("abc .,-"), max_size=40)
ALL = [
    Exact(), EditDistance(), EditSimilarity(), Contains(), ContainsAll(), StartsWith(), Regex(),
    Numeric(), BLEU(), ChrF(), ROUGE("rouge1"), ROUGE("rouge2"), ROUGE("rougeL"), ROUGE("rougeLsum"), TokenF1(),
]  # fmt: skip


def score(metric, answer, expected=None, **case):
    async def ask():
        result = await ("?" | Scripted(answer)).arun()
        said = metric(Case(input="?", expected=expected, **case), result)
        return await said if inspect.isawaitable(said) else said

    said = asyncio.run(ask())
    return scores_of(metric, said)[metric.name]


def value(metric, answer, expected=None, **case):
    return score(metric, answer, expected, **case).value


@pytest.mark.parametrize("metric", ALL, ids=lambda one: one.name)
def test_a_case_that_expects_nothing_is_not_scored(metric):
    assert value(metric, "4") is None
    assert value(metric, "4", []) is None


@pytest.mark.parametrize("metric", ALL, ids=lambda one: one.name)
def test_the_best_of_several_acceptable_answers_counts(metric):
    if metric.name == "contains_all":
        assert value(metric, "4 5", ["4", "5"]) == 1.0
        assert value(metric, "4 5", ["4", "6"]) == 0.0
        return
    best = value(metric, "4", "4")
    assert value(metric, "4", ["7", "4"]) == best
    assert value(metric, "4", ["4", "7"]) == best


@pytest.mark.parametrize("metric", ALL, ids=lambda one: one.name)
def test_a_mapping_is_no_text_to_compare_with_and_the_error_says_what_to_write(metric):
    with pytest.raises(DatasetError, match=r"against='expected\.answer'"):
        value(metric, "4", {"answer": "4"})


@pytest.mark.parametrize("metric", ALL, ids=lambda one: one.name)
def test_a_copy_from_another_process_has_the_same_version_and_says_the_same(metric):
    copy = pickle.loads(pickle.dumps(metric))
    assert copy.version == metric.version
    assert score(copy, "a 4 b", "4") == score(metric, "a 4 b", "4")


@pytest.mark.parametrize("metric", ALL, ids=lambda one: one.name)
def test_a_text_beyond_the_limit_is_an_error_and_not_an_hour_of_work(metric):
    with pytest.raises(EvaluationError, match="compares texts of at most"):
        value(metric, "1 " * 600_000, "1")


def test_fields_of_answer_and_case_can_be_compared_in_place_of_the_whole():
    case = {"metadata": {"places": [{"capital": "Paris"}]}}
    metric = Exact(of="city.name", against="metadata.places.0.capital")
    assert value(metric, 'So: {"city": {"name": "Paris"}}', **case) == 1.0
    assert value(metric, '{"city": {"name": "Rome"}}', **case) == 0.0
    assert value(metric, '{"city": "Paris"}', **case) == 0.0
    assert value(metric, "Paris", **case) == 0.0
    assert value(metric, '{"city": {"name": "Paris"}}') is None
    assert value(Exact(of="n"), '{"n": 2.0}', 2.0) == 1.0
    assert value(Exact(of="n"), '{"n": true}', True) == 1.0


def test_a_path_into_a_text_is_an_error():
    with pytest.raises(DatasetError, match="has no fields"):
        value(Exact(against="expected.capital"), "Paris", "Paris")


def test_what_counts_in_an_exact_match_can_be_said():
    assert value(Exact(), " Paris\n", "Paris") == 1.0
    assert value(Exact(space="exact"), " Paris", "Paris") == 0.0
    assert value(Exact(), "New  York", "New York") == 0.0
    assert value(Exact(space="collapse"), "New  York", "New York") == 1.0
    assert value(Exact(), "paris", "Paris") == 0.0
    assert value(Exact(case=False), "paris", "Paris") == 1.0
    assert value(Exact(punctuation=False), "Paris.", "Paris") == 1.0
    assert value(Exact(articles=False, space="collapse"), "the Louvre", "Louvre") == 1.0
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert value(Exact(), composed, decomposed) == 1.0
    assert value(Exact(unicode=None), composed, decomposed) == 0.0
    assert value(Exact(), "\ufb01n", "fin") == 0.0
    assert value(Exact(unicode="NFKC"), "\ufb01n", "fin") == 1.0


@pytest.mark.parametrize(
    ("given", "normal"),
    [("The Eiffel Tower!", "eiffel tower"), ("a b-c an d", "bc d"), ("theatre  A", "theatre"), ("", "")],
)
def test_the_form_of_squad_is_that_of_its_script(given, normal):
    assert SQUAD.of(given) == normal


@given(st.text(st.sampled_from(string.ascii_letters + string.punctuation + "  \u00e9\u0301"), max_size=60))
def test_a_text_in_a_form_is_in_that_form_already(text):
    for form in (TextForm(), TextForm(space="collapse", case=False, unicode="NFKC", punctuation=False)):
        once = form.of(text)
        assert form.of(once) == once


def test_contains_looks_for_what_is_given_before_what_is_expected():
    assert value(Contains("x"), "x y", "z") == 1.0
    assert value(Contains(), "It is Paris.", "Paris") == 1.0
    assert value(Contains(case=False), "IT IS PARIS", "Paris") == 1.0
    assert value(Contains("a", "b"), "only b") == 1.0
    assert value(ContainsAll("a", "b"), "only b") == 0.0
    assert score(ContainsAll("a", "b", "c"), "only b").explanation == "without 'a', 'c'"
    assert value(StartsWith("Dear "), "Dear Ada") == 1.0
    assert value(StartsWith("Dear "), "My dear Ada") == 0.0


def test_an_expression_matches_anywhere_or_the_whole():
    assert value(Regex(r"\d+"), "It is 42.") == 1.0
    assert value(Regex(r"\d+", whole=True), "It is 42.") == 0.0
    assert value(Regex(), "It is 42.", r"4[0-9]") == 1.0
    assert value(Regex(), "It is 52.", [r"4[0-9]", r"5[0-9]"]) == 1.0


@pytest.mark.parametrize(
    ("answer", "expected", "options", "right"),
    [
        ("It costs $1,299.50.", 1299.5, {}, 1),
        ("3 apples, so 7", 7, {}, 1),
        ("3 apples, so 7", 3, {}, 0),
        ("3 apples, so 7", 3, {"pick": "first"}, 1),
        ("3 apples, so 7", 3, {"pick": "any"}, 1),
        ("3 apples, so 7", 7, {"pick": "only"}, 0),
        ("7 kg", "7", {"pick": "only"}, 1),
        ("\u22124", -4, {}, 1),
        ("range 10-20", 20, {}, 1),
        ("1e-5", 0.00001, {}, 1),
        ("1.299,50 EUR", 1299.5, {"decimal": ","}, 1),
        ("3.14", 3.14159, {}, 0),
        ("3.14", 3.14159, {"absolute": 0.01}, 1),
        ("3.14", 3.14159, {"relative": 0.001}, 1),
        ("103", 100, {"relative": 0.02}, 0),
        ("9", [3, 9], {}, 1),
        ("none", 1, {}, 0),
        ("model v2", 2, {}, 0),
    ],
)
def test_numbers_are_found_in_text_and_compared_within_a_tolerance(answer, expected, options, right):
    assert value(Numeric(**options), answer, expected) == right


# Sums are exact to 60 digits: beside 1e12 nothing below 1e-20 is told apart for certain.
NUMBERS = st.floats(-1e12, 1e12).filter(lambda one: one == 0 or abs(one) > 1e-20)


@given(NUMBERS, st.floats(0, 1e6), st.floats(-2, 2))
@example(expected=3e-20, absolute=1.0, steps=-1.0)
def test_a_number_is_right_exactly_within_the_absolute_tolerance(expected, absolute, steps):
    said = expected + steps * absolute
    found = Numeric(absolute=absolute).compare(f"So it is {said!r}", repr(expected)).value
    away = abs(Fraction(repr(said)) - Fraction(repr(expected)))
    assert found == float(away <= Fraction(repr(absolute)))


@pytest.mark.parametrize(
    ("answer", "expected", "options", "right"),
    [
        ("1.01", 1, {"absolute": 0.01}, 1),  # in binary it is 0.010000000000000009 away
        ("0.8", 0.7, {"absolute": 0.1}, 1),
        ("1.1", 1, {"relative": 0.1}, 1),
        ("1.0100001", 1, {"absolute": 0.01}, 0),
        ("12345678901234567891", 12345678901234567890, {}, 0),  # one and the same float
        ("9" * 100_000, "9" * 100_000, {}, 1),
        ("9" * 100_000, 9, {"relative": 1}, 0),
        ("1e999", 1, {"absolute": 1}, 0),
    ],
)
def test_numbers_are_compared_as_they_are_written(answer, expected, options, right):
    assert value(Numeric(**options), answer, expected) == right


def test_a_case_that_expects_no_number_is_wrong_data():
    with pytest.raises(DatasetError, match="'seven' is expected where a number has to be"):
        value(Numeric(), "7", "seven")


@given(WORDS, WORDS)
def test_rouge_l_is_that_of_the_package(said, expected):
    metric, whole = ROUGE("rougeL"), ROUGE("rougeLsum")
    found = metric._scorer.score(expected, said)["rougeL"]
    ours = metric.compare(said, expected)
    assert ours.details["precision"] == pytest.approx(found.precision)
    assert ours.details["recall"] == pytest.approx(found.recall)
    assert ours.value == pytest.approx(found.fmeasure)
    assert 0 <= whole.compare(said, expected).value <= 1


def test_rouge_is_as_the_page_of_the_package_has_it():
    fox, dog = "The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log."
    one, longest = score(ROUGE("rouge1"), dog, fox), score(ROUGE(), dog, fox)
    assert (one.details["precision"], one.details["recall"]) == (0.75, pytest.approx(2 / 3))
    assert one.value == pytest.approx(0.70588, abs=1e-5)
    assert (longest.details["precision"], longest.details["recall"]) == (0.625, pytest.approx(5 / 9))
    assert value(ROUGE(measure="recall"), dog, fox) == pytest.approx(5 / 9)
    assert value(ROUGE("rouge1", stem=True), "jumping", "jumps") == 1.0
    assert value(ROUGE("rouge1"), "jumping", "jumps") == 0.0


SAID = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]


def test_bleu_of_the_corpus_is_that_of_the_page_of_sacrebleu_and_not_the_mean():
    scores = [score(BLEU(), said, expected) for said, expected in zip(SAID, REFERENCES, strict=True)]
    assert summary_of("bleu", scores) == pytest.approx(48.530827)
    assert sum(one.value for one in scores) / 3 != pytest.approx(48.53, abs=0.1)


def test_bleu_and_chrf_of_a_sentence_are_those_of_sacrebleu():
    import sacrebleu

    for said, expected in zip(SAID, REFERENCES, strict=True):
        assert value(BLEU(), said, expected) == pytest.approx(sacrebleu.sentence_bleu(said, expected).score)
        assert value(ChrF(), said, expected) == pytest.approx(sacrebleu.sentence_chrf(said, expected).score)
    assert value(BLEU(), SAID[0], SAID[0]) == 100.0
    assert value(ChrF(word_order=2), SAID[0], SAID[0]) == 100.0
    assert value(BLEU(lowercase=True), SAID[0].lower(), SAID[0]) == 100.0


@pytest.mark.parametrize(
    ("said", "expected", "f1"),
    [
        ("Eiffel tower, Paris.", "the Eiffel Tower", 0.8),
        ("Paris", "Paris, France", 2 / 3),
        ("Rome", "Paris", 0.0),
        ("a", "the", 1.0),  # nothing is left of either
        ("", "Paris", 0.0),
        ("no no", "no", 2 / 3),
    ],
)
def test_token_f1_is_that_of_the_script_of_squad(said, expected, f1):
    assert TokenF1().compare(SQUAD.of(said), SQUAD.of(expected)).value == pytest.approx(f1)


def test_precision_and_recall_of_tokens_can_be_asked_for():
    assert value(TokenF1(measure="recall"), "Paris", "Paris, France") == 0.5
    assert value(TokenF1(measure="precision"), "Paris", "Paris, France") == 1.0


def test_edits_are_counted_as_levenshtein_did():
    assert value(EditDistance(), "sitting", "kitten") == 3
    assert value(EditDistance(case=False), "KITTEN", "kitten") == 0
    assert value(EditDistance(), "sitting", ["kitten", "sitting!"]) == 1
    assert value(EditSimilarity(), "sitting", "kitten") == pytest.approx(4 / 7)
    assert not EditDistance().higher_is_better


@given(WORDS, WORDS)
def test_similarities_are_within_their_bounds_and_1_for_the_same_text(said, expected):
    for metric in (EditSimilarity(), TokenF1(), ROUGE("rouge2"), ChrF(), BLEU()):
        low, high = metric.bounds
        found = metric.best(said, [expected])
        found = found.value if isinstance(found, Score) else found
        assert low <= found <= high
    assert EditSimilarity().best(said, [said]) == 1.0


def test_long_texts_are_compared_beside_the_event_loop():
    metric, answer = EditSimilarity(), "word " * 10_000

    async def ask():
        result = await ("?" | Scripted(answer)).arun()
        said = metric(Case(input="?", expected=answer), result)
        assert inspect.isawaitable(said)
        return await said

    assert asyncio.run(ask()) == 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Exact(strip=True), "has no option 'strip'"),
        (lambda: ROUGE("rouge9"), "'rouge1'"),
        (lambda: ROUGE(case=False), "has no option 'case'"),
        (lambda: Exact(space="all"), "`space` is one of"),
        (lambda: Exact(unicode="nfc"), "`unicode` is"),
        (lambda: Exact(case=0), "`case` is True or False"),
        (lambda: Exact(of="a..b"), "`of` is a path"),
        (lambda: Exact(against="output"), "`against` begins with"),
        (lambda: Contains(""), "texts with something in them"),
        (lambda: Regex("("), "no regular expression"),
        (lambda: Regex(b"a"), "matches bytes"),
        (lambda: Numeric(absolute=-1), "`absolute` is a number from 0 on"),
        (lambda: Numeric(pick="best"), "`pick` is one of"),
        (lambda: Numeric(decimal=";"), "`decimal` is"),
        (lambda: BLEU(tokenize="words"), "`tokenize` is one of"),
        (lambda: ChrF(beta=0), "`beta` is a whole number"),
        (lambda: TokenF1(measure="f2"), "`measure` is one of"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_words(make, words):
    with pytest.raises(ConfigurationError, match=words):
        make()


def test_the_version_changes_with_each_option():
    made = [
        Exact(), Exact(case=False), Exact(space="exact"), Exact(unicode=None), Exact(punctuation=False),
        Exact(articles=False), Exact(of="a"), Exact(against="input"), Regex("a"), Regex("b"), Regex("a", whole=True),
        Numeric(), Numeric(absolute=1), Numeric(relative=1), Numeric(pick="first"), Numeric(decimal=","),
        Contains(), Contains("a"), ContainsAll("a"), BLEU(), BLEU(lowercase=True), BLEU(tokenize="char"), ChrF(),
        ChrF(word_order=2), ROUGE(), ROUGE("rouge1"), ROUGE(measure="recall"), ROUGE(stem=True), TokenF1(),
        TokenF1(measure="recall"),
    ]  # fmt: skip
    assert len({one.version for one in made}) == len(made)
    assert Exact(name="other").version == Exact().version
