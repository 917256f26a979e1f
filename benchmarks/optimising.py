"""How often `optimise` claims "better" where nothing is, and where something is.

Each run has its own questions. In the first simulation an engine is right for half of them, by a chance that depends
on the whole prompt: every candidate is as good as the original, and each claim is false. In the second one some
instructions help.

    python benchmarks/optimising.py --runs 400
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import hashlib

from scipy import stats

from llmops_sdk import Prompt, Request, Scripted
from llmops_sdk.evaluation import Case, Dataset, aoptimise, metrics

PROMPT = Prompt.from_string("What is {{ q }}?", name="number")
CASES = 60


def luck(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / (1 << 56)


def answer(request: Request, gain: float) -> str:
    said = "\n".join(message.text for message in request.messages)
    number = request.messages[-1].text.removeprefix("What is number ").removesuffix("?")
    return number if luck(said) < 0.5 + gain * ("well" in request.messages[0].text) else "no"


def write(request: Request) -> str:
    """Another text for each question and hint; one in two helps where anything does."""
    said = hashlib.sha256(request.messages[-1].text.encode()).hexdigest()[:8]
    well = "well" if luck(said) < 0.5 else "soon"
    return f"<prompt>\n[system]\nAnswer {well} ({said}).\n\n[user]\nWhat is {{{{ q }}}}?\n</prompt>"


async def simulate(runs: int, gain: float) -> collections.Counter[str]:
    said: collections.Counter[str] = collections.Counter()
    for run in range(runs):
        cases = [Case(input={"q": f"number {n}"}, expected=str(n)) for n in range(run * 1_000, run * 1_000 + CASES)]
        found = await aoptimise(
            PROMPT,
            Dataset(cases),
            metrics.Exact(),
            Scripted(lambda request: answer(request, gain)),
            proposer=Scripted(write),
            candidates=6,
        )
        said[found.verdict if found.contrast is not None else "not judged"] += 1
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    for what, gain in (("nothing helps", 0.0), ("instructions add 45 points", 0.45)):
        said = asyncio.run(simulate(runs if not gain else runs // 4, gain))
        total = said.total()
        share = stats.binomtest(said["better"], total).proportion_ci(0.95, "exact")
        rest = ", ".join(f"{count} {verdict}" for verdict, count in said.most_common())
        print(
            f"{what}: better in {said['better']} of {total} ({share.low:.1%} to {share.high:.1%}); {rest}", flush=True
        )


if __name__ == "__main__":
    main()
