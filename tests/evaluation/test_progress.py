from decimal import Decimal

import pytest

from llmops_sdk import Pipeline, Prompt, Scripted, guards
from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.errors import RateLimitError
from llmops_sdk.evaluation._running.progress import Progress
from llmops_sdk.messages import Usage

PRICES = PriceTable({"priced": Price(input=Decimal(1), output=Decimal(1))})


def results(model="priced", *stations):
    def answer(request):
        if "late" in request.messages[-1].text:
            raise RateLimitError("slow down")
        return "yes"

    engine = Scripted(answer, model=model, usage=Usage(input_tokens=500, output_tokens=500))
    line = Pipeline(Prompt.from_string("{{ q }}"), *stations, engine, prices=PRICES)
    return line.map([{"q": "one"}, {"q": "two"}, {"q": "late"}, {"q": "ask " + "AKIA" + "IOSFODNN7EXAMPLE"}])


def test_the_line_counts_cells_failures_and_costs(capsys):
    with Progress(7, show=True) as progress:
        progress.kept(3)
        for one in results("priced", guards.Secrets(action="block")):
            progress.cell(one)
        progress.unscored("exact")
        progress.judged(Decimal("0.5"))

    line = capsys.readouterr().err
    assert line.startswith(
        "7 cells: 2 ok, 1 blocked, 1 failed (1 RateLimitError), 3 from the store; 1 scores failed (1 exact); "
        "0.502 USD, 0.5 USD of it for judges; "
    )


def test_a_cost_that_nobody_knows_is_not_said_to_be_nothing():
    progress = Progress(None, show=False)
    for one in results("other"):
        progress.cell(one)
    assert "; cost unknown; " in progress.summary()

    progress.cell(results("priced")[0])
    assert "; at least 0.001 USD; " in progress.summary()


def test_without_show_nothing_is_written(capsys):
    with Progress(1, show=False) as progress:
        progress.cell(results()[0])
    assert capsys.readouterr().err == ""


def test_an_experiment_that_was_stopped_says_so(capsys):
    with pytest.raises(KeyboardInterrupt), Progress(9, show=True) as progress:
        progress.cell(results()[0])
        raise KeyboardInterrupt
    assert capsys.readouterr().err.startswith("stopped after 1 cells: 1 ok")
