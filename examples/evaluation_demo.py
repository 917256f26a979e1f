"""Is the second prompt better, or is it noise? `python examples/evaluation_demo.py`.

Two prompts sort the mails of a book shop, several times each, on the small embedded model; takes a minute or two on a
CPU. With `--engine scripted` only the extra `evaluation` is needed. The report is one HTML file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llmops_sdk import Engine, Prompt, Scripted
from llmops_sdk.evaluation import Case, Dataset, Experiment, evaluate, metrics

KINDS = {
    "order": ["I would like to buy two copies of Emma.", "Please send me the new atlas.", "Can I order ten diaries?"],
    "complaint": ["The book came with torn pages.", "Nobody answers my mails.", "My parcel was wet and late."],
    "return": ["I want to send Emma back.", "How do I give the atlas back?", "I do not need the diary, take it back."],
}
SHORT = "Is this mail an order, a complaint or a return? Answer with one word.\n\nMail: {{ mail }}\nAnswer:"
EXAMPLES = (
    "Sort each mail: order, complaint or return.\n\n"
    "Mail: I would like to have this novel.\nAnswer: order\n\n"
    "Mail: The cover is broken.\nAnswer: complaint\n\n"
    "Mail: I am sending it back to you.\nAnswer: return\n\n"
    "Mail: {{ mail }}\nAnswer:"
)


def mails() -> Dataset:
    """Mails with the kind that a person gave them; those about one book belong together."""
    greetings = ("", "Hello, ")
    return Dataset(
        [
            Case(
                input={"mail": greeting + text},
                expected=kind,
                tags=("greets",) if greeting else (),
                cluster=f"{kind} {number}",
            )
            for kind, texts in KINDS.items()
            for number, text in enumerate(texts)
            for greeting in greetings
        ],
        name="mails",
    )


def play(engine: Engine, store: Path, report: Path, repeats: int) -> Experiment:
    """Run both prompts on all mails, and say what was found."""
    options = {"temperature": 0.7, "max_tokens": 8}
    pipelines = {
        "short": Prompt.from_string(SHORT, **options) | engine,
        "examples": Prompt.from_string(EXAMPLES, **options) | engine,
    }
    experiment = evaluate(
        pipelines,
        mails(),
        metrics=[metrics.Classification(list(KINDS), pick="first"), metrics.Latency(), metrics.Tokens("output")],
        repeats=repeats,
        store=store,
        name="mails of a book shop",
        margins={"classification": 0.05},
    )
    print(f"\n{experiment.title}\n\n{experiment}\n")
    print(experiment.scores("classification"), end="\n\n")
    print(experiment.scores("classification", by="tag"), end="\n\n")
    print(f"The report: {experiment.report(report)}\nThe same call again asks nothing: {store} has it all.")
    return experiment


def main(*arguments: str) -> int:
    """Run it where the options say."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--engine", default="embedded:", help='what answers, or "scripted"')
    options.add_argument("--repeats", type=int, default=2, help="runs of each mail by each prompt")
    options.add_argument("--store", type=Path, default=Path("experiments.db"), help="keeps runs and scores")
    options.add_argument("--report", type=Path, default=Path("report.html"), help="the report")
    given = options.parse_args(arguments)
    scripted = given.engine == "scripted"
    with Scripted("order", "complaint", "It is a return.") if scripted else Engine.open(given.engine) as engine:
        play(engine, given.store, given.report, given.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
