"""The three parts of a data set: what prompts learn from, what they are tried on, and what judges the best of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.given import is_number
from llmops_sdk.pipelines import configuration_hash
from llmops_sdk.prompts import Prompt

__all__ = ["Parts", "parts_of"]

_PARTS = ("train", "trials", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts. No cluster, and no question, is in two of them.

    Attributes:
        train: Demonstrations come from here, and what the proposer is shown.
        trials: Candidates are tried on these, in this order.
        test: The judgement is on these, which the search never sees; where it is cut short, on the first ones.
        left_out: Cases of the data set that are in no part: the prompt shows them as examples, or another part asks
            the same.
    """

    train: tuple[Case, ...]
    trials: tuple[Case, ...]
    test: tuple[Case, ...]
    left_out: int


def parts_of(dataset: Dataset, prompt: Prompt, *, shares: Sequence[float], seed: int) -> Parts:
    """Cut a data set as `Dataset.split` does, so that a case is in the same part in every run.

    Args:
        dataset: The cases.
        prompt: Cases that it shows as examples already are left out.
        shares: Shares of train, trials and test; they sum to 1.
        seed: Shuffles the trials; it moves no case from part to part.

    Raises:
        ConfigurationError: The shares are none.
        DatasetError: A case holds no values of variables, or a part is empty.
    """
    left_out = 0
    known: list[Mapping[str, object]] = []
    if prompt.content.examples is not None:
        known = [one.variables for one in prompt.content.examples.cases if one.variables]
    parts: list[list[Case]] = []
    for drawn in dataset.split(_named(shares)).values():
        parts.append([])
        for case in drawn:
            if not isinstance(case.input, Mapping):
                raise DatasetError(
                    f"the case {case.id!r} holds {type(case.input).__name__}, and a prompt is filled from a mapping of "
                    f'its variables: `Case(input={{"{(*prompt.variables, "question")[0]}": ...}})`'
                )
            if any(one.items() <= case.input.items() for one in known):
                left_out += 1
            else:
                parts[-1].append(case)
    left_out += _without_twins(parts)
    for name, part in zip(_PARTS, parts, strict=True):
        if not part:
            raise DatasetError(
                f"of the cases of {dataset.name!r} none falls to {name!r}: optimising needs some dozens of cases, and "
                f"clusters that are smaller than a part; `shares` are {tuple(shares)}"
            )
    train, trials, test = parts
    trials, test = _shuffled(trials, seed), _shuffled(test, 0)
    return Parts(train=tuple(train), trials=tuple(trials), test=tuple(test), left_out=left_out)


def _named(shares: Sequence[float]) -> dict[str, float]:
    fine = len(shares) == len(_PARTS) and all(is_number(one) and one > 0 for one in shares)
    if not fine or abs(sum(shares) - 1) > 1e-9:
        raise ConfigurationError(f"`shares` are three numbers over 0 that sum to 1, (0.2, 0.3, 0.5), not {shares!r}")
    return dict(zip(_PARTS, shares, strict=True))


def _asked(case: Case) -> str:
    return configuration_hash(case.input)


def _fraction(said: str) -> float:
    return int.from_bytes(hashlib.sha256(b"part\0" + said.encode()).digest()[:7]) / (1 << 56)


def _without_twins(parts: list[list[Case]]) -> int:
    """Take cases out of earlier parts that a later part asks, too, under another cluster or id; gives how many."""
    gone = 0
    later: set[str] = set()
    for part in reversed(parts):
        asked = {case.id: _asked(case) for case in part}
        kept = [case for case in part if asked[case.id] not in later]
        gone += len(part) - len(kept)
        part[:] = kept
        later |= set(asked.values())
    return gone


def _shuffled(cases: Iterable[Case], seed: int) -> list[Case]:
    """In an order that has nothing to do with what is in them; a cluster stays together."""
    return sorted(cases, key=lambda case: (_fraction(f"{seed}\0{case.cluster or case.id}"), case.id))
