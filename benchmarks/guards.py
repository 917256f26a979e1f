"""What the guards cost and how good they are: prints one table each.

    python benchmarks/guards.py [--data FOLDER] [--write FILE]

Costs are medians of CPU time over repeated runs, in microseconds; where gorget (the continuation of LLM-Guard) is
installed, its scanner for secrets runs beside ours. Quality is measured where FOLDER holds
`injection.jsonl.gz` (`text`, `label`, `source`, `kind`) and `pii.jsonl.gz` (`text`, `spans`, `source`).
"""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.guards import (
    PII,
    Competitors,
    Guard,
    InvisibleText,
    Language,
    Length,
    MaliciousCode,
    PromptInjection,
    Refusal,
    Regex,
    Repetition,
    Secrets,
    SystemPromptLeak,
    Tokens,
    Topics,
    URLs,
)
from llmops_sdk.protocols import GuardContext

PROSE = (
    "The committee met on Tuesday to go over the plans for the new library, and most of the members agreed that the "
    "reading room should face the garden. Costs were estimated by two firms; the lower offer came from a company in "
    "the next town, which had built a school there some years ago. A decision is expected before the end of the month. "
    "In the meantime the old building stays open, with shorter hours on weekends, and visitors are asked to use the "
    "entrance at the side. Questions can be sent to the office, which answers them within a few days as a rule. "
)
GUARDS: dict[str, Guard] = {
    "Secrets()": Secrets(),
    "PII()": PII(),
    "PII(restore=True)": PII(restore=True),
    "Regex([1 bounded pattern])": Regex([r"ticket-\d{4,8}"]),
    "PromptInjection()": PromptInjection(),
    "SystemPromptLeak()": SystemPromptLeak(
        texts=["You are the assistant of a library. Never tell who lent which book."]
    ),
    "MaliciousCode()": MaliciousCode(),
    "URLs()": URLs(),
    "InvisibleText()": InvisibleText(),
    "Topics(1,000 phrases)": Topics({f"topic {n}": [f"subject{n} matter{n}"] for n in range(1_000)}),
    "Competitors(3 names)": Competitors(["Acme", "DeepMind", "Roadrunner Supplies"]),
    "Length(words)": Length(most=10_000_000, unit="words"),
    'Tokens("estimate")': Tokens(most=10_000_000, counter="estimate"),
    "Language(en)": Language(allow=["en"]),
    "Refusal()": Refusal(),
    "Repetition()": Repetition(),
}
# What people switch on for a stream of answers; other guards of this library that read answers belong here too.
STREAMED = ("Secrets()", "PII()", "SystemPromptLeak()")
SPANS = {
    "email": "email",
    "phone_number": "phone",
    "credit_card_number": "card",
    "iban": "iban",
    "ip_address": "ip",
    "ssn": "ssn",
}


def median_us(work: Callable[[], object], *, times: int, rounds: int = 9) -> float:
    work()
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(times):
            work()
        taken.append((time.process_time() - started) / times)
    return statistics.median(taken) * 1e6


def context() -> GuardContext:
    return GuardContext(call=Call(), stage="output", origin="output")


def chunked(guards: Iterable[Guard], chunks: list[str]) -> Callable[[], None]:
    """Feeds the chunks through the streams of the guards, one after the other."""
    chosen = list(guards)

    def work() -> None:
        streams = [stream for guard in chosen if (stream := guard.open_stream(context())) is not None]
        for chunk in chunks:
            for stream in streams:
                chunk = stream.feed(chunk)  # noqa: PLW2901
        for number, stream in enumerate(streams):
            rest = stream.finish()
            for later in streams[number + 1 :]:
                rest = later.feed(rest)

    return work


def check_all(guards: Iterable[Guard], text: str) -> Callable[[], None]:
    chosen = list(guards)

    def work() -> None:
        for guard in chosen:
            guard.check(text)

    return work


def costs() -> Iterable[str]:
    yield "| guard | 200 characters | 1,000 | 100,000 | a streamed chunk of 4 | window |"
    yield "|---|---|---|---|---|---|"
    long = PROSE * (100_000 // len(PROSE) + 1)
    chunks = [long[i : i + 4] for i in range(0, 20_000, 4)]
    for name, guard in GUARDS.items():
        cells = sizes([guard], long)
        if guard.window is None:
            cells += ["(waits)", "whole text"]
        else:
            cells += [f"{median_us(chunked([guard], chunks), times=1) / len(chunks):.1f} µs", f"{guard.window:,}"]
        yield f"| `{name}` | {' | '.join(cells)} |"
    yield f"| all of them, one after the other | {' | '.join(sizes(GUARDS.values(), long))} | | |"
    together = [GUARDS[name] for name in STREAMED]
    taken = median_us(chunked(together, chunks), times=1) / len(chunks)
    yield f"| {' + '.join(f'`{name}`' for name in STREAMED)} on one stream | | | | {taken:.1f} µs | |"
    yield ""


def sizes(guards: Iterable[Guard], long: str) -> list[str]:
    chosen = list(guards)
    return [
        f"{median_us(check_all(chosen, long[:size]), times=times):,.0f} µs"
        for size, times in ((200, 300), (1_000, 100), (100_000, 1))
    ]


def peers() -> Iterable[str]:
    """Our `Secrets` and gorget's, on the same texts in turns."""
    try:
        from gorget.input_scanners import Secrets as Scanner
        from gorget.util import configure_logger
    except ImportError:
        yield "gorget is not installed, so nothing stands beside `Secrets()`."
        yield ""
        return
    configure_logger("ERROR")
    scanner, ours = Scanner(), GUARDS["Secrets()"]
    key = "gh" + "p_" + "a1B2c3D4e5F6" * 3
    yield "| secrets | 200 characters | 1,000 | 1,000 and a key | 10,000 |"
    yield "|---|---|---|---|---|"
    texts = [(PROSE * 25)[:size] for size in (200, 1_000, 960, 10_000)]
    texts[2] += f"   {key} "
    works = {"`Secrets()`": ours.check, "gorget 0.5 `Secrets()`": scanner.scan}
    times: dict[str, list[str]] = {name: [] for name in works}
    for text in texts:
        for name, work in works.items():
            taken = median_us(functools.partial(work, text), times=20 if work == ours.check else 1, rounds=5)
            times[name].append(f"{taken:,.0f} µs")
    yield from (f"| {name} | {' | '.join(cells)} |" for name, cells in times.items())
    yield ""


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _checked(guard: Guard, text: str) -> Any:
    return guard.check(text)


def injection_quality(folder: Path) -> Iterable[str]:
    counted: dict[tuple[int, str], list[int]] = collections.defaultdict(lambda: [0, 0])
    secret_alarms = collections.Counter[str]()
    benign = 0
    for row in rows(folder / "injection.jsonl.gz"):
        blocked = _checked(GUARDS["PromptInjection()"], row["text"]).blocked
        groups = [row["source"], "all"] + (["hard benign"] if row["kind"].startswith("hard_benign") else [])
        for group in groups:
            counted[row["label"], group][0] += blocked
            counted[row["label"], group][1] += 1
        if row["label"] == 0:
            benign += 1
            secret_alarms.update(f.kind for f in _checked(GUARDS["Secrets()"], row["text"]).findings)
    for label, title in ((1, "found (attacks)"), (0, "false alarms (benign)")):
        yield f"| source | `PromptInjection()`: {title} | rows |"
        yield "|---|---|---|"
        for (of, group), (blocked, total) in sorted(counted.items()):
            if of == label:
                yield f"| {group} | {blocked / total:.3f} | {total} |"
        yield ""
    yield f"`Secrets()` on the {benign} benign rows found: {dict(secret_alarms)}."
    yield ""


def pii_quality(folder: Path) -> Iterable[str]:
    hits: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    others = collections.Counter[str]()
    unread = collections.Counter[str]()
    for row in rows(folder / "pii.jsonl.gz"):
        findings = _checked(GUARDS["PII()"], row["text"]).findings
        for start, end, kind in row["spans"]:
            if kind in SPANS:
                hits[kind][0] += any(f.start <= start and f.end >= end and f.kind == SPANS[kind] for f in findings)
                hits[kind][1] += 1
            else:
                unread[kind] += 1
        for finding in findings:
            if not any(start < finding.end and finding.start < end for start, end, _ in row["spans"]):
                others[finding.kind] += 1
    yield "| kind | `PII()`: found | of |"
    yield "|---|---|---|"
    for kind, (found, total) in sorted(hits.items()):
        yield f"| {kind} | {found} | {total} |"
    yield ""
    yield f"Found where no span is marked: {dict(others)}. Kinds that `PII` does not look for: {dict(unread)}."
    yield ""


def report(data: Path | None) -> Iterable[str]:
    yield "# Guards"
    yield ""
    yield f"{datetime.date.today().isoformat()}, 2 cores, no GPU, Python 3.11. Median of CPU time; prose, no findings."
    yield ""
    yield from costs()
    yield from peers()
    if data is not None:
        yield "The rules were written with these rows in sight, so on other data expect less."
        yield ""
        yield from injection_quality(data)
        yield from pii_quality(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with injection.jsonl.gz and pii.jsonl.gz")
    parser.add_argument("--write", type=Path, help="Markdown file to write as well")
    options = parser.parse_args()
    text = "\n".join(report(options.data))
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
