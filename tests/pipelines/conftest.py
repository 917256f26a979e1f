"""Every pipeline test that takes `run` is run twice: through the sync face and through the async one."""

import asyncio

import pytest


@pytest.fixture(params=["run", "arun"])
def run(request):
    """`run(pipeline, ...)`: the result, by `pipeline.run` or by `pipeline.arun`."""
    if request.param == "run":
        return lambda pipeline, *given, **options: pipeline.run(*given, **options)

    def through_a_loop(pipeline, *given, **options):
        return asyncio.run(pipeline.arun(*given, **options))

    return through_a_loop


@pytest.fixture(params=["stream", "astream"])
def stream(request):
    """`stream(pipeline, ...)`: the chunks' texts and the result, by `pipeline.stream` or by `pipeline.astream`."""
    if request.param == "stream":

        def sync(pipeline, *given, **options):
            chunks = pipeline.stream(*given, **options)
            return [chunk.text for chunk in chunks if chunk.text], chunks.result

        return sync

    def through_a_loop(pipeline, *given, **options):
        async def collect():
            chunks = pipeline.astream(*given, **options)
            return [chunk.text async for chunk in chunks if chunk.text], chunks.result

        return asyncio.run(collect())

    return through_a_loop
