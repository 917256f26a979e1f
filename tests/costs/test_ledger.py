from __future__ import annotations

import pickle
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.costs import Ledger, LedgerRow
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import PromptRef, Usage

USAGE = Usage(input_tokens=100, cached_input_tokens=40, output_tokens=20, reasoning_tokens=5)
CENT = Decimal("0.01")


def _booked(times: int = 1, **changes: Any) -> Ledger:
    ledger = Ledger()
    for _ in range(times):
        ledger.book(**{"engine": "a", "model": "m", "usage": USAGE, "cost_usd": CENT, **changes})
    return ledger


def _names(rows: list[LedgerRow]) -> dict[str, int]:
    return {row.name: row.calls for row in rows}


def test_every_attempt_is_in_the_sums_of_everything_that_it_has_in_common_with_others() -> None:
    ledger = Ledger()
    prompt = PromptRef(name="support/answer", version="prod", commit="0123456789abcdef")
    ledger.book("a", "m", USAGE, CENT, prompt=prompt, tags={"team": "x", "tier": 1})
    ledger.book(
        "a", "n", USAGE, 2 * CENT, prompt=PromptRef(name="other", commit="0123456789abcdef"), tags={"team": "y"}
    )
    ledger.book("b", None, None, None, failed=True)
    ledger.book("b", "n", USAGE, None, unpriced=True)
    ledger.book("b", "n", None, None, failed=True, unpriced=True, estimated_usd=CENT)

    assert _names(ledger.by("engine")) == {"a": 2, "b": 3}
    assert _names(ledger.by("model")) == {"n": 3, "m": 1, "(none)": 1}
    assert _names(ledger.by("prompt")) == {
        "support/answer@prod (0123456789ab)": 1,
        "other@0123456789ab": 1,
        "(none)": 3,
    }
    assert _names(ledger.by("tag:team")) == {"x": 1, "y": 1, "(none)": 3}
    assert _names(ledger.by("tag:tier")) == {"1": 1, "(none)": 4}
    assert ledger.total == LedgerRow(
        name="total",
        calls=5,
        failed=2,
        unpriced=2,
        estimated=1,
        input_tokens=300,
        output_tokens=60,
        cached_input_tokens=120,
        cache_write_tokens=0,
        reasoning_tokens=15,
        audio_input_tokens=0,
        audio_output_tokens=0,
        cost_usd=3 * CENT,
        estimated_usd=CENT,
    )
    assert (ledger.calls, ledger.unpriced, ledger.cost_usd, ledger.estimated_usd) == (5, 2, 3 * CENT, CENT)


def test_the_dearest_comes_first() -> None:
    ledger = _booked(engine="cheap")
    ledger.book("dear", "m", USAGE, Decimal(3))
    assert [row.name for row in ledger.by("engine")] == ["dear", "cheap"]


@pytest.mark.parametrize("what", ["team", "tag:", "tag", "", "engines", "cost_usd"])
def test_it_sums_by_nothing_else(what: str) -> None:
    with pytest.raises(ConfigurationError, match="'tag:NAME'"):
        Ledger().by(what)


_ATTEMPTS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["m", "n", None]),
        st.integers(0, 10**6),
        st.none() | st.decimals(0, 10, places=9),
        st.dictionaries(st.sampled_from(["team", "user"]), st.sampled_from("xyz")),
    ),
    max_size=30,
)


@given(_ATTEMPTS, _ATTEMPTS)
def test_rows_add_up_to_the_total_and_time_can_be_cut_anywhere(before: list[Any], after: list[Any]) -> None:
    def book(ledger: Ledger, attempts: list[Any]) -> Ledger:
        for engine, model, tokens, cost, tags in attempts:
            ledger.book(engine, model, Usage(input_tokens=tokens), cost, tags=tags, unpriced=cost is None)
        return ledger

    ledger = book(Ledger(), before)
    earlier = ledger.copy()
    book(ledger, after)

    for what in ("engine", "model", "prompt", "tag:team", "tag:user"):
        rows = ledger.by(what)
        for name in ("calls", "unpriced", "input_tokens", "cost_usd"):
            assert sum(getattr(row, name) for row in rows) == getattr(ledger.total, name)
        assert ledger.since(earlier).by(what) == book(Ledger(), after).by(what)
    joined = book(Ledger(), before)
    joined.merge(book(Ledger(), after))
    assert joined.to_rows() == ledger.to_rows()
    again = pickle.loads(pickle.dumps(ledger))
    assert (again.to_rows(), again.by("tag:user")) == (ledger.to_rows(), ledger.by("tag:user"))
    taken = ledger.reset()
    assert (taken.total, ledger.calls, ledger.to_rows()) == (joined.total, 0, [])


def test_memory_is_bounded_and_nothing_is_lost() -> None:
    ledger = Ledger()
    for number in range(3_000):
        prompt = PromptRef(name=f"p{number}")
        ledger.book("a", "m", USAGE, CENT, prompt=prompt, tags={"request": number, f"name{number}": 1})

    assert len(ledger.to_rows()) == 1_001
    assert len(ledger.by("tag:request")) == 1_001
    assert _names(ledger.by("engine")) == {"a": 3_000}
    assert _names(ledger.by("prompt"))["(other)"] == _names(ledger.by("tag:request"))["(other)"] == 2_000
    assert sum(row.cost_usd for row in ledger.by("tag:request")) == ledger.cost_usd == 30
    assert _names(ledger.by("tag:name2999")) == {"(none)": 3_000}
    for number in range(3_000):
        ledger.book(f"e{number}", f"m{number}", USAGE, CENT)
    assert len(ledger.to_rows()) <= 2_001
    assert sum(row["calls"] for row in ledger.to_rows()) == 6_000


def test_money_is_summed_exactly_whatever_the_context() -> None:
    tiny, huge = Decimal("1e-20"), Decimal(10**12)
    ledger = _booked(cost_usd=huge)
    ledger.book("a", "m", USAGE, tiny)
    assert ledger.cost_usd - huge == tiny or ledger.cost_usd == Decimal("1000000000000.00000000000000000001")


def test_threads_lose_nothing() -> None:
    ledger = Ledger()

    def book() -> None:
        for _ in range(2_000):
            ledger.book("a", "m", USAGE, CENT, tags={"team": "x"})

    threads = [threading.Thread(target=book) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (ledger.calls, ledger.cost_usd) == (8_000, 80)
    assert ledger.by("tag:team")[0].calls == 8_000


def test_what_others_book_inside_is_booked_around_once() -> None:
    inner, outer = Ledger(), Ledger()
    with outer.around(), outer.around():
        inner.book("a", "m", USAGE, CENT)
        outer.book("b", "m", USAGE, CENT)
    inner.book("a", "m", USAGE, CENT)

    assert (inner.calls, outer.calls) == (2, 2)


def test_people_read_a_table() -> None:
    ledger = _booked(1_234)
    ledger.book("b", "m", None, None, failed=True, unpriced=True, estimated_usd=CENT)

    text = str(ledger)

    assert text.splitlines()[1].split() == ["a", "1,234", "0", "123,400", "49,360", "24,680", "12.34", "0"]
    assert "1 (about 0.01 USD)" in text
    assert repr(ledger) == "<Ledger of 1,235 calls, 12.34 USD>"
