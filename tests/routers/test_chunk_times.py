"""When each chunk of a stream came is in the record, for next to nothing and in bounded memory."""

import pytest

from llmops_sdk import Router, Scripted
from llmops_sdk.calls import AttemptEnded, Call
from llmops_sdk.errors import StreamInterrupted
from llmops_sdk.messages import Chunk, Request
from llmops_sdk.routers import Leg, Priority
from llmops_sdk.virtual_time import run_in_virtual_time

ASKED = Request.of("hi")


class Pieces:
    """An engine that streams so many chunks."""

    name = model = provider = "pieces"

    def __init__(self, number):
        self.number = number

    async def agenerate(self, request):
        raise NotImplementedError

    async def astream(self, request):
        for _ in range(self.number):
            yield Chunk(text="x")


def ended(call):
    return [event for event in call.events if isinstance(event, AttemptEnded)]


def since_start(event):
    return [pytest.approx(moment - event.started) for moment in event.chunk_times]


async def read(stream):
    async for _ in stream:
        pass


def test_the_time_of_every_chunk_is_recorded_from_the_first_on():
    async def main():
        call = Call()
        await read(Leg(Scripted(["a", "b", "c"], delay_s=1.0, chunk_delay_s=0.25)).stream(ASKED, call))
        return ended(call)[0]

    event = run_in_virtual_time(main())
    assert since_start(event) == [1.25, 1.5, 1.75, 1.75]
    assert event.chunk_times[0] == event.first_chunk_at
    assert event.chunks == len(event.chunk_times) == 4


def test_a_stream_that_breaks_keeps_the_times_so_far():
    async def main():
        call = Call()
        engine = Scripted(["a", "b", StreamInterrupted("cut", partial_text="ab")], chunk_delay_s=0.5)
        with pytest.raises(StreamInterrupted):
            await read(Leg(engine).stream(ASKED, call))
        return ended(call)[0]

    event = run_in_virtual_time(main())
    assert since_start(event) == [0.5, 1.0]
    assert event.chunks == 2


@pytest.mark.parametrize("number", [0, 1, 16_383, 16_384, 16_385, 40_000])
async def test_of_a_very_long_stream_the_times_of_the_beginning_are_kept(number):
    call = Call()
    await read(Leg(Pieces(number)).stream(ASKED, call))
    (event,) = ended(call)
    assert event.chunks == number
    assert len(event.chunk_times) == min(number, 16_384)
    assert list(event.chunk_times) == sorted(event.chunk_times)


async def test_an_answer_in_one_piece_has_no_chunk_times():
    call = Call()
    await Leg(Scripted("a")).generate(ASKED, call)
    assert ended(call)[0].chunk_times == ()


def test_each_stream_of_a_hedge_has_its_own_times():
    async def main():
        call = Call()
        slow = Scripted(["a", "b"], delay_s=9.0, name="slow")
        fast = Scripted(["c", "d"], chunk_delay_s=0.2, name="fast")
        await read(Router([slow, fast], strategy=Priority(), hedge=1.0).astream(ASKED.bound_to(call)))
        return ended(call)

    by_engine = {event.engine: since_start(event) for event in run_in_virtual_time(main())}
    assert by_engine == {"slow": [], "fast": [0.2, 0.4, 0.4]}
