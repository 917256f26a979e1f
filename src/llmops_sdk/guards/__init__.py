"""Guards: they read what goes to the model and what comes back, and decide what may pass.

Subclass `Guard` and write `check`, or decorate a function with `@guard`. The place in the pipeline gives the
direction: before the engine a guard reads the input, after it the output.

Ready ones, which need no model and no other package: `Secrets`, `PII`, `PromptInjection`, and `Regex` for patterns of
your own. `PatternGuard` makes another one of a list of `Rule`s, `SegmentGuard` judges sentence by sentence.

The names are found on first use; the modules without an underscore are adapters that import a third-party library.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.guards import classifier as classifier
    from llmops_sdk.guards import llm_guard as llm_guard
    from llmops_sdk.guards import nemo as nemo
    from llmops_sdk.guards import presidio as presidio
    from llmops_sdk.guards._calibrating import Calibration, acalibrate, calibrate
    from llmops_sdk.guards._canary import Canary
    from llmops_sdk.guards._competitors import Competitors
    from llmops_sdk.guards._composed import all_of, any_of, cascade
    from llmops_sdk.guards._guard import Guard, GuardOptions, guard
    from llmops_sdk.guards._injection import PromptInjection
    from llmops_sdk.guards._invisible_text import InvisibleText
    from llmops_sdk.guards._isolated import IsolatedGuard, isolated
    from llmops_sdk.guards._json_schema import JSONSchema
    from llmops_sdk.guards._judge import Judge
    from llmops_sdk.guards._language import Language
    from llmops_sdk.guards._length import Length
    from llmops_sdk.guards._malicious_code import MaliciousCode
    from llmops_sdk.guards._measuring import Evaluation, Group, aevaluate, evaluate
    from llmops_sdk.guards._patterns import PatternGuard, Rule
    from llmops_sdk.guards._pii import PII, PII_KINDS, Recognizer
    from llmops_sdk.guards._refusal import Refusal
    from llmops_sdk.guards._regex import Regex
    from llmops_sdk.guards._repetition import Repetition
    from llmops_sdk.guards._secrets import Secrets
    from llmops_sdk.guards._segments import Segment, SegmentGuard
    from llmops_sdk.guards._system_prompt_leak import SystemPromptLeak
    from llmops_sdk.guards._tokens import Tokens
    from llmops_sdk.guards._topics import Topics
    from llmops_sdk.guards._urls import URLs
    from llmops_sdk.guards._vault import Vault
    from llmops_sdk.guards._wrapped import cached, sample, shadow, timed

__all__ = [
    "PII",
    "PII_KINDS",
    "Calibration",
    "Canary",
    "Competitors",
    "Evaluation",
    "Group",
    "Guard",
    "GuardOptions",
    "InvisibleText",
    "IsolatedGuard",
    "JSONSchema",
    "Judge",
    "Language",
    "Length",
    "MaliciousCode",
    "PatternGuard",
    "PromptInjection",
    "Recognizer",
    "Refusal",
    "Regex",
    "Repetition",
    "Rule",
    "Secrets",
    "Segment",
    "SegmentGuard",
    "SystemPromptLeak",
    "Tokens",
    "Topics",
    "URLs",
    "Vault",
    "acalibrate",
    "aevaluate",
    "all_of",
    "any_of",
    "cached",
    "calibrate",
    "cascade",
    "evaluate",
    "guard",
    "isolated",
    "sample",
    "shadow",
    "timed",
]

_HOMES = {
    "Calibration": "_calibrating",
    "Canary": "_canary",
    "Competitors": "_competitors",
    "Evaluation": "_measuring",
    "Group": "_measuring",
    "Guard": "_guard",
    "GuardOptions": "_guard",
    "InvisibleText": "_invisible_text",
    "IsolatedGuard": "_isolated",
    "JSONSchema": "_json_schema",
    "Judge": "_judge",
    "Language": "_language",
    "Length": "_length",
    "MaliciousCode": "_malicious_code",
    "PII": "_pii",
    "PII_KINDS": "_pii",
    "PatternGuard": "_patterns",
    "PromptInjection": "_injection",
    "Recognizer": "_pii",
    "Refusal": "_refusal",
    "Regex": "_regex",
    "Repetition": "_repetition",
    "Rule": "_patterns",
    "Secrets": "_secrets",
    "Segment": "_segments",
    "SegmentGuard": "_segments",
    "SystemPromptLeak": "_system_prompt_leak",
    "Tokens": "_tokens",
    "Topics": "_topics",
    "URLs": "_urls",
    "Vault": "_vault",
    "acalibrate": "_calibrating",
    "aevaluate": "_measuring",
    "all_of": "_composed",
    "any_of": "_composed",
    "cached": "_wrapped",
    "calibrate": "_calibrating",
    "cascade": "_composed",
    "evaluate": "_measuring",
    "guard": "_guard",
    "isolated": "_isolated",
    "sample": "_wrapped",
    "shadow": "_wrapped",
    "timed": "_wrapped",
}
"""Public name -> the module of this room that defines it."""

_ADAPTERS: frozenset[str] = frozenset({"classifier", "llm_guard", "nemo", "presidio"})
"""The modules of this room that import a third-party library."""


def __getattr__(name: str) -> object:
    if name in _ADAPTERS:
        return importlib.import_module(f"{__name__}.{name}")  # which sets the attribute, too
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ADAPTERS})
