"""What costs cost: CPU microseconds to price, book and estimate, and the time to read LiteLLM's price file.

`nox -s bench -- costs.py`. Each figure is the least of fifteen rounds: what the code needs when nobody disturbs it. The
file of an installed LiteLLM is read anew in each round, without importing LiteLLM.
"""

from __future__ import annotations

import os
import platform
import timeit
import tracemalloc
from collections.abc import Callable
from datetime import date
from decimal import Decimal

from llmops_sdk.calls import Call
from llmops_sdk.costs import Ledger, PriceTable, bill_of, estimated_tokens, hold_budget
from llmops_sdk.costs._litellm_file import LiteLLMFile
from llmops_sdk.costs._table import BuiltIn
from llmops_sdk.messages import Choice, PromptRef, Request, Response, Usage

_TABLE = PriceTable({"m": {"input": "0.25", "output": "2", "cached_input": "0.025"}})
_USAGE = Usage(input_tokens=1312, cached_input_tokens=1024, output_tokens=158, reasoning_tokens=64)
_RESPONSE = Response(choices=(Choice(text="On its way."),), usage=_USAGE, model="m")
_REQUEST = Request(messages=Request.of("Where is my parcel? " * 50).messages, max_tokens=200)
_PROMPT = PromptRef(name="support/answer", version="prod")


def micros(act: Callable[[], object], number: int = 20_000) -> float:
    """Microseconds of one `act`."""
    return min(timeit.repeat(act, number=number, repeat=15)) / number * 1e6


def main() -> None:
    """Print the tables."""
    ledger, call = Ledger(), Call(prices=_TABLE, budget_usd=Decimal(10))
    price, cost = _TABLE.price("m"), Decimal("0.000412")

    def budget() -> None:
        hold_budget(call, _REQUEST, price, engine="e")
        call.let_go(1)

    acts: dict[str, Callable[[], object]] = {
        "the price of a model": lambda: _TABLE.price("m", asked="m", provider="openai"),
        "the cost of an answer": lambda: _TABLE.cost("m", _USAGE, asked="m", provider="openai"),
        "the bill of an attempt": lambda: bill_of(call, _REQUEST, _RESPONSE, None, asked="m", provider="openai"),
        "booking it": lambda: ledger.book("a", "m", _USAGE, cost, prompt=_PROMPT),
        "booking it with one tag": lambda: ledger.book("b", "m", _USAGE, cost, tags={"team": "x"}),
        "estimating a request of 1,000 characters": lambda: estimated_tokens(_REQUEST),
        "holding it against a budget": budget,
    }
    print(
        f"{date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| what | µs |")
    print("|---|---:|")
    for name, act in acts.items():
        print(f"| {name} | {micros(act):.2f} |")
    print("\n| reading prices, once per process | ms | MiB kept | models |")
    print("|---|---:|---:|---:|")
    _reading("the small table", lambda: BuiltIn(None))
    if LiteLLMFile.installed() is not None:
        _reading("LiteLLM's file", LiteLLMFile.installed)


def _reading(name: str, read: Callable[[], BuiltIn | LiteLLMFile | None]) -> None:
    took = micros(read, number=1) / 1e3
    tracemalloc.start()
    table = read()
    kept = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    models = 0 if table is None else sum(1 for _ in table.models())
    print(f"| {name} | {took:.1f} | {kept:.1f} | {models:,} |")


if __name__ == "__main__":
    main()
