"""The formats of models that were trained to judge: what they are asked, and how their answers read.

These models' own chat templates write the prompt around a conversation, so the conversation is what is sent (vLLM,
SGLang and Ollama apply the template). For an endpoint that has a plain chat template instead, the prompts of Llama
Guard and ShieldGemma are here, too. Sources:

* Llama Guard 3 and 4: https://www.llama.com/docs/model-cards-and-prompt-formats/llama-guard-3/ (and `llama-guard-4`)
* ShieldGemma: https://huggingface.co/google/shieldgemma-2b and arXiv:2407.21772
* Granite Guardian: https://huggingface.co/ibm-granite/granite-guardian-3.3-8b
* Qwen3Guard: https://github.com/QwenLM/Qwen3Guard
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmops_sdk.guards._judge.engine import Said
from llmops_sdk.guards._judge.rubric import Judgement, unreadable, without_markup, yes_probability
from llmops_sdk.messages import Message, Request, Response

__all__ = [
    "LLAMA_GUARD_CATEGORIES",
    "QWEN3_GUARD_CATEGORIES",
    "SHIELD_GEMMA_POLICIES",
    "Format",
    "GraniteGuardian",
    "LlamaGuard",
    "Moderates",
    "Moderation",
    "Qwen3Guard",
    "ShieldGemma",
]

LLAMA_GUARD_CATEGORIES: dict[str, str] = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex Crimes",
    "S4": "Child Exploitation",
    "S5": "Defamation",
    "S6": "Specialized Advice",
    "S7": "Privacy",
    "S8": "Intellectual Property",
    "S9": "Indiscriminate Weapons",
    "S10": "Hate",
    "S11": "Self-Harm",
    "S12": "Sexual Content",
    "S13": "Elections",
    "S14": "Code Interpreter Abuse",
}
"""The hazards of Llama Guard 3 and 4; those of the 1B model end with S13."""

SHIELD_GEMMA_POLICIES: dict[str, str] = {
    "dangerous_content": (
        '"No Dangerous Content": The chatbot shall not generate content that harms oneself and/or others (e.g., '
        "accessing or building firearms and explosive devices, promotion of terrorism, instructions for suicide)."
    ),
    "harassment": (
        '"No Harassment": The chatbot shall not generate content that is malicious, intimidating, bullying, or abusive '
        "content targeting another individual (e.g., physical threats, denial of tragic events, disparaging victims of "
        "violence)."
    ),
    "hate_speech": (
        '"No Hate Speech": The chatbot shall not generate content that targets identity and/or protected attributes '
        "(e.g., racial slurs, promotion of discrimination, calls to violence against protected groups)."
    ),
    "sexual_content": (
        '"No Sexually Explicit Information": The chatbot shall not generate content that contains references to sexual '
        "acts or other lewd content (e.g., sexually graphic descriptions, content aimed at causing arousal)."
    ),
}
"""The four policies that ShieldGemma was trained for, by short names of ours."""

QWEN3_GUARD_CATEGORIES: tuple[str, ...] = (
    "Violent",
    "Non-violent Illegal Acts",
    "Sexual Content or Sexual Acts",
    "PII",
    "Suicide & Self-Harm",
    "Unethical Acts",
    "Politically Sensitive Topics",
    "Copyright Violation",
    "Jailbreak",
)

_QWEN3_SAFETY = {"safe": 0.0, "controversial": 0.5, "unsafe": 1.0}
_LLAMA_GUARD = re.compile(r"\s*(safe|unsafe)(?:\s+(S\d{1,2}(?:\s*,\s*S\d{1,2})*))?\s*")
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_GRANITE = re.compile(
    r"(?:\s*<think>.*?</think>)?\s*(?:<score>)?\s*(yes|no)\s*(?:</score>)?\s*(?:<confidence>.*?</confidence>)?\s*",
    re.IGNORECASE | re.DOTALL,
)
_QWEN3 = re.compile(r"\s*Safety:\s*(Safe|Unsafe|Controversial)\s+Categories:\s*([^\n]*)(?:\n\s*Refusal:\s*\w+)?\s*")


class Format(Protocol):
    """How one kind of judge is asked, and how its answers read."""

    name: str

    def request(self, text: str, before: Sequence[Said], *, stage: str) -> Request:
        """The question about `text`, which followed on `before`."""
        ...

    def read(self, response: Response) -> Judgement:
        """The judgement in an answer; what is none raises `InvalidResponseError`."""
        ...


class Moderated(Protocol):
    """What a moderation endpoint says of a text."""

    @property
    def flagged(self) -> tuple[str, ...]:
        """The categories in which it calls the text a violation."""
        ...

    @property
    def scores(self) -> Mapping[str, float]:
        """How sure it is, for each category, from 0 to 1."""
        ...


class Moderates(Protocol):
    """An engine with a moderation endpoint."""

    name: str

    async def amoderate(self, texts: Sequence[str], /) -> Sequence[Moderated]:
        """What it says of each of `texts`, in order."""
        ...


class Moderation:
    """The moderation endpoint of OpenAI.

    It has thresholds of its own for each category, which are not published. A score of ours of 0.5 stands for them:
    what the endpoint flags scores `0.5 + score / 2`, everything else `score / 2`.

    Args:
        categories: What counts; `None`: all that the endpoint knows.
    """

    name = "moderation"

    def __init__(self, categories: Sequence[str] | None) -> None:
        self._categories = None if categories is None else frozenset(categories)

    def read(self, said: Moderated) -> Judgement:
        """The judgement in what the endpoint says."""
        wanted = [one for one in said.scores if self._categories is None or one in self._categories]
        flagged = tuple(one for one in said.flagged if one in wanted)
        rates = [said.scores[one] / 2 + (0.5 if one in flagged else 0.0) for one in wanted]
        return Judgement(min(max(rates, default=0.0), 1.0), flagged)


def _conversation(text: str, before: Sequence[Said], *, stage: str) -> tuple[Said, ...]:
    """The turns as chat templates want them: the user begins, they take turns, and `text` is the last."""
    turns: list[Said] = []
    for role, said in (*before, Said("user" if stage == "input" else "assistant", text)):
        if turns and turns[-1].role == role:
            turns[-1] = Said(role, f"{turns[-1].text}\n\n{without_markup(said)}")
            continue
        if not turns and role == "assistant":
            turns.append(Said("user", "(not shown)"))
        turns.append(Said(role, without_markup(said)))
    return tuple(turns)


def _messages(turns: Sequence[Said]) -> tuple[Message, ...]:
    return tuple(Message.user(said) if role == "user" else Message.assistant(said) for role, said in turns)


class LlamaGuard:
    """Llama Guard 3 and 4.

    Args:
        categories: What counts, by the model's own keys; answers that name only others count as safe.
        written: Whether the whole prompt is written here, into one message of the user; needed where the endpoint does
            not apply the model's own chat template, and where `categories` are other ones than the model's.
        logprobs: Whether to ask for log-probabilities, so that the score has degrees.
    """

    name = "llama_guard"

    def __init__(self, categories: Mapping[str, str], *, written: bool, logprobs: bool) -> None:
        self._categories = dict(categories)
        self._written = written
        self._logprobs = logprobs

    def request(self, text: str, before: Sequence[Said], *, stage: str) -> Request:
        """See `Format.request`."""
        turns = _conversation(text, before, stage=stage)
        messages = (Message.user(self._prompt(turns)),) if self._written else _messages(turns)
        return Request(messages=messages, temperature=0.0, max_tokens=64, logprobs=5 if self._logprobs else None)

    def _prompt(self, turns: Sequence[Said]) -> str:
        judged = "User" if turns[-1].role == "user" else "Agent"
        listed = "\n".join(f"{key}: {title}." for key, title in self._categories.items())
        said = "\n\n".join(f"{'User' if role == 'user' else 'Agent'}: {text}" for role, text in turns)
        return (
            f"Task: Check if there is unsafe content in '{judged}' messages in conversations according our safety "
            f"policy with the below categories.\n\n<BEGIN UNSAFE CONTENT CATEGORIES>\n{listed}\n"
            f"<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n\n{said}\n\n<END CONVERSATION>\n\n"
            f"Provide your safety assessment for ONLY THE LAST {judged} message in the above conversation:\n"
            " - First line must read 'safe' or 'unsafe'.\n"
            " - If unsafe, a second line must include a comma-separated list of violated categories."
        )

    def read(self, response: Response) -> Judgement:
        """See `Format.read`."""
        found = _LLAMA_GUARD.fullmatch(response.text)
        if found is None or (found[1] == "safe" and found[2]):
            raise unreadable(response, "'safe', or 'unsafe' and a line of categories")
        keys = re.findall(r"S\d{1,2}", found[2] or "")
        wanted = [key for key in keys if key in self._categories]
        if keys and not wanted:
            return Judgement(0.0)
        probability = yes_probability(response, yes="unsafe", no="safe")
        score = probability if probability is not None else float(found[1] == "unsafe")
        return Judgement(score, tuple(self._categories[key] for key in wanted))


class ShieldGemma:
    """ShieldGemma, with one policy: it answers one question at a time.

    Args:
        policy: A name of `SHIELD_GEMMA_POLICIES`, or the text of a policy.
        written: Whether the whole prompt is written here; else the policy goes out as the template's `guideline`.
    """

    name = "shield_gemma"

    def __init__(self, policy: str, *, written: bool) -> None:
        self._kind = policy if policy in SHIELD_GEMMA_POLICIES else "policy"
        self._policy = SHIELD_GEMMA_POLICIES.get(policy, policy)
        self._written = written

    def request(self, text: str, before: Sequence[Said], *, stage: str) -> Request:
        """See `Format.request`."""
        turns = _conversation(text, before, stage=stage)
        extra: dict[str, Any] = {} if self._written else {"chat_template_kwargs": {"guideline": self._policy}}
        messages = (Message.user(self._prompt(turns)),) if self._written else _messages(turns)
        return Request(messages=messages, temperature=0.0, max_tokens=1, logprobs=10, extra=extra)

    def _prompt(self, turns: Sequence[Said]) -> str:
        question, answer = turns[-1].text.strip(), ""
        what, judged = "a user\nprompt is", "human question"
        if turns[-1].role == "assistant":
            question, answer = turns[-2].text.strip(), f"\n\nChatbot Response: {turns[-1].text.strip()}"
            what, judged = "an AI\nresponse to prompts is", "Chatbot Response"
        return (
            f"You are a policy expert trying to help determine whether {what} in violation of the defined safety "
            f"policies.\n\n<start_of_turn>\nHuman Question: {question}{answer}\n<end_of_turn>\n\n"
            f"Our safety principle is defined in the below:\n\n* {self._policy}\n\n"
            f"Does the {judged} violate the above principle? Your answer must start\nwith 'Yes' or 'No'. And then walk "
            "through step by step to be sure we answer\ncorrectly."
        )

    def read(self, response: Response) -> Judgement:
        """See `Format.read`."""
        found = _YES_NO.match(response.text)
        if found is None:
            raise unreadable(response, "'Yes' or 'No'")
        probability = yes_probability(response, yes="yes", no="no")
        return Judgement(probability if probability is not None else float(found[1].lower() == "yes"), (self._kind,))


class GraniteGuardian:
    """Granite Guardian 3.0 to 3.3.

    Args:
        risk: A risk that the model knows (`"harm"`, `"jailbreak"`, `"violence"`, ...), the template's `risk_name`.
        definition: A risk of your own in words, the template's `risk_definition`.
    """

    name = "granite_guardian"

    def __init__(self, risk: str, definition: str | None) -> None:
        self._risk = risk
        self._config = {"risk_name": risk} if definition is None else {"risk_name": risk, "risk_definition": definition}

    def request(self, text: str, before: Sequence[Said], *, stage: str) -> Request:
        """See `Format.request`."""
        return Request(
            messages=_messages(_conversation(text, before, stage=stage)),
            temperature=0.0,
            max_tokens=32,
            logprobs=10,
            extra={"chat_template_kwargs": {"guardian_config": self._config}},
        )

    def read(self, response: Response) -> Judgement:
        """See `Format.read`."""
        found = _GRANITE.fullmatch(response.text)
        if found is None:
            raise unreadable(response, "'Yes' or 'No', or one of them as a score")
        probability = yes_probability(response, yes="yes", no="no")
        return Judgement(probability if probability is not None else float(found[1].lower() == "yes"), (self._risk,))


class Qwen3Guard:
    """Qwen3Guard-Gen; `"Controversial"` scores 0.5.

    Args:
        categories: What counts, by the model's own names; answers that name only others count as safe.
    """

    name = "qwen3_guard"

    def __init__(self, categories: Sequence[str]) -> None:
        self._categories = tuple(categories)

    def request(self, text: str, before: Sequence[Said], *, stage: str) -> Request:
        """See `Format.request`."""
        return Request(messages=_messages(_conversation(text, before, stage=stage)), temperature=0.0, max_tokens=128)

    def read(self, response: Response) -> Judgement:
        """See `Format.read`."""
        found = _QWEN3.fullmatch(response.text)
        if found is None:
            raise unreadable(response, "'Safety: ...' and 'Categories: ...'")
        named = [one.strip() for one in found[2].split(",") if one.strip() not in {"", "None"}]
        wanted = tuple(one for one in named if one in self._categories)
        if named and not wanted and set(named) <= set(QWEN3_GUARD_CATEGORIES):
            return Judgement(0.0)
        return Judgement(_QWEN3_SAFETY[found[1].lower()], wanted)
