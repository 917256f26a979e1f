"""A task whose accuracy depends on the prompt, for tests of optimising; run as a program it optimises with a store."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

from llmops_sdk import Prompt, Scripted
from llmops_sdk.costs import PriceTable
from llmops_sdk.evaluation import Case, Dataset, Optimisation, metrics, optimise
from llmops_sdk.messages import Request
from llmops_sdk.pipelines import Pipeline

PRICES = PriceTable({"scripted": {"input": "10", "output": "10"}, "writer": {"input": "10", "output": "10"}})
PROMPT = Prompt.from_string("What is {{ q }}?", name="sums/number")
BETTER = "<prompt>\n[system]\nAnswer in digits only.\n\n[user]\nWhat is {{ q }}?\n</prompt>"
USELESS = "<prompt>\n[system]\nBe kind.\n\n[user]\nWhat is {{ q }}?\n</prompt>"


def numbers(count: int, *, first: int = 0) -> Dataset:
    return Dataset(
        [Case(input={"q": f"number {n}"}, expected=str(n)) for n in range(first, first + count)], name="numbers"
    )


def luck(text: str) -> float:
    """From 0 to 1, the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / (1 << 56)


def question(request: Request) -> str:
    found = re.findall(r"number \d+", request.messages[-1].text)
    return str(found[-1])


def skilled(request: Request) -> str:
    """Right for 3 questions of 10; instructions about digits make it 7, and each example one more, up to two."""
    told = any("digits" in one.text for one in request.messages if one.role == "system")
    shown = sum(one.role == "assistant" for one in request.messages)
    skill = 0.3 + (0.4 if told else 0.0) + 0.1 * min(shown, 2)
    asked = question(request)
    return asked.removeprefix("number ") if luck(asked) < skill else f"It is {asked}."


def indifferent(request: Request) -> str:
    """Right for half of the questions, whatever the prompt: which ones depends on the whole text by chance."""
    said = "\n".join(one.text for one in request.messages)
    return question(request).removeprefix("number ") if luck(said) < 0.5 else "no"


class Counted(Scripted):
    """Writes each question into a file before it answers."""

    def __init__(self, answer: object, log: Path, *, delay_s: float = 0.0) -> None:
        super().__init__(answer)
        self._answer_with = answer
        self._log = log
        self._wait_s = delay_s

    def configuration(self) -> dict[str, object]:
        return {"answer": self._answer_with}

    async def agenerate(self, request: Request, /) -> object:  # type: ignore[override]
        with self._log.open("a") as file:
            file.write(hashlib.sha256("\0".join(one.text for one in request.messages).encode()).hexdigest() + "\n")
        await asyncio.sleep(self._wait_s)
        return await super().agenerate(request)


def writing(request: Request) -> str:
    """Something useful for one hint in two."""
    return BETTER if luck(request.messages[-1].text) < 0.5 else USELESS


def main(store: str, log: str, delay_s: float, **options: Any) -> Optimisation:
    engine = Counted(skilled, Path(log), delay_s=delay_s)
    writer = Counted(writing, Path(log), delay_s=delay_s)
    return optimise(
        PROMPT,
        numbers(60),
        metrics.Exact(),
        lambda prompt: Pipeline(prompt, engine, prices=PRICES),
        proposer=lambda prompt: Pipeline(prompt, writer, prices=PRICES),
        candidates=6,
        store=store,
        concurrency=2,
        **options,
    )


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
