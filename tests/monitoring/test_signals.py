import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.calls import (
    AttemptEnded,
    CacheAnswered,
    Call,
    Ended,
    FirstChunk,
    Rendered,
    Retried,
    Started,
)
from llmops_sdk.errors import EngineTimeout
from llmops_sdk.messages import Choice, Document, Message, Request, Response, Usage
from llmops_sdk.monitoring import SIGNALS
from llmops_sdk.monitoring._observed import observed_of
from llmops_sdk.monitoring._signals.documents import overlap

HOURS = Document(id="1", text="On weekdays the library opens at nine in the morning and closes at six. " * 3)


def observed(answer=None, *events, question="Say hello", outcome="ok", variables=None):
    call = Call()
    t = call.started
    request = Request(messages=(Message.user(question),))
    response = None if answer is None else Response(choices=(Choice(text=answer),))
    call.record(Started(t, "p", False))
    call.record(Rendered(t, t, None, request, variables))
    for make in events:
        call.record(make(t, request))
    call.record(Ended(t + 2.0, outcome, None, response))
    return observed_of(call)


def attempt(number, engine, *, error=None, usage=None, cost=None):
    def make(t, request):
        return AttemptEnded(t, t + 1, engine, "openai", number, request, None, usage, cost, error, False, None, 0)

    return make


def read(name, run):
    signal = SIGNALS[name].read(run)
    return None if signal is None else (signal.value, signal.label)


def test_errors_are_told_by_their_class_and_who_cancels_is_no_error():
    assert read("error", observed(outcome="EngineTimeout")) == (1.0, "EngineTimeout")
    for outcome in ("ok", "blocked", "cancelled"):
        assert read("error", observed(outcome=outcome)) == (0.0, None)


def test_times():
    run = observed("so", lambda t, request: FirstChunk(t + 0.5, "e"))
    assert read("latency_s", run) == (pytest.approx(2.0), None)
    assert read("first_chunk_s", run) == (pytest.approx(0.5), None)
    assert read("latency_s", observed(outcome="EngineTimeout")) is None
    assert read("first_chunk_s", observed("so")) is None


def test_costs_and_tokens_are_those_of_all_attempts_and_unknown_stays_unknown():
    usage = Usage(input_tokens=10, output_tokens=2)
    run = observed(
        "so", attempt(1, "a", usage=usage, cost=Decimal("0.5")), attempt(2, "b", usage=usage, cost=Decimal("0.25"))
    )
    assert read("cost_usd", run) == (0.75, None)
    assert read("input_tokens", run) == (20.0, None)
    assert read("output_tokens", run) == (4.0, None)
    unknown = observed("so", attempt(1, "a", usage=usage))
    assert read("cost_usd", unknown) is None
    assert read("input_tokens", observed("so", attempt(1, "a", error=EngineTimeout("late", engine="a")))) is None


def test_failovers_retries_and_cache_hits():
    late = EngineTimeout("late", engine="a")
    over = observed("so", attempt(1, "a", error=late), lambda t, request: Retried(t, "b", 0.1, late), attempt(2, "b"))
    assert read("failover", over) == (1.0, "b")
    assert read("retries", over) == (1.0, None)
    assert read("failover", observed("so", attempt(1, "a"))) == (0.0, "a")
    assert read("failover", observed("so")) is None
    hit = observed("so", lambda t, request: CacheAnswered(t, "a", "exact", 3.0))
    assert read("cache_hit", hit) == (1.0, "exact")
    assert read("cache_hit", over) == (0.0, None)


def test_signals_of_the_answer_are_not_there_without_one():
    run = observed(outcome="blocked")
    for name in ("length", "refusal", "repetition", "other_language", "documents_unused"):
        assert read(name, run) is None


def test_refusals_loops_and_lengths():
    assert read("refusal", observed("I'm sorry, but I can't help with that."))[0] == 1.0
    assert read("refusal", observed("Hello, Ada!")) == (0.0, None)
    assert read("repetition", observed("All work and no play makes Jack a dull boy. " * 30))[0] == 1.0
    assert read("repetition", observed("Hello, Ada!")) == (0.0, None)
    assert read("length", observed("Hello")) == (5.0, None)


def test_an_answer_in_another_language_than_the_question():
    english = "Could you please tell me when the library opens on weekdays, and when it closes?"
    french = "La bibliothèque ouvre à neuf heures du matin et elle ferme à six heures du soir pendant la semaine."
    assert read("other_language", observed(french, question=english)) == (1.0, "fr")
    assert read("other_language", observed(english, question=english)) == (0.0, "en")
    assert read("other_language", observed("42", question=english)) is None
    assert read("other_language", observed(french, question="?")) is None


def test_an_answer_that_shares_nothing_with_its_documents():
    used = "The library opens at nine in the morning, and it closes at six."
    unused = "You can find many good books about gardens in the second room on the left."
    assert read("documents_unused", observed(used, variables={"facts": [HOURS]})) == (0.0, None)
    assert read("documents_unused", observed(unused, variables={"facts": HOURS})) == (1.0, None)
    assert read("documents_unused", observed(unused, variables={"facts": "none"})) is None
    assert read("documents_unused", observed("Yes.", variables={"facts": [HOURS]})) is None


def test_texts_without_spaces_are_compared_by_their_characters():
    source = Document(id="1", text="图书馆在工作日早上九点开门,晚上六点关门,星期六中午关门。")
    used = observed("图书馆在工作日早上九点开门,请您按时来。", variables={"facts": [source]})
    unused = observed("今天天气很好我们可以去公园散步然后一起吃饭聊天。", variables={"facts": [source]})
    assert read("documents_unused", used) == (0.0, None)
    assert read("documents_unused", unused) == (1.0, None)


WORDS = st.lists(st.sampled_from(string.ascii_lowercase), min_size=3, max_size=30)


@given(WORDS, WORDS)
def test_the_overlap_is_a_share_and_whole_for_a_quotation(said, around):
    answer = " ".join(said)
    assert 0 <= overlap(answer, [" ".join(around)]) <= 1
    assert overlap(answer, [" ".join([*around, *said, *around])]) == 1


def test_every_signal_reads_every_run():
    for run in (observed(), observed(""), observed("x" * 100_000), observed("\ud800" * 50, variables={"d": HOURS})):
        for signal in SIGNALS.values():
            signal.read(run)
