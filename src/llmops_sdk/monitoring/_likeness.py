"""What an answer to a probe is like, beside the first answers to the same question."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from llmops_sdk.guards import Refusal
from llmops_sdk.pipelines import Result

__all__ = ["KEPT", "Likeness"]

KEPT = 5
"""How many first answers to a question are kept."""
_MOST_CHARACTERS = 2_000
_refusal = Refusal()


class Likeness:
    """The first answers to one question. They are not observed themselves: what follows is independent, given them."""

    __slots__ = ("_models", "_texts")

    def __init__(self, texts: Sequence[str] = (), models: Sequence[str] = ()) -> None:
        self._texts = list(texts)
        self._models = list(models)

    def read(self, result: Result) -> dict[str, float]:
        """The signals of an answer, by name; none of the first answers."""
        text = " ".join(result.text[:_MOST_CHARACTERS].split())
        model = (result.response.model if result.response is not None else None) or ""
        if len(self._texts) < KEPT:
            self._texts.append(text)
            self._models.append(model)
            return {}
        new = text not in self._texts
        signals = {
            "share of new answers": float(new),
            "share of another model's name": float(model not in self._models),
            "refusals": float(result.blocked or bool(_refusal.check(text).findings)),
            "distance to the first answers": min(map(self._distance, self._texts, [text] * KEPT)) if new else 0.0,
            "length": float(len(text)),
        }
        logprobs = result.response.choices[0].logprobs if result.response is not None else ()
        if logprobs:
            signals["log-probability"] = sum(token.logprob for token in logprobs) / len(logprobs)
        return signals

    @staticmethod
    def _distance(one: str, two: str) -> float:
        return 1 - SequenceMatcher(None, one, two, autojunk=False).ratio()

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {"texts": self._texts, "models": self._models}
