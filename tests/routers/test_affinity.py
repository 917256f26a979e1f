"""Prompts that begin alike go to the same engine, until it is busy."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import ImagePart, Message, Request, TextPart
from llmops_sdk.routers import Leg, PrefixAffinity, Router


def legs(count, weights=None):
    return tuple(Leg(Scripted("a", name=f"e{i}"), weight=weights[i] if weights else 1) for i in range(count))


def first(strategy, among, request):
    return next(iter(strategy.order(among, request if isinstance(request, Request) else Request.of(request))))


def chat(*texts, system="You are helpful."):
    roles = ("user", "assistant") * len(texts)
    messages = [Message.system(system), *(Message(role=r, content=t) for r, t in zip(roles, texts, strict=False))]
    return Request(messages=tuple(messages))


def test_conversation_stays_with_its_engine_and_others_are_spread():
    among = legs(10)
    strategy = PrefixAffinity()
    stays = {first(strategy, among, chat("Hello", *["more"] * turns)).name for turns in range(0, 8, 2)}
    assert len(stays) == 1
    assert len({first(strategy, among, chat(f"question {i}")).name for i in range(200)}) == 10


def test_system_prompt_is_part_of_the_prefix():
    among = legs(50)
    strategy = PrefixAffinity()
    assert len({first(strategy, among, chat("Hello", system=f"system {i}")).name for i in range(100)}) > 20


def test_number_of_characters_keeps_questions_about_one_document_together():
    among = legs(50)
    document = "A long document. " * 100
    strategy = PrefixAffinity(characters=1_000)
    assert len({first(strategy, among, document + f"question {i}").name for i in range(20)}) == 1
    assert len({first(strategy, among, f"{i} " + document).name for i in range(100)}) > 20


def test_prefix_reads_parts_and_any_text():
    among = legs(4)
    parts = Request.of(Message.user((TextPart(text="Look"), ImagePart(url="https://example.org/a.png"))))
    assert first(PrefixAffinity(), among, parts) is first(PrefixAffinity(), among, "Look")
    assert first(PrefixAffinity(), among, "half of a pair: \ud83d") in among


def test_routers_of_other_processes_choose_the_same():
    # Written down once: the choice hangs on names, weights and the prompt alone.
    among = legs(5)
    chosen = [first(PrefixAffinity(), among, f"question {i}").name for i in range(8)]
    assert chosen == [first(PrefixAffinity(), legs(5), f"question {i}").name for i in range(8)]
    assert chosen == ["e0", "e4", "e4", "e1", "e3", "e0", "e0", "e2"]


def shares(among, prefixes):
    strategy = PrefixAffinity()
    return Counter(first(strategy, among, f"prefix {i}").name for i in range(prefixes))


def test_prefixes_are_shared_out_evenly_and_by_weight():
    # 20,000 prefixes on 10 engines: 2,000 each, with a standard deviation of 42.
    assert all(abs(count - 2_000) < 4 * 43 for count in shares(legs(10), 20_000).values())
    weighted = shares(legs(4, weights=[1, 2, 3, 4]), 20_000)
    assert all(abs(weighted[f"e{i}"] - 2_000 * (i + 1)) < 4 * 70 for i in range(4))


@pytest.mark.parametrize("weights", [None, [1 + i % 3 for i in range(21)]])
def test_engine_that_comes_or_goes_moves_only_its_own_share(weights):
    among = legs(21, weights)
    strategy = PrefixAffinity()
    prefixes = [f"prefix {i}" for i in range(5_000)]
    before = [first(strategy, among, prefix).name for prefix in prefixes]
    after = [first(strategy, among[:-1], prefix).name for prefix in prefixes]
    moved = [old for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"e20"}  # nobody moves between two that stay
    share = among[-1].weight / sum(leg.weight for leg in among)
    assert abs(len(moved) - 5_000 * share) < 4 * math.sqrt(5_000 * share)


@given(
    st.integers(1, 12),
    st.lists(st.integers(0, 4), max_size=120),
    st.floats(1.01, 3),
    st.data(),
)
def test_bounded_load_holds_for_any_traffic(count, prefixes, load, data):
    weights = data.draw(st.lists(st.floats(0.2, 5), min_size=count, max_size=count))
    among = legs(count, weights)
    strategy = PrefixAffinity(load=load, at_least=0)
    for total, prefix in enumerate(prefixes, 1):
        leg = first(strategy, among, f"prefix {prefix}")
        leg.in_flight += 1
        assert leg.in_flight <= math.ceil(load * total * leg.weight / sum(weights))


def test_bounded_load_holds_nearly_among_a_thousand():
    among = legs(1_000)
    strategy = PrefixAffinity(at_least=0)
    draw = random.Random(1)
    flying = []
    for _ in range(6_000):
        leg = first(strategy, among, f"prefix {draw.randrange(20)}")  # far fewer prefixes than engines
        leg.in_flight += 1
        flying.append(leg)
        if len(flying) > 3_000:
            flying.pop(draw.randrange(3_000)).in_flight -= 1
    assert max(leg.in_flight for leg in among) <= math.ceil(1.25 * 3_000 / 1_000 * (1 + 1 / 64))


def test_busy_engine_spills_to_the_second_choice_and_is_the_last_resort():
    among = legs(3)
    strategy = PrefixAffinity(load=1.25, at_least=2)
    order = list(strategy.order(among, Request.of("hello")))
    order[0].in_flight = 2
    assert list(strategy.order(among, Request.of("hello"))) == [order[1], order[2], order[0]]
    order[1].in_flight = order[2].in_flight = 2
    assert list(strategy.order(among, Request.of("hello"))) == order


def test_few_requests_in_flight_do_not_spill():
    among = legs(100)
    strategy = PrefixAffinity()
    for _ in range(8):
        leg = first(strategy, among, "hello")
        leg.in_flight += 1
    assert leg.in_flight == 8
    assert first(strategy, among, "hello") is not leg


def test_order_beyond_the_kept_ones_is_whole():
    among = legs(30)
    strategy = PrefixAffinity(at_least=1)
    ranked = list(strategy.order(among, Request.of("hello")))
    for leg in ranked[:20]:
        leg.in_flight = 5
    order = list(strategy.order(among, Request.of("hello")))
    assert order == ranked[20:] + ranked[:20]


def test_kept_prefixes_are_bounded_and_the_oldest_goes():
    among = legs(10)
    strategy = PrefixAffinity(cache=3)
    for i in (0, 1, 2, 0, 3):
        first(strategy, among, f"prefix {i}")
    assert len(strategy._tops) == 3
    kept = {key[1] for key in strategy._tops}
    assert strategy._prefix(Request.of("prefix 0")) in kept
    assert strategy._prefix(Request.of("prefix 1")) not in kept


def test_route_says_which_choice_and_how_busy():
    router = Router([Scripted("a", name=f"e{i}") for i in range(3)], strategy="prefix_affinity")
    reasons = [one.reason for one in router.route("hello").order]
    assert reasons == [f"choice {i} for this prefix; 0 in flight, at most 8" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    "options",
    [
        {"load": 1},
        {"load": math.nan},
        {"load": math.inf},
        {"load": "2"},
        {"characters": 0},
        {"characters": 1.5},
        {"at_least": -1},
        {"cache": 0},
        {"cache": True},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(errors.ConfigurationError, match=next(iter(options))):
        PrefixAffinity(**options)
