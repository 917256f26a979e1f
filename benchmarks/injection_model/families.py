"""More families of texts made of parts: what attacks and ordinary texts say in many ways, languages and places.

Like `templates.py` written for this project; the parts stand in `families.json`.
`attack(random)` and `ordinary(random)` give one text at each call;
many ordinary texts use the very words of attacks for something else.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

_SLOT = re.compile(r"\{(\w+)\}")

_DATA = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
PARTS: dict[str, list[str]] = _DATA["parts"]
# Of each language: verbs, what they put aside, what is wanted instead, and ordinary requests.
LANGUAGES: list[dict[str, list[str]]] = _DATA["languages"]


def _made(pattern: str, rng: random.Random, **given: str) -> str:
    """The pattern with each slot filled, as deep as slots go."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return given[name] if name in given else _made(rng.choice(PARTS[name]), rng, **given)

    return _SLOT.sub(fill, pattern.replace("{{", "\0").replace("}}", "\1")).replace("\0", "{").replace("\1", "}")


def _around(said: str, rng: random.Random) -> str:
    """The text within ordinary sentences."""
    before, after = rng.choice([(0, 0), (0, 0), (0, 0), (2, 0), (3, 2), (1, 1), (6, 0), (0, 3)])
    kinds = rng.choice([("prose",), ("prose", "request"), ("request",)])
    parts = [_made("{" + rng.choice(kinds) + "}", rng) for _ in range(before + after)]
    return ". ".join([*parts[:before], said, *parts[before:]])


def attack(rng: random.Random) -> str:
    """One attack."""
    way = rng.random()
    if way < 0.25:
        said = _made("{drop} {which} {orders} {then} {deed}", rng)
    elif way < 0.35:
        said = _made(rng.choice(["{drop} {which} {orders}", "{deed}, and {drop} {which} {orders}"]), rng)
    elif way < 0.5:
        said = _made("{asks}", rng)
    elif way < 0.62:
        return _around(_made(rng.choice(PARTS["carrier"][10:]), rng, x=_made("{deed}", rng)), rng)
    elif way < 0.82:
        said = ". ".join(_made("{jail}", rng) for _ in range(rng.choice([1, 2, 3, 5, 8, 12])))
        return said if rng.random() < 0.7 else f"{said}. {_made('{topic}', rng)}"
    else:
        one = rng.choice(LANGUAGES)
        drop, orders, want, usual = one["drop"], one["orders"], one["want"], one["usual"]
        said = rng.choice(
            [
                f"{rng.choice(drop)} {rng.choice(orders)}. {rng.choice(want)}",
                f"{rng.choice(drop)} {rng.choice(orders)}",
                f"{rng.choice(usual)}. {rng.choice(drop)} {rng.choice(orders)}. {rng.choice(want)}",
                rng.choice(want),
            ]
        )
        return _made(said, rng)
    return _around(_made("{carrier}", rng, x=said), rng)


def ordinary(rng: random.Random) -> str:
    """One ordinary text."""
    way = rng.random()
    if way < 0.3:
        return ". ".join(_made("{frame}", rng) for _ in range(rng.choice([1, 1, 2, 3])))
    if way < 0.6:
        return ". ".join(_made("{request}", rng) for _ in range(rng.choice([1, 1, 1, 2, 4])))
    if way < 0.7:
        return ". ".join(_made("{about}", rng) for _ in range(rng.choice([1, 1, 2, 3])))
    if way < 0.8:
        usual = rng.choice(LANGUAGES)["usual"]
        return ". ".join(rng.choice(usual) for _ in range(rng.choice([1, 2])))
    kinds = ("prose", "prose", "request", "frame", "about")
    return ". ".join(_made("{" + rng.choice(kinds) + "}", rng) for _ in range(rng.choice([2, 4, 7, 12])))
