"""A cheap engine first, a better one when the answer is not good enough."""

import asyncio
from decimal import Decimal

import pytest

from llmops_sdk import errors
from llmops_sdk.calls import AttemptEnded, Call, Escalated
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Choice, Request, Response, TokenLogprob, ToolCall, Usage
from llmops_sdk.routers import Cascade, Leg, Router
from llmops_sdk.virtual_time import run_in_virtual_time


def ended(reason, text="small"):
    return Response(choices=(Choice(text=text, finish_reason=reason),))


def sure(*logprobs):
    tokens = tuple(TokenLogprob(token="x", logprob=one) for one in logprobs)
    return Response(choices=(Choice(text="small", finish_reason="stop", logprobs=tokens),))


def cascade(answer="small", **options):
    small, big = Scripted(answer, name="small"), Scripted("big", name="big")
    return Router([small, big], strategy=Cascade(**options)), small, big


async def asked(router, call=None):
    call = call or Call()
    answer = await router.agenerate(Request.of("What?").bound_to(call))
    return answer.text, [event.reason for event in call.events if isinstance(event, Escalated)]


async def test_good_answer_of_the_first_engine_is_enough():
    router, _, big = cascade()
    assert await asked(router) == ("small", [])
    assert big.requests == []


@pytest.mark.parametrize("reason", ["length", "content_filter", "error"])
async def test_answer_that_ended_badly_escalates(reason):
    assert await asked(cascade(ended(reason))[0]) == ("big", [f"it ended with {reason!r}"])
    assert await asked(cascade(ended(reason), escalate_on=())[0]) == ("small", [])


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        (True, []),
        (False, ["the judge said False"]),
        ("it is too short", ["it is too short"]),
        (None, ["the judge said None"]),
        ("", ["the judge said ''"]),
        (1, ["the judge said 1"]),
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
async def test_function_as_judge(said, reasons, awaited):
    def judge(request, response):
        assert (request.messages[0].text, response.text) == ("What?", "small")
        return said

    async def ajudge(request, response):
        return judge(request, response)

    text, why = await asked(cascade(judge=ajudge if awaited else judge)[0])
    assert (text, why) == ("small" if said is True else "big", reasons)


async def test_judge_that_breaks_finds_fault():
    def judge(request, response):
        raise KeyError("x")

    assert await asked(cascade(judge=judge)[0]) == ("big", ["the judge failed: KeyError: 'x'"])


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ("YES", True),
        ("yes", True),
        (" **Yes.**\n", True),
        ("NO", False),
        ("Yes, but it is short", False),
        ("not yes", False),
        ("", False),
        (errors.ServerError("down"), False),
        (RuntimeError("broken"), False),
    ],
)
async def test_engine_as_judge_is_understood_strictly(said, good):
    judge = Scripted(said, name="judge")
    text, why = await asked(cascade(judge=judge)[0])
    assert (text, len(why)) == (("small", 0) if good else ("big", 1))
    (question,) = judge.requests
    assert "YES or NO" in question.messages[0].text
    assert "What?" in question.messages[1].text
    assert "small" in question.messages[1].text


async def test_judge_sees_tool_calls():
    judge = Scripted("YES", name="judge")
    await asked(cascade(ToolCall(id="1", name="look_up", arguments='{"id": 7}'), judge=judge)[0])
    assert "look_up" in judge.requests[0].messages[1].text
    assert '{"id": 7}' in judge.requests[0].messages[1].text


async def test_attempts_of_the_judge_are_recorded_and_paid_for():
    prices = PriceTable({"m": {"input": "1", "output": "1"}})
    usage = Usage(input_tokens=1_000_000)
    engines = [Scripted("a", name=name, model="m", usage=usage) for name in ("small", "big")]
    router = Router(engines, strategy=Cascade(judge=Scripted("NO", name="judge", model="m", usage=usage)))
    call = Call(prices=prices)
    await asked(router, call)
    assert [event.engine for event in call.events if isinstance(event, AttemptEnded)] == ["small", "judge", "big"]
    assert call.spent_usd == router.ledger.cost_usd == 3


def test_judge_that_hangs_leaves_time_for_the_next_engine():
    async def go():
        call = Call(deadline_s=8)
        router, _, _ = cascade(judge=Scripted("YES", name="judge", delay_s=100))
        return await asked(router, call), call.clock() - call.started

    (text, why), took = run_in_virtual_time(go())
    assert text == "big"
    assert "EngineTimeout" in why[0]
    assert took == pytest.approx(4)


async def test_router_closes_the_judge():
    closed = []

    class Closing(Scripted):
        async def aclose(self):
            closed.append(self.name)

    await Router([Closing("a", name="a")], strategy=Cascade(judge=Closing("YES", name="judge"))).aclose()
    assert closed == ["a", "judge"]


def test_judge_of_another_router_is_refused():
    strategy = Cascade(judge=Leg(Scripted("YES", name="judge")))
    Router([Scripted("a")], strategy=strategy)
    with pytest.raises(errors.ConfigurationError, match="'judge' belongs to another router"):
        Router([Scripted("a")], strategy=strategy)


@pytest.mark.parametrize(
    ("response", "reasons"),
    [
        (sure(-0.1, -0.3), []),
        (sure(-0.1, -2.0), ["its mean log-probability is -1.05, below -0.5"]),
        (sure(float("nan")), ["its mean log-probability is nan, below -0.5"]),
        (sure(), ["no log-probabilities came with it"]),
    ],
)
async def test_confidence(response, reasons):
    router, small, big = cascade(response, min_logprob=-0.5)
    text, why = await asked(router)
    assert (text, why) == ("big" if reasons else "small", reasons)
    assert small.requests[0].logprobs == 0
    assert all(request.logprobs is None for request in big.requests)  # nobody would judge them


async def test_confidence_keeps_the_number_that_the_caller_asked_for():
    router, small, _ = cascade(sure(-0.1), min_logprob=-0.5)
    await router.agenerate(Request(messages=Request.of("What?").messages, logprobs=5))
    assert small.requests[0].logprobs == 5


async def test_cheap_rules_come_before_the_judge():
    judge = Scripted("YES", name="judge")
    await asked(cascade(ended("length"), judge=judge)[0])
    await asked(cascade(sure(-9), judge=judge, min_logprob=-1)[0])
    assert judge.requests == []


async def test_last_engine_is_not_judged_and_its_answer_stands():
    judged = []
    engines = [Scripted(str(i), name=f"e{i}") for i in range(3)]
    router = Router(engines, strategy=Cascade(judge=lambda request, response: judged.append(response.text)))
    assert (await asked(router))[0] == "2"
    assert judged == ["0", "1"]


@pytest.mark.parametrize("error", [errors.AuthenticationError("no"), errors.BadRequestError("wrong")])
async def test_poor_answer_is_better_than_none(error):
    small, big = Scripted("small", name="small"), Scripted(error, name="big")
    router = Router([small, big], strategy=Cascade(judge=lambda request, response: False))
    assert (await asked(router))[0] == "small"


async def test_poor_answer_is_better_than_none_when_the_money_is_spent():
    prices = PriceTable({"m": {"input": "1", "output": "1"}})
    engines = [
        Scripted("small", name=name, model="m", usage=Usage(input_tokens=1_000_000)) for name in ("small", "big")
    ]
    router = Router(engines, strategy=Cascade(judge=lambda request, response: False))
    call = Call(prices=prices, budget_usd=Decimal(1))
    assert (await asked(router, call))[0] == "small"


async def test_engine_without_log_probabilities_is_passed_over():
    class Without(Engine):
        async def agenerate(self, request):
            if request.logprobs is not None:
                raise errors.UnsupportedError("no log-probabilities here")
            return Response(choices=(Choice(text="without"),))

    router = Router([Without(), Scripted("big")], strategy=Cascade(min_logprob=-1))
    assert (await asked(router))[0] == "big"
    router = Router([Scripted(sure(-5)), Without()], strategy=Cascade(min_logprob=-1))
    assert (await asked(router))[0] == "without"


async def test_order_by_price():
    prices = PriceTable({"cheap": {"input": "1", "output": "2"}, "dear": {"input": "10", "output": "20"}})
    dear, cheap = Scripted("dear", name="dear", model="dear"), Scripted("cheap", name="cheap", model="cheap")
    router = Router([dear, cheap], strategy=Cascade(by="price"), prices=prices)
    assert (await router.agenerate(Request.of("What?"))).text == "cheap"
    assert [one.engine for one in router.route("What?").order] == ["cheap", "dear"]


async def test_stream_begins_when_the_answer_has_been_accepted():
    router, small, _ = cascade(judge=lambda request, response: "no good")
    chunks = [chunk async for chunk in router.astream(Request.of("What?"))]
    assert "".join(chunk.text for chunk in chunks) == "big"
    assert len(small.requests) == 1


async def test_cancelling_cancels_the_judge():
    asked_it = asyncio.Event()

    async def never(request):
        asked_it.set()
        await asyncio.Event().wait()

    router, *_ = cascade(judge=Scripted(never, name="judge"))
    task = asyncio.create_task(asked(router))
    await asked_it.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert router._table.strategy.legs[0].in_flight == 0


@pytest.mark.parametrize(
    "options",
    [
        {"min_logprob": 0.1},
        {"min_logprob": float("nan")},
        {"min_logprob": True},
        {"escalate_on": "length"},
        {"escalate_on": ("lenght",)},
        {"by": "size"},
        {"question": " "},
        {"judge": "embedded:"},
        {"judge": Scripted},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(errors.ConfigurationError):
        Cascade(**options)
