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
    from llmops_sdk.guards._canary import Canary
    from llmops_sdk.guards._code.guard import MaliciousCode
    from llmops_sdk.guards._composing.several import all_of, any_of, cascade
    from llmops_sdk.guards._composing.wrapped import cached, sample, shadow, timed
    from llmops_sdk.guards._guard import Guard, GuardOptions, guard
    from llmops_sdk.guards._injection.guard import PromptInjection
    from llmops_sdk.guards._invisible_text import InvisibleText
    from llmops_sdk.guards._isolation.guard import IsolatedGuard, isolated
    from llmops_sdk.guards._json_schema import JSONReading, JSONSchema, Mismatch
    from llmops_sdk.guards._judge.guard import Judge
    from llmops_sdk.guards._judge.rubric import without_markup
    from llmops_sdk.guards._language.guard import Language
    from llmops_sdk.guards._length import Length
    from llmops_sdk.guards._patterns.guard import PatternGuard, Rule
    from llmops_sdk.guards._patterns.regex import Regex
    from llmops_sdk.guards._phrases.competitors import Competitors
    from llmops_sdk.guards._phrases.topics import Topics
    from llmops_sdk.guards._pii.guard import PII, PII_KINDS, Recognizer
    from llmops_sdk.guards._pii.vault import Vault
    from llmops_sdk.guards._quality.calibration import Calibration, acalibrate, calibrate
    from llmops_sdk.guards._quality.evaluation import Evaluation, Group, aevaluate, evaluate
    from llmops_sdk.guards._refusal.guard import Refusal
    from llmops_sdk.guards._repetition import Repetition
    from llmops_sdk.guards._secrets.guard import Secrets
    from llmops_sdk.guards._segments import Segment, SegmentGuard
    from llmops_sdk.guards._system_prompt_leak import SystemPromptLeak
    from llmops_sdk.guards._tokens import Tokens
    from llmops_sdk.guards._urls.guard import URLs

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
    "JSONReading",
    "JSONSchema",
    "Judge",
    "Language",
    "Length",
    "MaliciousCode",
    "Mismatch",
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
    "without_markup",
]

_HOMES = {
    "Calibration": "_quality.calibration",
    "Canary": "_canary",
    "Competitors": "_phrases.competitors",
    "Evaluation": "_quality.evaluation",
    "Group": "_quality.evaluation",
    "Guard": "_guard",
    "GuardOptions": "_guard",
    "InvisibleText": "_invisible_text",
    "IsolatedGuard": "_isolation.guard",
    "JSONReading": "_json_schema",
    "JSONSchema": "_json_schema",
    "Mismatch": "_json_schema",
    "Judge": "_judge.guard",
    "Language": "_language.guard",
    "Length": "_length",
    "MaliciousCode": "_code.guard",
    "PII": "_pii.guard",
    "PII_KINDS": "_pii.guard",
    "PatternGuard": "_patterns.guard",
    "PromptInjection": "_injection.guard",
    "Recognizer": "_pii.guard",
    "Refusal": "_refusal.guard",
    "Regex": "_patterns.regex",
    "Repetition": "_repetition",
    "Rule": "_patterns.guard",
    "Secrets": "_secrets.guard",
    "Segment": "_segments",
    "SegmentGuard": "_segments",
    "SystemPromptLeak": "_system_prompt_leak",
    "Tokens": "_tokens",
    "Topics": "_phrases.topics",
    "URLs": "_urls.guard",
    "Vault": "_pii.vault",
    "acalibrate": "_quality.calibration",
    "aevaluate": "_quality.evaluation",
    "all_of": "_composing.several",
    "any_of": "_composing.several",
    "cached": "_composing.wrapped",
    "calibrate": "_quality.calibration",
    "cascade": "_composing.several",
    "evaluate": "_quality.evaluation",
    "guard": "_guard",
    "isolated": "_isolation.guard",
    "sample": "_composing.wrapped",
    "shadow": "_composing.wrapped",
    "timed": "_composing.wrapped",
    "without_markup": "_judge.rubric",
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
