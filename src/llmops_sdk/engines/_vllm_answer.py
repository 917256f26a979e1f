"""From what vLLM's engine says to our chunks: token ids, log-probabilities, thoughts and tool calls.

Thoughts and tool calls are read by vLLM's own parsers, in the order in which `vllm serve` uses them
(`vllm/entrypoints/openai/chat_completion/serving.py`): the parser may change what is asked, then it reads the answer,
whole or in pieces.
"""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.errors import ConfigurationError, InvalidResponseError
from llmops_sdk.messages import Chunk, FinishReason, Request, TokenLogprob, ToolCall, Usage

__all__ = ["AnswerReader", "ParsedRequest", "Parsers", "asks_for_tools", "token_logprobs"]


def asks_for_tools(request: Request) -> bool:
    """Whether the answer may hold tool calls; with `tool_choice="none"` the model is not even told of the tools."""
    return bool(request.tools) and request.tool_choice != "none"


class Parsers:
    """vLLM's parsers of answers, by vLLM's own names. Making them imports them; vLLM has to be imported already.

    Args:
        tool_call: Name of the parser of tool calls.
        reasoning: Name of the parser of thoughts.

    Raises:
        ConfigurationError: vLLM knows no such name.
    """

    def __init__(self, tool_call: str | None, reasoning: str | None) -> None:
        tools = importlib.import_module("vllm.tool_parsers").ToolParserManager
        thoughts = importlib.import_module("vllm.reasoning").ReasoningParserManager
        _check_name("tool_call_parser", tool_call, tools.list_registered())
        _check_name("reasoning_parser", reasoning, thoughts.list_registered())
        self._tool_call, self._reasoning = tool_call, reasoning
        self._manager = importlib.import_module("vllm.parser").ParserManager
        self._chat_request = importlib.import_module(
            "vllm.entrypoints.openai.chat_completion.protocol"
        ).ChatCompletionRequest
        self._call_id = importlib.import_module("vllm.renderers.chat_utils").make_tool_call_id
        self._parser: Any = None
        self._model_config: Any = None
        self._tokenizer: Any = None

    def fit(self, model_config: Any, tokenizer: Any) -> None:
        """Make the parsers ready for a model.

        Raises:
            ConfigurationError: The model's tokenizer lacks what a parser needs.
        """
        self._model_config, self._tokenizer = model_config, tokenizer
        try:
            self._parser = self._manager.get_parser(
                tool_parser_name=self._tool_call,
                reasoning_parser_name=self._reasoning,
                enable_auto_tools=self._tool_call is not None,
                model_name=model_config.model,
                is_harmony=model_config.hf_config.model_type == "gpt_oss",
                tokenizer=tokenizer,
            )
        except TypeError as exc:
            raise ConfigurationError(f"another parser is needed for this model: {exc}") from exc

    def concern(self, request: Request) -> bool:
        """Whether the answer to `request` has to be read by a parser."""
        return self._reasoning is not None or asks_for_tools(request)

    def asked(self, request: Request, template: Mapping[str, Any], structure: Any) -> ParsedRequest:
        """`request` as the parser wants it to be asked.

        Args:
            request: What is asked.
            template: What the chat template is told besides the messages.
            structure: vLLM's `StructuredOutputsParams`, or `None`.

        Raises:
            ValueError: The tools are none in the OpenAI form.
        """
        values: dict[str, Any] = {
            "messages": chat_messages(request.messages),
            "structured_outputs": structure,
            "skip_special_tokens": request.extra.get("skip_special_tokens", True),
            "spaces_between_special_tokens": request.extra.get("spaces_between_special_tokens", True),
        }
        if asks_for_tools(request):
            choice = request.tool_choice or "auto"
            values["tools"] = [dict(tool) for tool in request.tools]
            values["tool_choice"] = choice if isinstance(choice, str) else dict(choice)
            values["parallel_tool_calls"] = request.extra.get("parallel_tool_calls", True)
        chat = self._chat_request(**values)
        tools = [tool.model_dump() for tool in chat.tools] if chat.tools else None
        if chat.tool_choice != "auto":  # the answer is a call for sure, so it may as well keep to the tool's schema
            for tool in chat.tools or ():
                if tool.function.strict is None:
                    tool.function.strict = True
        chat = self._new(chat, template).adjust_request(chat)
        return ParsedRequest(self, chat, template, tools)

    def _new(self, chat: Any, template: Mapping[str, Any]) -> Any:
        return self._parser(
            self._tokenizer, chat.tools, model_config=self._model_config, chat_template_kwargs=dict(template)
        )


class ParsedRequest:
    """A request whose answer a parser reads.

    Attributes:
        tools: Tool definitions for the chat template.
        tool_choice: How they are to be used, for renderers that tell the model.
        sampling: What the parser changed of the sampling parameters.
    """

    def __init__(
        self, parsers: Parsers, chat: Any, template: Mapping[str, Any], tools: list[dict[str, Any]] | None
    ) -> None:
        self._parsers = parsers
        self._chat = chat
        self._template = template
        self.tools = tools
        self.tool_choice = chat.tool_choice if tools else None
        self.sampling: dict[str, Any] = {
            "structured_outputs": chat.extract_structured_outputs(),
            "skip_special_tokens": chat.skip_special_tokens,
            "spaces_between_special_tokens": chat.spaces_between_special_tokens,
        }

    def engine_arguments(self, prompt: list[int]) -> dict[str, Any]:
        """What the engine has to know about thoughts: a structure begins to hold when they have ended."""
        parser = self._parsers._new(self._chat, self._template)
        kwargs = None if parser.reasoning_parser is None else {"chat_template_kwargs": dict(self._template)}
        ended = self._chat.resolve_reasoning_ended(parser, prompt)
        return {"reasoning_ended": ended, "reasoning_parser_kwargs": kwargs}

    def reader(self, prompt: list[int]) -> _ParsedChoice:
        """A reader for one of the answers."""
        new = self._parsers._new
        return _ParsedChoice(
            new(self._chat, self._template),
            new(self._chat, self._template),
            self._chat,
            prompt,
            self._parsers._call_id,
        )


class _ParsedChoice:
    """Reads one answer with parsers of its own: piece by piece as a stream, in one piece as a whole."""

    def __init__(self, parser: Any, whole: Any, chat: Any, prompt: list[int], call_id: Callable[[], str]) -> None:
        self._parser = parser
        self._whole = whole
        self._chat = chat
        self._prompt = prompt
        self._call_id = call_id
        self._texts: list[str] = []
        self._ids: list[int] = []
        self._blank: str | None = ""
        self._thinks = False
        self._pieces: dict[int, list[str]] = {}

    def read(self, text: str, ids: list[int], *, finished: bool) -> tuple[str, str, tuple[ToolCall, ...]]:
        """What is new: text, thoughts, and, when the answer is `finished`, its tool calls."""
        in_one_piece = finished and not self._texts
        self._texts.append(text)
        self._ids += ids
        text, reasoning = self._read_piece(text, ids, finished=finished)
        self._thinks = self._thinks or bool(reasoning)
        if not finished:
            return self._without_blank(text), reasoning, ()
        read = self._read_whole() if in_one_piece or self._chat.tools else (None, None, ())
        calls = self._calls(read[2]) if self._chat.tools else ()
        if in_one_piece:
            # Where the parser finds no calls it returns their broken markup; the reader of pieces leaves it out.
            text, reasoning = (read[1] if read[2] or not self._chat.tools else text) or "", read[0] or ""
            self._thinks = bool(reasoning)
        text = self._without_blank(text)
        return text or ("" if calls else self._blank or ""), reasoning, calls

    def _read_piece(self, text: str, ids: list[int], *, finished: bool) -> tuple[str, str]:
        delta = self._parser.parse_delta(text, ids, self._chat, self._prompt, finished=finished)
        if delta is None:
            return "", ""
        for piece in delta.tool_calls or ():
            call = self._pieces.setdefault(piece.index, ["", "", ""])
            call[0] = call[0] or piece.id or ""
            if piece.function is not None:
                call[1] += piece.function.name or ""
                call[2] += piece.function.arguments or ""
        return delta.content or "", delta.reasoning or ""

    def _read_whole(self) -> tuple[str | None, str | None, Any]:
        self._whole.set_prompt_token_ids(self._prompt)
        read: tuple[str | None, str | None, Any] = self._whole.parse("".join(self._texts), self._chat, True, self._ids)
        return read

    def _without_blank(self, text: str) -> str:
        """`text`, where the white space before a tool call is no answer: it waits for the text after it."""
        if not self._chat.tools or self._blank is None:
            return text
        self._blank += text
        if not self._blank.strip():
            return ""
        text, self._blank = self._blank, None
        return text

    def _calls(self, read: Any) -> tuple[ToolCall, ...]:
        # The pieces are only as good as the places where the answer was cut; the whole text tells all calls, but of
        # none where the last one is cut off or broken.
        calls = [(call.id or "", call.name, call.arguments) for call in read or ()]
        if not calls:
            joined = [self._pieces[index] for index in sorted(self._pieces)]
            calls = [(id_, name, arguments) for id_, name, arguments in joined[:-1] if _is_json(arguments)]
        if self._chat.parallel_tool_calls is False:
            del calls[1:]
        return tuple(
            ToolCall(id=id_ or self._call_id(), name=name, arguments=arguments) for id_, name, arguments in calls
        )

    def reasoning_tokens(self) -> int:
        """Tokens of the thoughts so far, as the parser counts them."""
        count = self._parser.count_reasoning_tokens
        counted = int(count(self._ids))
        if counted == 0 and self._thinks:  # the mark that begins the thoughts is in the prompt
            counted = max(0, int(count(self._prompt + self._ids)) - int(count(self._prompt)))
        return counted


class AnswerReader:
    """Turns vLLM's outputs for one request into chunks; nothing that comes with a token is lost.

    Args:
        prompt: The tokens of the prompt.
        parsed: How the answer is to be read, `None`: its text is the answer.
        likeliest: How many of the likeliest tokens were asked for at each place.
        labels: `engine`, `model` and `id` of each chunk.
    """

    def __init__(
        self, prompt: list[int], parsed: ParsedRequest | None, likeliest: int | None, labels: Mapping[str, Any]
    ) -> None:
        self._prompt = prompt
        self._parsed = parsed
        self._likeliest = likeliest or 0
        self._labels = labels
        self._choices: dict[int, _ParsedChoice] = {}
        self._held: dict[int, tuple[tuple[int, ...], tuple[TokenLogprob, ...]]] = {}
        self._output_tokens = 0
        self._cached = 0

    def read(self, output: Any, finish: Callable[[str], FinishReason]) -> Iterator[Chunk]:
        """The chunks that one of vLLM's outputs stands for; `finish` maps vLLM's finish reason to ours."""
        self._cached = output.num_cached_tokens or self._cached
        for one in output.outputs:
            index: int = one.index
            ids = tuple(one.token_ids)
            logprobs = token_logprobs(ids, one.logprobs, self._likeliest) if one.logprobs else ()
            self._output_tokens += len(ids)
            finished: FinishReason | None = None
            usage, reasoning, text = None, "", one.text
            calls: tuple[ToolCall, ...] = ()
            if one.finish_reason is not None:
                finished = finish(one.finish_reason)
            if self._parsed is not None:
                text, reasoning, calls = self._parse(
                    self._parsed, index, text, list(ids), finished=finished is not None
                )
                if calls and finished == "stop":
                    finished = "tool_calls"
            if index in self._held:
                held = self._held.pop(index)
                ids, logprobs = held[0] + ids, held[1] + logprobs
            if finished is not None:
                if output.finished:
                    usage = self._usage()
            elif not text and not reasoning:  # half a character, what may become a stop text, or part of a tool call
                if ids:
                    self._held[index] = ids, logprobs
                continue
            yield Chunk(
                text=text,
                index=index,
                tool_calls=calls,
                finish_reason=finished,
                usage=usage,
                reasoning=reasoning,
                logprobs=logprobs,
                token_ids=ids,
                **self._labels,
            )

    def _parse(
        self, parsed: ParsedRequest, index: int, text: str, ids: list[int], *, finished: bool
    ) -> tuple[str, str, tuple[ToolCall, ...]]:
        try:
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = parsed.reader(self._prompt)
            return choice.read(text, ids, finished=finished)
        except Exception as exc:  # a parser may stumble in any way over what a model wrote
            raise InvalidResponseError(
                f"vLLM's parser could not read the answer: {type(exc).__name__}: {exc}",
                body=text.encode("utf-8", "replace"),
                engine=self._labels.get("engine"),
                model=self._labels.get("model"),
            ) from exc

    def _usage(self) -> Usage:
        return Usage(
            input_tokens=len(self._prompt),
            output_tokens=self._output_tokens,
            cached_input_tokens=self._cached,
            reasoning_tokens=sum(choice.reasoning_tokens() for choice in self._choices.values()),
        )


def token_logprobs(ids: Sequence[int], places: Sequence[Any], likeliest: int) -> tuple[TokenLogprob, ...]:
    """Read what vLLM says of the tokens `ids`: for each a mapping from token ids to log-probabilities.

    The token that was taken always stands there, so one more than the `likeliest` ones may.
    """
    read = []
    for token, place in zip(ids, places, strict=True):
        taken = place[token]
        top = sorted((one for one in place.values() if one.rank <= likeliest), key=lambda one: one.rank)
        read.append(
            TokenLogprob(
                token=taken.decoded_token or "",
                logprob=taken.logprob,
                top=tuple((one.decoded_token or "", one.logprob) for one in top),
            )
        )
    return tuple(read)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _check_name(option: str, name: str | None, known: list[str]) -> None:
    if name is not None and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(f"vLLM has no {option} {name!r}{hint} It knows {', '.join(sorted(known))}")
