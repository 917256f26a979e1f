"""Continuous batching, seen: tokens per second of `embedded:` at 1, 4, 16 and 64 in flight, beside one at a time.

Beside it, in a process of its own with as many threads, Hugging Face's `generate` on the same checkpoint, prompts and
number of tokens, one request after the other, in the type in which the engine computes.

    python benchmarks/batching.py [--threads 2] [--out benchmarks/results/batching.md]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

QUESTION = "Tell me about the number {}."
TOKENS = 64
CONCURRENCY = (1, 4, 16, 64)

GENERATE = """
import json, sys, time, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, threads, tokens, dtype, questions = json.loads(sys.argv[1])
torch.set_num_threads(threads)
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
speeds = []
for question in questions:
    asked = [dict(role="user", content=question)]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    began = time.perf_counter()
    with torch.inference_mode():
        answer = model.generate(**ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    speeds.append((answer.shape[1] - ids["input_ids"].shape[1]) / (time.perf_counter() - began))
print(json.dumps(speeds))
"""


async def batched(threads: int) -> tuple[str, list[str], list[float]]:
    """The type that the engine computes in, a row for each concurrency, and the tokens per second of each."""
    from llmops_sdk import Engine
    from llmops_sdk.messages import Message, Request

    async with Engine.open("embedded:", cpu_threads=threads) as engine:
        await engine.astart()

        async def one(number: int) -> float:
            question = Message.user(QUESTION.format(number))
            request = Request(messages=(question,), temperature=0.0, max_tokens=TOKENS, extra={"ignore_eos": True})
            began, first = time.perf_counter(), 0.0
            async for chunk in engine.astream(request):
                first = first or (time.perf_counter() - began if chunk.text else 0.0)
            return first

        await one(0)
        rows, speeds = [], []
        for concurrency in CONCURRENCY:
            runs = []
            for turn in range(3):
                numbers = range(1000 * turn, 1000 * turn + concurrency)
                began = time.perf_counter()
                firsts = await asyncio.gather(*map(one, numbers))
                took = time.perf_counter() - began
                runs.append((concurrency * TOKENS / took, 1000 * statistics.median(firsts)))
            speed, first = (statistics.median(column) for column in zip(*runs, strict=True))
            speeds.append(speed)
            rows.append(
                f"| `embedded:`, {concurrency} in flight | {speed:.1f} | {speed / speeds[0]:.1f} | {first:.0f} |"
            )
            print(rows[-1], flush=True)
        return str(engine._core.model_config.dtype).removeprefix("torch."), rows, speeds


def one_at_a_time(threads: int, dtype: str) -> float:
    """Tokens per second of `generate`, the median of four."""
    from llmops_sdk.engines.embedded import checkpoint

    asked = [str(checkpoint()), threads, TOKENS, dtype, [QUESTION.format(number) for number in range(5)]]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", GENERATE, json.dumps(asked)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return statistics.median(json.loads(done.stdout.splitlines()[-1])[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "batching.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    dtype, rows, speeds = asyncio.run(batched(options.threads))
    alone = one_at_a_time(options.threads, dtype)
    page = f"""# Continuous batching

{date.today()}; {os.cpu_count()} cores, no GPU; Python {platform.python_version()}; SmolLM2-135M-Instruct in {dtype},
{TOKENS} tokens an answer, streamed; {options.threads} compute thread(s); load average of the machine when it began:
{load:.1f}. Medians of 3 rounds.

| | tokens/s | beside one in flight | median first text, ms |
|---|---|---|---|
{chr(10).join(rows)}
| `transformers.generate`, one after the other | {alone:.1f} | {alone / speeds[0]:.1f} | |

64 in flight give {speeds[-1] / alone:.1f} times the tokens per second of `generate` one after the other.

Made by `python benchmarks/batching.py`.
"""
    print(page)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
