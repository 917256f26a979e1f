"""What the record keeps of what guards found, so that nobody shows it."""

from __future__ import annotations

import asyncio

import pytest

from llmops_sdk import Engine, Guard, Pipeline, Router, Scripted, Verdict
from llmops_sdk.calls import AttemptEnded, Ended, GuardChecked
from llmops_sdk.errors import AllEnginesFailed, BadRequestError, ServerError, StreamInterrupted
from llmops_sdk.guards import PII, Regex
from llmops_sdk.messages import Choice, Response, ToolCall
from llmops_sdk.verdicts import Finding

MAIL = "ana" + "@" + "example.org"
KEY = "key-" + "4711" * 4


class Own(Guard):
    """Flags or rewrites a key."""

    blocking = False

    def __init__(self, act, **options):
        super().__init__(**options)
        self.act = act

    def check(self, text, context=None):
        return self.act(text) if KEY in text else Verdict.allow()


def at(text):
    return [Finding(kind="key", start=text.index(KEY), end=text.index(KEY) + len(KEY))]


FLAG = Own(lambda text: Verdict.flag(f"it holds {KEY}", at(text)))


async def run(pipeline, how, given):
    if how == "run":
        return await pipeline.arun(given)
    async with pipeline.astream(given) as stream:
        async for _ in stream:
            pass
    return stream.result


def ended(call):
    return next(event for event in call.events if isinstance(event, Ended))


@pytest.mark.parametrize("how", ["run", "stream"])
async def test_the_answer_is_kept_as_it_was_before_true_values_were_put_back(how):
    tool = ToolCall(id="1", name="mail", arguments='{"to": "[EMAIL_1]"}')
    choices = (
        Choice(text="To [EMAIL_1].", reasoning="Is it [EMAIL_1]?", tool_calls=(tool,), finish_reason="stop"),
        Choice(text="Two: [EMAIL_1]", finish_reason="stop"),
    )
    result = await run(PII(restore=True) | Scripted(Response(choices=choices)), how, f"Write to {MAIL}")
    assert result.text == f"To {MAIL}."
    kept = ended(result.call)
    assert kept.response is result.response
    assert [(one.text, one.reasoning, one.tool_calls) for one in kept.unrestored.choices] == [
        (one.text, one.reasoning, one.tool_calls) for one in choices
    ]


@pytest.mark.parametrize("how", ["run", "stream"])
async def test_nothing_is_kept_twice_where_nothing_was_put_back(how):
    result = await run(PII(restore=True) | Scripted("Nobody."), how, f"Write to {MAIL}")
    assert ended(result.call).unrestored is None


@pytest.mark.parametrize("how", ["run", "stream"])
async def test_a_reason_does_not_quote_what_was_found(how):
    result = await run(Pipeline(Scripted(f"Use {KEY}."), FLAG), how, f"It is {KEY}")
    check = next(event for event in result.call.events if isinstance(event, GuardChecked))
    assert check.verdict.reason == "it holds [found by a guard]"
    assert check.let_stay


@pytest.mark.parametrize("how", ["run", "stream"])
async def test_what_one_text_keeps_is_told_though_another_was_rewritten(how):
    def act(text):
        return Verdict.rewrite("clean", at(text)) if "answer" in text else Verdict.flag("key", at(text))

    response = Response(choices=(Choice(text=f"answer {KEY}", reasoning=f"thought {KEY}", finish_reason="stop"),))
    result = await run(Pipeline(Scripted(response), Own(act)), how, "Hello")
    check = next(event for event in result.call.events if isinstance(event, GuardChecked))
    assert (check.verdict.action, check.let_stay, check.untold) == ("rewrite", True, False)


@pytest.mark.parametrize("how", ["run", "stream"])
async def test_a_guard_that_does_not_say_where_is_told(how):
    result = await run(Pipeline(Scripted(f"Use {KEY}."), Own(lambda text: Verdict.flag("no"))), how, "Hello")
    check = next(event for event in result.call.events if isinstance(event, GuardChecked))
    assert check.untold


@pytest.mark.parametrize("how", ["run", "stream"])
async def test_an_error_of_an_engine_does_not_quote_what_was_found(how):
    def fails(request):
        raise BadRequestError(f"cannot read {request.messages[-1].text}") from ValueError(request.messages[-1].text)

    with pytest.raises(BadRequestError, match=r"cannot read It is \[found by a guard\]") as caught:
        await run(FLAG | Scripted(fails), how, f"It is {KEY}")
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__cause__.__context__!r}"


async def test_the_error_of_all_engines_does_not_quote_it_though_it_was_found_later():
    began = asyncio.Event()

    class Late(Own):
        async def check(self, text, context=None):
            await began.wait()
            await asyncio.sleep(0.01)
            return super().check(text, context)

    def fails(request):
        began.set()
        raise ServerError(f"cannot read {request.messages[-1].text}")

    late = Late(FLAG.act, overlap=True)
    with pytest.raises(AllEnginesFailed) as caught:
        await (late | Router([Scripted(fails, name="one")], retries=0)).arun(f"It is {KEY}")
    assert "cannot read It is [found by a guard]" in str(caught.value)
    assert KEY not in f"{caught.value} {caught.value!r} {caught.value.exceptions!r}"


async def test_an_error_holds_no_part_of_an_answer_that_the_guards_had_not_let_pass():
    def error():
        return StreamInterrupted("broke", partial_text=f"Use {KEY} and", engine="one")

    pipeline = Pipeline(Scripted(["Use ", KEY, " and", error()]), Regex([KEY], action="rewrite"))
    with pytest.raises(StreamInterrupted) as caught:
        await run(pipeline, "stream", "Hello")
    assert KEY not in caught.value.partial_text
    with pytest.raises(StreamInterrupted) as caught:
        await run(Pipeline(Scripted(["Use ", "it", error()])), "stream", "Hello")
    assert caught.value.partial_text == f"Use {KEY} and"  # nobody guards it


async def test_a_guard_beside_the_engine_that_had_not_read_is_in_the_record():
    class Never(Engine):
        name = "never"

        async def agenerate(self, request):
            await asyncio.sleep(3600)

    class Waits(Guard):
        async def check(self, text, context=None):
            await asyncio.sleep(3600)

    seen = []
    pipeline = Pipeline(Waits(overlap=True), Never(), hooks=[lambda event, call: seen.append(event)])
    work = asyncio.ensure_future(pipeline.arun(f"It is {KEY}"))
    await asyncio.sleep(0.02)
    work.cancel()
    await asyncio.wait([work])
    (check,) = [event for event in seen if isinstance(event, GuardChecked)]
    assert check.verdict.skipped == "the run ended before it had read"
    assert any(isinstance(event, AttemptEnded) for event in seen)
