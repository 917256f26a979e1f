"""A stand-in for `tensorrt_llm.llmapi`, which runs on NVIDIA GPUs only: it computes nothing.

It proves the control flow of our engine (streams, aborting, errors, event loops, closing), and no more. It knows the
names that `tensorrt_llm_api.json` has, which were read in TensorRT-LLM's source, and refuses all others. Like the real
one it hands out new tokens on one event loop, gives texts that grow, and tells only the last of several choices why it
ended. A token is a character. What it does is told by the last message, see `_Work`.
"""

import asyncio
import contextlib
import json
import pathlib
import threading
import time
from typing import ClassVar

_API = json.loads((pathlib.Path(__file__).parent / "tensorrt_llm_api.json").read_text())
_CLASSES = _API["classes"]
STEP_S = 0.003


class RequestError(RuntimeError):
    pass


def _record(name, *required):
    """A class with the fields that the source has; it refuses others, to be set or to be read."""

    class Record:
        __slots__ = tuple(_CLASSES[name]["members"])

        def __init__(self, *args, **values):
            for field, value in zip(required, args, strict=False):
                setattr(self, field, value)
            for field, value in values.items():
                if field not in self.__slots__:
                    raise TypeError(f"{name}.__init__() got an unexpected keyword argument {field!r}")
                setattr(self, field, value)

        def asked(self):
            return {field: getattr(self, field) for field in self.__slots__ if hasattr(self, field)}

    Record.__name__ = Record.__qualname__ = name
    return Record


GuidedDecodingParams = _record("GuidedDecodingParams")
KvCacheConfig = _record("KvCacheConfig")
LoRARequest = _record("LoRARequest", "lora_name", "lora_int_id", "lora_path")
CompletionOutput = _record("CompletionOutput")
Logprob = _record("Logprob")


class SamplingParams(_record("SamplingParams")):
    def __init__(self, **values):
        super().__init__(**values)
        if values.get("top_p", 1) > 1:
            raise ValueError(f"require 0 <= top_p <= 1, got top_p={values['top_p']}")
        if values["n"] > 1 and not {"temperature", "top_p", "top_k"} & values.keys():
            raise ValueError("Greedy decoding in the LLM API does not allow multiple returns.")


class _Tokenizer:
    def apply_chat_template(self, conversation, *, tokenize, add_generation_prompt, chat_template="", **told):
        assert tokenize is False
        texts = [f"<{message['role']}>{message['content']}" for message in conversation]
        return chat_template + "".join(texts) + "".join(map(str, told.values())) + "<a>" * add_generation_prompt

    def encode(self, text, add_special_tokens):
        assert add_special_tokens is False
        return [ord(character) for character in text]

    def decode(self, token_ids):
        return "".join(map(chr, token_ids))


class _Result:
    __slots__ = (
        "_aborted",
        "_gone",
        "_loop",
        "_params",
        "_queue",
        *_CLASSES["GenerationResult"]["members"],
        *_CLASSES["GenerationResultBase"]["members"],
    )

    def __init__(self, tokens, params):
        self._aborted = threading.Event()
        self._gone = False
        self._loop = asyncio.get_running_loop()
        self._params = params
        self._queue = asyncio.Queue()
        self.prompt_token_ids, self.cached_tokens, self.finished = tokens, 2, False
        self.outputs = [
            CompletionOutput(index=index, text="", token_ids=[], logprobs=[], finish_reason=None)
            for index in range(params.n)
        ]

    def put(self, *step):
        with contextlib.suppress(RuntimeError):  # the loop has ended; the real one logs it
            self._loop.call_soon_threadsafe(self._queue.put_nowait, step)

    def abort(self):
        LLM.aborted += 1
        self._aborted.set()

    async def __anext__(self):
        index, character, reason, final, error = await self._queue.get()
        if error is not None:
            raise error
        output = self.outputs[index]
        if character:
            token = ord(character)
            output.text += character
            output.token_ids.append(token)
            if getattr(self._params, "logprobs", None):
                likely = {token + place: Logprob(logprob=-0.5 - place) for place in range(self._params.logprobs)}
                output.logprobs.append(likely)
        for stop in getattr(self._params, "stop", ()):
            if stop in output.text:
                output.text, reason, final = output.text[: output.text.find(stop)], "stop", True
        self.finished = final
        if final:
            output.finish_reason = reason
        return self

    async def aresult(self):
        while not self.finished:
            await self.__anext__()
        return self


class _Work(threading.Thread):
    """The worker of one request. The last message says what it is to do: a text to say, or a way to fail."""

    def __init__(self, llm, result, asked):
        super().__init__(daemon=True)
        self._llm, self._result, self._asked = llm, result, asked

    def run(self):
        try:
            self._work()
        finally:
            LLM.at_work.discard(self)

    def _work(self):
        kind, _, rest = self._asked.partition(":")
        if kind == "refuse":
            self._result.put(0, "", None, False, RequestError(rest))
        elif kind == "crash":
            self._llm.down = True
            self._result.put(0, "", None, False, RuntimeError("CUDA error: an illegal memory access"))
        elif kind == "hang":  # its worker process was killed: there will be no answer, not even to an abort
            return
        elif kind == "end":
            self._result.put(0, "", rest, True, None)
        else:
            self._say(rest if kind == "say" else "Hello dear world")

    def _say(self, text):
        params = self._result._params
        most = params.max_tokens if params.max_tokens is not None else len(text)
        reason = "length" if most < len(text) else "stop"
        text = text[:most]
        last = params.n - 1
        for place, character in enumerate(text):
            for index in range(params.n):
                if self._result._aborted.is_set():
                    self._result.put(index, "", "cancelled", True, None)
                    return
                final = place == len(text) - 1 and index == last
                self._result.put(index, character, reason, final, None)
            time.sleep(STEP_S)


class _Args:
    def __init__(self, arguments):
        self.max_seq_len = arguments.get("max_seq_len")


class LLM:
    started: ClassVar[list] = []
    calls: ClassVar[list] = []
    aborted = 0
    at_work: ClassVar[set] = set()

    def __init__(self, model, **arguments):
        known = {*_CLASSES["BaseLLM"]["functions"]["__init__"], *_CLASSES["BaseLlmArgs"]["members"]}
        for name in arguments:
            if name not in known | {"enable_iter_perf_stats", "fails"}:
                raise ValueError(f"LLM got invalid argument: {name}")
        if "fails" in arguments:
            raise arguments["fails"]
        self.arguments = {"model": model, **arguments}
        self.args = _Args(arguments)
        self.tokenizer = _Tokenizer()
        self.loop = None
        self.down = False
        self.shut_down_in = None
        LLM.started.append(self)

    def generate_async(self, inputs, **options):
        unknown = options.keys() - set(_CLASSES["BaseLLM"]["functions"]["generate_async"])
        assert not unknown, unknown
        if self.down:
            raise RuntimeError("LLM is shutting down")
        here = asyncio.get_running_loop()
        self.loop = self.loop or here
        assert self.loop is here, "TensorRT-LLM tells all streams of new tokens on one loop"
        LLM.calls.append({"inputs": inputs, **options})
        result = _Result(inputs, options["sampling_params"])
        text = self.tokenizer.decode(inputs)
        work = _Work(self, result, text.rpartition(">")[0].removesuffix("<a").rpartition(">")[2])
        LLM.at_work.add(work)
        work.start()
        return result

    async def _told(self, one):
        yield one

    def get_stats_async(self, timeout):
        return self._told({"iter": 1})

    def get_kv_cache_events_async(self, timeout):
        return self._told({"event_id": 1})

    def shutdown(self):
        self.down = True
        self.shut_down_in = threading.current_thread().name
