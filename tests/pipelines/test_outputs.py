"""Answers become what the prompt's `output` says, and are asked for again while they do not fit."""

import dataclasses
import json
import pickle
import time
from decimal import Decimal
from typing import Annotated

import pydantic
import pytest

from llmops_sdk import Pipeline, Prompt, Router, Scripted, guard
from llmops_sdk.calls import Aside, OutputValidated
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Cached
from llmops_sdk.engines.remote import Remote
from llmops_sdk.errors import ConfigurationError, DeadlineExceeded, ServerError, UnsupportedError
from llmops_sdk.guards import PII, Judge, Regex
from llmops_sdk.messages import Choice, Message, Request, Response, ToolCall
from llmops_sdk.protocols import Capabilities
from llmops_sdk.testing import FaultServer
from llmops_sdk.verdicts import Verdict

CANNOT = Capabilities(json_schema=False)
CAN = Capabilities(json_schema=True)
GOOD = '{"answer": "yes", "score": 0.5}'
BAD = '{"answer": "yes", "score": "high"}'


class Answer(pydantic.BaseModel):
    answer: str
    score: Annotated[float, pydantic.Field(ge=0, le=1)]
    tags: list[str] = []


@dataclasses.dataclass
class Place:
    city: str


def asking(*answers, output=Answer, can=CANNOT, text="Is it?", **options):
    engine = Scripted(*answers, capabilities=can)
    return Pipeline(Prompt.from_string(text, output=output), engine, **options), engine


def validated(result):
    return [(event.error, event.repair) for event in result.call.events if isinstance(event, OutputValidated)]


def test_the_output_is_an_instance_of_the_prompts_type(run):
    pipeline, engine = asking(GOOD, can=CAN)
    result = run(pipeline)
    assert result.output == Answer(answer="yes", score=0.5)
    assert engine.requests[0].response_schema["required"] == ["answer", "score", "tags"]
    assert engine.requests[0].messages == (Message.user("Is it?"),)
    assert run(asking('{"city": "Oslo"}', output=Place)[0]).output == Place("Oslo")
    assert run(asking("[1, 2]", output=list[int])[0]).output == [1, 2]
    assert run(asking('{"city": "Oslo"}', output={"city": "str"})[0]).output == {"city": "Oslo"}


def test_an_engine_without_schemas_is_told_in_words(run):
    pipeline, engine = asking(GOOD)
    assert run(pipeline).output.score == 0.5
    (request,) = engine.requests
    assert request.response_schema is None
    text = request.messages[0].text
    assert text.startswith("Is it?\n\nAnswer with one JSON value")
    assert json.loads(text.splitlines()[-1]) == pipeline.prompt.content.output


def test_the_words_stand_in_the_systems_message_where_there_is_one(run):
    engine = Scripted(GOOD, capabilities=CANNOT)
    run(Prompt.from_string("Is it?", system="Be brief.", output=Answer) | engine)
    system, user = engine.requests[0].messages
    assert system.text.startswith("Be brief.\n\nAnswer with one JSON value")
    assert user.text == "Is it?"


def test_an_engine_that_finds_out_that_it_cannot_is_asked_again_in_words(run):
    def answer(request):
        if request.response_schema is not None:
            raise UnsupportedError("no schemas here", engine="scripted")
        return GOOD

    pipeline, engine = asking(answer, can=None)
    assert run(pipeline).output.answer == "yes"
    assert len(engine.requests) == 2
    other = UnsupportedError("no images", engine="scripted")
    with pytest.raises(UnsupportedError, match="no images"):
        run(asking(other, can=None)[0])


def test_a_router_asks_those_that_can_and_the_others_in_words_when_none_can(run):
    prompt = Prompt.from_string("Is it?", output=Answer)
    able, unable = Scripted(GOOD, name="able", capabilities=CAN), Scripted(GOOD, name="unable", capabilities=CANNOT)
    assert run(prompt | Router([unable, able])).route == ("able",)
    result = run(prompt | Router([unable]))
    assert (result.route, result.output.score) == (("unable",), 0.5)


@pytest.mark.parametrize(
    "wrapped",
    [
        f"```json\n{GOOD}\n```",
        f"Here it is: {GOOD} I hope that helps.",
        f"Not {{this}}, but\n```\n{GOOD}\n```\n",
        f"\ufeff \n{GOOD}\n\n",
    ],
)
def test_json_is_found_in_fences_and_in_text(run, wrapped):
    result = run(asking(wrapped)[0])
    assert result.output == Answer(answer="yes", score=0.5)
    assert result.text == wrapped


def test_the_search_for_json_is_bounded(run):
    result = run(asking("{" * 200_000 + GOOD, repairs=0)[0])
    assert (result.output, result.output_error) == (None, "not json")


def test_a_wrong_answer_is_mended_by_asking_again_with_the_error(run):
    pipeline, engine = asking(BAD, GOOD)
    result = run(pipeline)
    assert (result.output.score, result.output_error, result.text) == (0.5, None, GOOD)
    wrong = "schema mismatch at $.score: fails `float_parsing`"
    assert validated(result) == [(wrong, "asked again"), (None, None)]
    first, again = engine.requests
    assert again.messages[:-2] == first.messages
    assert again.messages[-2] == Message.assistant(BAD)
    assert "$.score: fails `float_parsing`: Input should be a valid number" in again.messages[-1].text
    assert result.usage.output_tokens == len(BAD.split()) + len(GOOD.split())


def test_repairs_are_bounded_by_the_pipeline_or_the_prompt_or_by_one(run):
    pipeline, engine = asking(BAD)
    result = run(pipeline)
    assert len(engine.requests) == 2
    assert (result.output, result.outputs) == (None, (None,))
    assert result.output_error == "schema mismatch at $.score: fails `float_parsing`"
    assert validated(result)[-1][1] == "no: none is left"
    for options, asked in (({"repairs": 0}, 1), ({"repairs": 3}, 4)):
        pipeline, engine = asking(BAD, **options)
        run(pipeline)
        assert len(engine.requests) == asked
    pipeline, engine = asking(BAD, output={"schema": {"score": "float"}, "repairs": 2})
    run(pipeline)
    assert len(engine.requests) == 3
    for wrong in (-1, 11, "two", True):
        with pytest.raises(ConfigurationError, match="`repairs` is a whole number from 0 to 10"):
            asking(BAD, repairs=wrong)


def test_each_repair_shows_only_the_last_answer(run):
    pipeline, engine = asking("one", "two", GOOD, repairs=2)
    assert run(pipeline).output.score == 0.5
    assert [len(request.messages) for request in engine.requests] == [1, 3, 3]
    assert engine.requests[-1].messages[1].text == "two"


def test_an_answer_that_was_cut_off_is_not_asked_for_again(run):
    cut = Response(choices=(Choice(text='{"answer": "ye', finish_reason="length"),))
    pipeline, engine = asking(cut, GOOD)
    result = run(pipeline)
    assert len(engine.requests) == 1
    assert validated(result) == [("not json", "no: the answer was cut off at max_tokens")]


def test_an_error_of_the_repair_keeps_the_answer_that_is_there(run):
    result = run(asking(BAD, ServerError("down"))[0])
    assert result.text == BAD
    assert result.output_error == "schema mismatch at $.score: fails `float_parsing`; the repair: ServerError"
    assert len(validated(result)) == 1  # what is kept was checked already


def test_over_http_the_schema_and_the_repair_are_sent_and_faults_of_the_repair_keep_the_answer(run):
    with FaultServer(BAD, GOOD, BAD, 400) as server:
        engine = Remote(server.url, model="m")
        pipeline = Pipeline(Prompt.from_string("Is it?", output=Answer), engine)
        mended, kept = run(pipeline), run(pipeline)
        asked = [json.loads(request.body) for request in server.requests]
    assert mended.output == Answer(answer="yes", score=0.5)
    assert asked[0]["response_format"]["json_schema"]["schema"] == pipeline.prompt.content.output
    assert [message["role"] for message in asked[1]["messages"]] == ["user", "assistant", "user"]
    assert kept.text == BAD
    assert kept.output_error.endswith("; the repair: BadRequestError")


def test_over_http_an_engine_without_schemas_is_told_in_words(run):
    with FaultServer(f"Sure: {GOOD}") as server:
        engine = Remote(server.url, model="m", capabilities=CANNOT)
        assert run(Prompt.from_string("Is it?", output=Answer) | engine).output.answer == "yes"
        (request,) = server.requests
    assert "response_format" not in json.loads(request.body)
    assert "Answer with one JSON value" in json.loads(request.body)["messages"][0]["content"]


def test_a_repair_has_to_fit_into_the_budget_and_is_paid_for(run):
    prices = PriceTable({"scripted": {"input": 0, "output": 10**6}})  # a dollar a word
    prompt = Prompt.from_string("Is it?", output={"score": "float"}, max_tokens=5)
    pipeline = Pipeline(prompt, Scripted("no", '{"score":1}', capabilities=CANNOT), prices=prices)
    paid = run(pipeline, budget_usd=10)
    assert (paid.output, paid.cost_usd) == ({"score": 1}, Decimal(2))
    poor = run(pipeline, budget_usd="5.5")
    assert poor.output_error == "not json; the repair: BudgetExceeded"
    assert (poor.call.attempts, poor.cost_usd) == (1, Decimal(1))


def test_a_repair_has_to_fit_into_the_deadline(run):
    engine = Scripted(BAD, delay_s=0.15, capabilities=CANNOT)
    pipeline = Pipeline(Prompt.from_string("Is it?", output=Answer), engine, repairs=10)
    with pytest.raises(DeadlineExceeded):
        run(pipeline, deadline_s=0.4)
    assert 2 <= len(engine.requests) <= 3


def test_guards_read_the_words_the_repair_and_the_mended_answer(run):
    read = []

    @guard
    def reader(text):
        read.append(text)
        return Verdict.allow()

    prompt = Prompt.from_string("Is it?", output=Answer)
    run(Pipeline(prompt, reader, Scripted(BAD, GOOD, capabilities=CANNOT), reader))
    begins = [text[:6] for text in read]
    assert begins[:2] == ["Is it?", BAD[:6]]
    assert sorted(begins[2:5]) == sorted(["Is it?", BAD[:6], "This a"])  # messages are read at the same time
    assert begins[5:] == [GOOD[:6]]
    assert "Answer with one JSON value" in read[0]


def test_what_a_guard_did_to_the_question_is_told_although_it_reads_it_again(run):
    prompt = Prompt.from_string("Is it a badger?", output=Answer)
    result = run(Pipeline(prompt, Regex(["badger"], action="rewrite"), Scripted(BAD, GOOD, capabilities=CANNOT)))
    (verdict,) = result.verdicts
    assert (verdict.action, len(verdict.findings)) == ("rewrite", 1)


def test_a_mended_answer_that_a_guard_blocks_is_blocked(run):
    prompt = Prompt.from_string("Is it?", output={"answer": "str"})
    pipeline = Pipeline(prompt, Scripted("x", '{"answer": "badger"}', capabilities=CANNOT), Regex(["badger"]))
    result = run(pipeline)
    assert result.blocked
    assert (result.output, result.output_error) == (None, None)
    on_input = Pipeline(prompt, Regex(["badger"]), Scripted("a badger", capabilities=CANNOT))
    assert run(on_input).blocked  # what the repair would have shown the engine again


def test_true_values_that_were_put_back_do_not_go_out_with_a_repair(run):
    def answer(request):
        if len(request.messages) > 1:
            return GOOD
        masked = request.messages[0].text.splitlines()[0].removeprefix("Mail ")
        return f'{{"answer": "{masked}"}}'

    prompt = Prompt.from_string("Mail {{ to }}", output=Answer)
    engine = Scripted(answer, capabilities=CANNOT)
    result = run(Pipeline(prompt, PII(restore=True), engine), to="ada@example.com")
    assert result.output.score == 0.5
    assert "ada@example.com" not in repr([request.messages for request in engine.requests])
    (verdict,) = result.verdicts
    assert verdict.action == "rewrite"


def test_errors_name_fields_of_the_schema_and_nothing_that_the_model_wrote(run):
    schema = {"type": "object", "properties": {"n": {"type": "array", "items": {"type": "integer"}}}}
    schema["additionalProperties"] = {"type": "integer"}
    for answer, place in (('{"n": [1, "x"]}', "$.n[1]"), ('{"xyzzy": "plugh"}', "$.*")):
        result = run(asking(answer, output=schema, repairs=0)[0])
        assert result.output_error == f"schema mismatch at {place}: fails `type`"
        assert "plugh" not in json.dumps(result.call.to_json())


def test_of_several_choices_the_wrong_ones_are_mended(run):
    several = Response(choices=(Choice(text=GOOD), Choice(text=BAD), Choice(text="no")))
    engine = Scripted(several, GOOD.replace("yes", "b"), GOOD.replace("yes", "c"), capabilities=CANNOT)
    result = run(Pipeline(Prompt.from_string("Is it?", output=Answer, n=3), engine))
    assert [output.answer for output in result.outputs] == ["yes", "b", "c"]
    assert [request.n for request in engine.requests] == [3, 1, 1]
    assert len(result.response.choices) == 3


def test_a_call_of_a_tool_is_no_answer_to_mend(run):
    pipeline, engine = asking(ToolCall(id="1", name="f", arguments="{}"))
    result = run(pipeline)
    assert (result.outputs, result.output_error, len(engine.requests)) == ((), None, 1)


def test_a_stream_is_checked_at_its_end_and_not_mended(stream):
    pipeline, engine = asking(["```json\n", GOOD, "\n```"], [BAD])
    _, result = stream(pipeline)
    assert result.output.score == 0.5
    assert "Answer with one JSON value" in engine.requests[0].messages[0].text
    _, result = stream(pipeline)
    assert result.output_error == "schema mismatch at $.score: fails `float_parsing`"
    assert validated(result) == [(result.output_error, "no: a stream has been shown")]


def test_rows_of_a_map_are_typed_and_those_of_a_checkpoint_too(tmp_path):
    rows = [{"n": "1"}, {"n": "2"}]
    wrapped = f"So: {GOOD}"
    prompt = Prompt.from_string("{{ n }}", output=Answer)
    pipeline = Pipeline(prompt, Scripted(wrapped, BAD, capabilities=CANNOT), repairs=0)
    for resumed in (False, True):
        results = pipeline.map(rows, checkpoint=tmp_path / "rows.jsonl", concurrency=1)
        assert [result.resumed for result in results] == [resumed, resumed]
        assert results[0].output == Answer(answer="yes", score=0.5)
        assert results[1].output_error == "schema mismatch at $.score: fails `float_parsing`"
        assert results[0].call.prompt == prompt.ref


def test_json_takes_the_form_of_the_schema_in_the_prompts_file(run):
    pipeline, _ = asking('{"answer": "a", "tags": ["b"]}', output={"answer": "str", "tags": "list[str]"})
    assert run(pipeline).output == {"answer": "a", "tags": ["b"]}


def test_a_pipeline_with_repairs_survives_pickle_and_composition():
    pipeline, _ = asking(BAD, repairs=4)
    again = pickle.loads(pickle.dumps(pipeline)) | Regex(["badger"])
    assert again.run().call.attempts == 5


def test_a_repair_that_fails_keeps_the_choices_that_were_mended_before_it(run):
    several = Response(choices=(Choice(text="no"), Choice(text="nor this")))
    engine = Scripted(several, GOOD, ServerError("down"), capabilities=CANNOT)
    result = run(Pipeline(Prompt.from_string("Is it?", output=Answer, n=2), engine, repairs=5))
    assert [output and output.answer for output in result.outputs] == ["yes", None]
    assert result.output_error == "not json; the repair: ServerError"
    assert validated(result) == [("not json", "asked again"), ("not json", "no: ServerError")]
    assert len(engine.requests) == 3


def test_words_beside_the_call_of_a_tool_are_no_answer_to_mend(run):
    call = ToolCall(id="1", name="f", arguments="{}")
    answer = Response(choices=(Choice(text="Let me look.", tool_calls=(call,), finish_reason="tool_calls"),))
    pipeline, engine = asking(answer, GOOD)
    result = run(pipeline)
    assert (result.outputs, result.output_error, len(engine.requests)) == ((), None, 1)
    assert result.response.choices[0].tool_calls == (call,)


def test_the_words_are_not_put_into_what_a_tool_has_said_or_an_answer_begins_with(run):
    class Ends:
        def __init__(self, *messages):
            self.messages = messages

        def render(self):
            return Request(messages=self.messages)

        def output_for(self, _):
            return Prompt.from_string("x", output=Answer).output_for(None)

    call = ToolCall(id="1", name="f", arguments="{}")
    asked = Message(role="assistant", content="", tool_calls=(call,))
    for last in (Message(role="tool", content="found", tool_call_id="1"), Message.assistant("{")):
        engine = Scripted(GOOD, capabilities=CANNOT)
        assert run(Pipeline(Ends(Message.user("Is it?"), asked, last), engine)).output.answer == "yes"
        assert engine.requests[0].messages[-1] == last
        assert "Answer with one JSON value" in engine.requests[0].messages[0].text


def test_what_fits_until_true_values_are_put_back_is_asked_again_without_them(run):
    def answer(request):
        masked = request.messages[0].text.splitlines()[0].removeprefix("Mail ")
        return json.dumps({"to": masked})

    def short(value):
        if "@" in value:
            raise ValueError(f"{value} is too long")
        return value

    class Short(pydantic.BaseModel):
        to: Annotated[str, pydantic.AfterValidator(short)]

    engine = Scripted(answer, capabilities=CANNOT)
    prompt = Prompt.from_string("Mail {{ to }}", output=Short)
    result = run(Pipeline(prompt, PII(restore=True), engine), to="ada@example.com")
    assert result.output_error == "schema mismatch at $.to: fails `value_error`"
    first, again = engine.requests
    assert "ada@example.com" not in repr((first.messages, again.messages))
    assert again.messages[-1].text.splitlines()[1] == result.output_error
    assert "ada@example.com" not in json.dumps(result.call.to_json())


def test_nothing_of_an_answer_that_was_blocked_is_shown_again_or_told(run):
    @guard
    def careful(text):
        return Verdict.block("no") if "badger" in text else Verdict.allow()

    prompt = Prompt.from_string("Is it?", output=Answer)
    for pipeline, asked in (
        (Pipeline(prompt, Scripted("a badger", GOOD, capabilities=CANNOT), careful), 1),
        (Pipeline(prompt, Scripted("x", '{"answer": "badger"}', GOOD, capabilities=CANNOT), careful, repairs=3), 2),
    ):
        result = run(pipeline)
        assert (result.blocked, result.response, result.outputs) == (True, None, ())
        assert len(pipeline.engine.requests) == asked
        assert "badger" not in repr(pipeline.engine.requests) + result.text + str(result.explain())


def test_what_an_output_guard_has_rewritten_is_shown_again_as_rewritten(run):
    engine = Scripted("a badger", GOOD, capabilities=CANNOT)
    prompt = Prompt.from_string("Is it?", output=Answer)
    result = run(Pipeline(prompt, engine, Regex(["badger"], action="rewrite")))
    assert result.output.score == 0.5
    assert "badger" not in repr(engine.requests[1].messages)
    (verdict,) = result.verdicts
    assert verdict.action == "rewrite"


def test_a_cache_answers_the_question_and_its_repair_so_a_wrong_answer_costs_once():
    prompt = Prompt.from_string("Is it?", output=Answer)
    engine = Scripted(BAD, GOOD, capabilities=CANNOT)
    pipeline = prompt | Cached(engine)
    assert [pipeline.run().output.score for _ in range(3)] == [0.5] * 3
    assert len(engine.requests) == 2
    hopeless = Scripted(BAD, capabilities=CANNOT)
    pipeline = Pipeline(prompt, Cached(hopeless), repairs=10)
    errors = {pipeline.run().output_error for _ in range(3)}
    assert errors == {"schema mismatch at $.score: fails `float_parsing`"}
    assert len(hopeless.requests) == 2  # the same answer makes the same repair


def test_what_a_judge_costs_in_a_repair_is_in_the_runs_cost(run):
    prices = PriceTable({"scripted": {"input": 0, "output": 10**6}})  # a dollar a word
    judge = Judge(Scripted('{"violation": false, "confidence": 90}', name="judging"), "Is it fine?")
    engine = Scripted("no", '{"score":1}', capabilities=CANNOT)
    result = run(Pipeline(Prompt.from_string("Is it?", output={"score": "float"}), engine, judge, prices=prices))
    asides = [event for event in result.call.events if isinstance(event, Aside)]
    assert len(asides) == 2
    assert result.cost_usd == 2 + sum(event.attempt.cost_usd for event in asides)
    assert result.usage.output_tokens == 2


def test_a_hedged_router_mends_too(run):
    engines = [
        Scripted(BAD, GOOD, name=name, delay_s=delay, capabilities=CANNOT) for name, delay in (("a", 5), ("b", 0))
    ]
    result = run(Prompt.from_string("Is it?", output=Answer) | Router(engines, strategy="priority", hedge=0.01))
    assert (result.output.score, result.output_error) == (0.5, None)


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 500_000 + "]" * 500_000,
        '{"a":' * 100_000,
        "1" * 900_000,
        "```\n" + " " * 900_000,
        "```" + " \t" * 450_000 + "x",
        "```json\nx" + "\t" * 900_000,
        "x" * 10_000_000,
        '{"answer": "' + "x" * 10_000_000 + '", "score": 0.5}',
        json.dumps([{"n": n} for n in range(20_000)]),
    ],
    ids=["deep", "open", "number", "spaces", "opening", "tabs", "long", "long-json", "many"],
)
def test_answers_that_are_made_to_take_long_are_bounded(run, answer):
    started = time.perf_counter()
    schema = {"type": "array", "uniqueItems": True, "maxItems": 1}
    pipeline, engine = asking(answer, GOOD, output=schema)
    result = run(pipeline)
    assert result.output is None
    assert all(len(message.text) < 101_000 for request in engine.requests for message in request.messages)
    assert time.perf_counter() - started < 5  # seconds; without the bounds it is minutes
