"""Reading vLLM's outputs without vLLM; what needs its parsers or its engine is in `test_vllm_answer.py`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.engines._vllm_answer import AnswerReader, token_logprobs
from llmops_sdk.messages import Chunk, ChunkJoiner, FinishReason, TokenLogprob


def known(logprob: float, rank: int, token: str) -> SimpleNamespace:
    return SimpleNamespace(logprob=logprob, rank=rank, decoded_token=token)


def finish(reason: str) -> FinishReason:
    return "length" if reason == "length" else "stop"


def read(outputs: list[Any]) -> list[Chunk]:
    reader = AnswerReader([1, 2, 3], None, 1, {"engine": "vllm", "model": "m", "id": "vllm-1"})
    return [chunk for output in outputs for chunk in reader.read(output, finish)]


def output(*pieces: SimpleNamespace, finished: bool = False) -> SimpleNamespace:
    return SimpleNamespace(outputs=list(pieces), finished=finished, num_cached_tokens=2)


def piece(text: str, ids: list[int], reason: str | None = None, index: int = 0) -> SimpleNamespace:
    places = [{number: known(-0.5, 1, str(number))} for number in ids]
    return SimpleNamespace(index=index, text=text, token_ids=ids, logprobs=places, finish_reason=reason)


def test_the_likeliest_tokens_stand_in_order_and_the_taken_one_beside_them() -> None:
    place = {7: known(-4.0, 9, "c"), 5: known(-0.1, 1, "a"), 6: known(-2.0, 2, "b")}
    assert token_logprobs([7], [place], 2) == (TokenLogprob(token="c", logprob=-4.0, top=(("a", -0.1), ("b", -2.0))),)
    assert token_logprobs([5], [{5: known(-0.1, 1, "a")}], 0) == (TokenLogprob(token="a", logprob=-0.1),)


def test_tokens_without_text_wait_for_the_next_text() -> None:
    chunks = read(
        [output(piece("", [1])), output(piece("", [])), output(piece("é", [2])), output(piece("", [3], "stop"))]
    )
    assert [(chunk.text, chunk.token_ids) for chunk in chunks] == [("é", (1, 2)), ("", (3,))]
    assert [one.token for one in chunks[0].logprobs] == ["1", "2"]
    assert [chunk.finish_reason for chunk in chunks] == [None, "stop"]


def test_the_last_chunk_of_all_has_the_usage() -> None:
    first = output(piece("a", [1], "length"), piece("b", [2], index=1))
    chunks = read([first, output(piece("c", [3, 4], "stop", index=1), finished=True)])
    assert [chunk.usage is not None for chunk in chunks] == [False, False, True]
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens) == (3, 4, 2, 0)


@given(st.lists(st.tuples(st.sampled_from(["", "", "a", "bc"]), st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_nothing_that_comes_with_a_token_is_lost(said: list[tuple[str, int, int]]) -> None:
    outputs, texts, ids = [], [""] * 3, [[] for _ in range(3)]  # type: ignore[var-annotated]
    for number, (text, count, index) in enumerate(said):
        new = [number * 10 + place for place in range(count)]
        outputs.append(output(piece(text, new, index=index)))
        texts[index] += text
        ids[index] += new
    outputs.append(output(*(piece("", [], "stop", index) for index in range(3)), finished=True))
    joiner = ChunkJoiner()
    for chunk in read(outputs):
        joiner.add(chunk)
    choices = joiner.response().choices
    assert [choice.text for choice in choices] == texts
    assert [list(choice.token_ids) for choice in choices] == ids
    assert [[one.token for one in choice.logprobs] for choice in choices] == [list(map(str, row)) for row in ids]
