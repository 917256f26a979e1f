"""LLM-Guard's scanners, run so that none of their traps bites. It needs Python 3.9 and LLM-Guard, or its continuation.

This file is also run by path in other interpreters (`isolated`), so it imports nothing of this library.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import importlib
import inspect
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

INPUT = (
    "Anonymize",
    "BanCode",
    "BanCompetitors",
    "BanSubstrings",
    "BanTopics",
    "Code",
    "EmotionDetection",
    "Gibberish",
    "InvisibleText",
    "Language",
    "PromptInjection",
    "Regex",
    "Secrets",
    "Sentiment",
    "TokenLimit",
    "Toxicity",
)
"""The input scanners of LLM-Guard 0.3.16 and gorget 0.5."""

OUTPUT = (
    "BanCode",
    "BanCompetitors",
    "BanSubstrings",
    "BanTopics",
    "Bias",
    "Code",
    "Deanonymize",
    "EmotionDetection",
    "FactualConsistency",
    "Gibberish",
    "JSON",
    "Language",
    "LanguageSame",
    "MaliciousURLs",
    "NoRefusal",
    "NoRefusalLight",
    "ReadingTime",
    "Regex",
    "Relevance",
    "Sensitive",
    "Sentiment",
    "Toxicity",
    "URLReachability",
)
"""The output scanners of these."""

OPTIONS = ("action", "allow_requests", "longest_text")
"""The arguments of a scanner that are ours and not LLM-Guard's."""

_VAULTS = {"Anonymize", "Deanonymize"}
_NER = {"Anonymize", "Sensitive"}
_REWRITING = {
    "Anonymize",
    "BanCompetitors",
    "BanSubstrings",
    "Deanonymize",
    "InvisibleText",
    "JSON",
    "ReadingTime",
    "Regex",
    "Secrets",
    "Sensitive",
}
_IN_ONE_PASS = {"Anonymize", "Sensitive", "ReadingTime"}
"""These clean a text in one pass; what they put in may look like a finding to them."""
_THREAD_SAFE = {
    "BanSubstrings",
    "Deanonymize",
    "InvisibleText",
    "JSON",
    "NoRefusalLight",
    "ReadingTime",
    "Regex",
    "Sentiment",
    "TokenLimit",
    "URLReachability",
}
_MODEL_FIELDS = (
    "path",
    "onnx_path",
    "onnx_filename",
    "revision",
    "kwargs",
    "pipeline_kwargs",
    "tokenizer_kwargs",
)
_PASSES = 20

Scan = tuple[bool, float, str, list[tuple[int, int]]]
_LONE = re.compile("[\ud800-\udfff]")
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")

_locks: dict[str, Any] = {"load": threading.RLock(), "secrets": threading.Lock()}


def _new_locks() -> None:
    # Another thread of the parent may have held one.
    _locks.update(load=threading.RLock(), secrets=threading.Lock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_locks)


class ScannerError(ValueError):
    """A scanner was asked for in a way that cannot work; the message says what to write instead."""


class LibraryMissingError(ImportError):
    """Neither gorget nor llm_guard is installed."""


def model_to_json(value: Any) -> object:
    """A model's record as a value of JSON."""
    if dataclasses.is_dataclass(value) and type(value).__name__ == "Model":
        return {"$model": {key: getattr(value, key) for key in _MODEL_FIELDS}}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} (of type {type(value).__name__}) cannot be sent")


def snake(name: str) -> str:
    """`BanSubstrings` as `ban_substrings`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def asked(request: Any) -> str:
    """What the user asked: the text of the last message of the user, which output scanners compare with."""
    messages = request.messages if request is not None else ()
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def split_name(attribute: str) -> tuple[str, str]:
    """`"input.Secrets"` as side and name."""
    side, _, name = attribute.rpartition(".")
    if side not in ("input", "output"):
        raise ScannerError(f"{attribute!r}: write input.NAME or output.NAME, as in llm_guard:input.PromptInjection")
    return side, name


def refuse_vaults(attribute: str) -> None:
    """Refuse what cannot work in another process."""
    name = split_name(attribute)[1]
    if name in _VAULTS:
        raise ScannerError(
            f"{attribute} keeps the true values of a run, which stay in this process: use guards.llm_guard.{name}, "
            "or guards.PII(restore=True)"
        )


def library() -> ModuleType:
    """The installed one: `gorget`, or `llm_guard` itself; what it logs (it logs contents) is dropped."""
    with _locks["load"]:
        for name in ("gorget", "llm_guard"):
            try:
                found = importlib.import_module(name)
                importlib.import_module(name + ".input_scanners")
                importlib.import_module(name + ".output_scanners")
            except ModuleNotFoundError as exc:
                if exc.name != name:
                    raise
                continue
            _silence(name)
            return found
        raise LibraryMissingError("neither gorget nor llm_guard is installed")


class _Silence:
    """Takes the place of the library's loggers: warnings show what was found, and so what must not be shown."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def _silence(name: str) -> None:
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == name and hasattr(module, "LOGGER"):
            module.LOGGER = _Silence()  # type: ignore[attr-defined]


def load(
    attribute: str,
    positional: tuple[Any, ...] = (),
    arguments: dict[str, Any] | None = None,
    *,
    action: str = "rewrite",
    allow_requests: bool = False,
    longest_text: int = 1_000_000,
) -> Scanning:
    """A scanner, ready for use: `load("input.Secrets")`."""
    side, name = split_name(attribute)
    check_options(name, arguments or {}, action=action, allow_requests=allow_requests, longest_text=longest_text)
    found = library()
    with _locks["load"]:
        module = importlib.import_module(f"{found.__name__}.{side}_scanners")
        kind = getattr(module, name, None)
        if kind is None:
            raise ScannerError(f"{found.__name__} has no {side} scanner {name}")
        given = _resolved(found, kind, side, name, dict(arguments or {}))
        if name in _NER:
            _no_suffix_list()
        if name in _VAULTS:
            given["vault"] = importlib.import_module(found.__name__ + ".vault").Vault()
        if found.__name__ == "llm_guard":
            _mend_llm_guard()
        _check_arguments(kind, name, positional, given)
        try:
            made = kind(*positional, **given)
        except Exception as exc:
            folders = sorted({model.path for model in _models(given)})
            where = " with the model in {}".format(", ".join(folders)) if folders else ""
            raise ScannerError(
                f"the scanner {name}{where} cannot be made: {type(exc).__name__}: {exc}{_advice(name)}"
            ) from exc
    return Scanning(made, side, name, action, longest_text)


def check_options(
    name: str, arguments: dict[str, Any], *, action: str, allow_requests: bool, longest_text: int
) -> None:
    """Refuse what can be seen to be wrong without the library."""
    if action not in ("rewrite", "block", "flag"):
        raise ScannerError(f"action={action!r} is not one of 'rewrite', 'block', 'flag'")
    if longest_text < 1:
        raise ScannerError(f"longest_text={longest_text!r} is a number of characters, 1 or more")
    if name == "URLReachability" and not allow_requests:
        raise ScannerError(
            "URLReachability sends a request to every URL that a model wrote, from inside of your network (SSRF); "
            "guards.URLs reads them without. If you want it all the same, say allow_requests=True"
        )
    if name in _NER and arguments.get("recognizer_conf") is None:
        raise ScannerError(
            f"{name} needs recognizer_conf=: llm_guard.Model(path=FOLDER) of a model for named entities, [] for "
            'patterns alone, or the name of one of its own ("BERT_BASE_NER_CONF"). Without it LLM-Guard would fetch '
            "a model (whose licence is non-commercial), or install packages, here and now"
        )


def _check_arguments(kind: Any, name: str, positional: tuple[Any, ...], given: dict[str, Any]) -> None:
    signature = inspect.signature(kind)
    try:
        signature.bind(*positional, **given)
    except TypeError as exc:
        shown = [str(one) for one in signature.parameters.values() if one.name != "vault"]
        raise ScannerError("{}: {}; it takes ({})".format(name, exc, ", ".join(shown))) from exc


def _advice(name: str) -> str:
    if name == "TokenLimit":
        return "; tiktoken reads its tables from the folder TIKTOKEN_CACHE_DIR, or fetches them"
    return "; give model=llm_guard.Model(path=FOLDER) with config.json, tokenizer files and model.safetensors"


def _models(given: dict[str, Any]) -> Iterator[Any]:
    for value in given.values():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            model = one.get("DEFAULT_MODEL") if isinstance(one, dict) else one
            if type(model).__name__ == "Model" and hasattr(model, "path"):
                yield model


def _resolved(found: ModuleType, kind: Any, side: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with models and configurations as the library wants them."""
    own = importlib.import_module(found.__name__ + ".model").Model
    scanner_module = sys.modules[kind.__module__]
    if side == "output" and not any(isinstance(value, own) for value in vars(scanner_module).values()):
        with contextlib.suppress(ImportError, AttributeError):  # it works by the input scanner of the same name
            inputs = importlib.import_module(found.__name__ + ".input_scanners")
            scanner_module = sys.modules[getattr(inputs, name).__module__]
    default = next((value for value in vars(scanner_module).values() if isinstance(value, own)), None)
    for key, given in arguments.items():
        value = given
        if type(value).__name__ == "Model" and not isinstance(value, own):
            value = model_to_json(value)
        if isinstance(value, dict) and set(value) == {"$model"}:
            value = _library_model(own, value["$model"], _ner_default(found) if key == "recognizer_conf" else default)
        if key == "recognizer_conf":
            value = _recognizer(found, own, value)
        arguments[key] = value
    for model in _models(arguments):
        _check_weights(model)
    if name == "PromptInjection" and arguments.get("classifier") is None and arguments.get("model") is not None:
        _check_labels(arguments["model"], arguments.get("injection_labels"), kind)
    return arguments


def _library_model(own: Any, model: dict[str, Any], default: Any) -> Any:
    pipeline = {}
    if default is not None:
        pipeline = {key: value for key, value in default.pipeline_kwargs.items() if key not in ("device", "batch_size")}
    changes = {
        "kwargs": {"use_safetensors": True, **model["kwargs"]},
        "pipeline_kwargs": {**pipeline, **model["pipeline_kwargs"]},
    }
    return own(**{**model, **changes})


def _helpers(found: ModuleType) -> Any:
    return importlib.import_module(found.__name__ + ".input_scanners.anonymize_helpers")


def _ner_default(found: ModuleType) -> Any:
    return _helpers(found).BERT_BASE_NER_CONF["DEFAULT_MODEL"]


def _recognizer(found: ModuleType, own: Any, value: Any) -> Any:
    helpers = _helpers(found)
    if isinstance(value, str):
        conf = getattr(helpers, value, None)
        if not isinstance(conf, dict):
            known = sorted(name for name in dir(helpers) if name.endswith("_CONF"))
            raise ScannerError("recognizer_conf={!r} is none of {}".format(value, ", ".join(known)))
        return conf
    if isinstance(value, own):
        return {**helpers.BERT_BASE_NER_CONF, "DEFAULT_MODEL": value}
    if value == [] and found.__name__ == "llm_guard":
        raise ScannerError("recognizer_conf=[] is gorget's; LLM-Guard itself needs a model for named entities")
    return value


def _check_weights(model: Any) -> None:
    """Refuse a folder that is not there or has pickled weights only."""
    folder = Path(model.path)
    looks_local = folder.is_absolute() or model.path.startswith(".")
    if not folder.is_dir():
        if looks_local:
            raise ScannerError(f"there is no folder {folder} with a model")
        return
    names = [one.name for one in folder.rglob("*") if one.is_file()]
    if not any(one.endswith((".safetensors", ".onnx")) for one in names):
        pickled = [one for one in names if one.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt"))]
        why = (
            "has pickled weights only ({}): they can run code".format(", ".join(pickled))
            if pickled
            else "has no weights"
        )
        raise ScannerError(f"the folder {folder} {why}; save the model as safetensors or ONNX")


def _check_labels(model: Any, injection_labels: Any, kind: Any) -> None:
    """Refuse a model of whose labels none means an injection: the scanner would read it backwards, and pass all."""
    file = Path(model.path) / "config.json"
    if not file.is_file():
        return  # on the hub: the library's own are right
    config = json.loads(file.read_text(encoding="utf-8"))
    count = int(config.get("num_labels", 2))
    labels = list((config.get("id2label") or {i: f"LABEL_{i}" for i in range(count)}).values())
    wanted = [str(label) for label in (injection_labels or ("INJECTION",))]
    if not {label.upper() for label in wanted} & {str(label).upper() for label in labels}:
        if "injection_labels" in inspect.signature(kind).parameters:
            what = f"say which of them mean an attack, as in injection_labels=[{labels[-1]!r}]"
        else:
            what = "name the one that means an attack INJECTION in id2label and label2id of its config.json"
        raise ScannerError(
            "PromptInjection: the model in {} has the labels {}, none of which is in injection_labels={}: "
            "every text would pass; {}".format(model.path, ", ".join(map(repr, labels)), wanted, what)
        )


def _mend_llm_guard() -> None:
    """LLM-Guard itself: sentences without NLTK's download, and spaCy without installing its models."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("llm_guard.") and hasattr(module, "split_text_by_sentences"):
            module.split_text_by_sentences = _sentences  # type: ignore[attr-defined]
    analyzer = importlib.import_module("llm_guard.input_scanners.anonymize_helpers.analyzer")
    analyzer._get_nlp_engine = _blank_nlp_engine  # type: ignore[attr-defined]


def _no_suffix_list() -> None:
    """Presidio asks tldextract about each domain, which fetches a list for that; it brings a copy of that list."""
    with contextlib.suppress(ImportError):
        tldextract: Any = importlib.import_module("tldextract")
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def _sentences(text: str) -> list[str]:
    return [one for one in re.split(r"(?<=[.!?\u2026])\s+|(?<=[\u3002\uff01\uff1f])|\n\s*\n", text.strip()) if one]


def _blank_nlp_engine(languages: Iterable[str] = ("en",)) -> Any:
    spacy = importlib.import_module("spacy")
    engine = importlib.import_module("presidio_analyzer.nlp_engine").SpacyNlpEngine(
        models=[{"lang_code": one, "model_name": "blank"} for one in languages]
    )
    engine.nlp = {one: spacy.blank(one) for one in languages}
    return engine


class Scanning:
    """One scanner at work."""

    def __init__(self, scanner: Any, side: str, name: str, action: str, longest: int) -> None:
        self._scanner = scanner
        self._side = side
        self._name = name
        self._action = action
        self._longest = longest
        self._lock = None if name in _THREAD_SAFE or name == "Secrets" else threading.Lock()

    def verdict(self, text: str, prompt: str = "", vault: Any = None) -> dict[str, Any]:
        """The verdict on a text as a dictionary. `vault` holds the pairs of a run; `Anonymize` adds to it."""
        valid, risk, new, spans = self.scan(text, prompt, vault)
        if self._name == "Deanonymize":
            return {"action": "allow"} if new == text else {"action": "rewrite", "text": new}
        if valid and new == text:
            return {"action": "allow"}
        rule = f"llm_guard.{self._side}.{self._name}"
        score = _score(risk) if not valid else 1.0
        findings = [
            {"kind": snake(self._name), "start": start, "end": end, "score": score, "rule": rule}
            for start, end in spans or [(0, len(text))]
        ]
        reason = "{} {}".format(rule, "rewrote it" if valid else "found it invalid")
        if self._action == "flag":
            return {"action": "flag", "reason": reason, "findings": findings}
        if new != text and (valid or self._action == "rewrite"):
            return {"action": "rewrite", "text": new, "reason": reason, "findings": findings}
        return {"action": "block", "reason": reason, "findings": findings}

    def rate(self, text: str, prompt: str = "", vault: Any = None) -> float:
        """The scanner's risk as a number from 0 to 1; from over 0.5 on it finds the text invalid."""
        return _score(self.scan(text, prompt, vault)[1])

    def scan(self, text: str, prompt: str, vault: Any) -> Scan:
        """Whether the text is valid, its risk, what may pass instead of it (itself if nothing), and what was taken."""
        if len(text) > self._longest:
            raise ScannerError(
                f"a text of {len(text)} characters is longer than longest_text={self._longest}; {self._name} takes "
                "time and memory for each character"
            )
        if self._name == "Secrets":
            return self._secrets(text)
        readable = _LONE.sub("\ufffd", text)
        new, valid, risk = self._once(readable, _LONE.sub("\ufffd", prompt), vault)
        if self._name not in _REWRITING or not text.strip() or new == readable:
            return valid, risk, text, []  # some scanners return another text than they were given
        if not valid and self._name not in _IN_ONE_PASS:
            cleaned = self._cleaned(new, prompt)
            if cleaned is None:
                return valid, risk, text, []
            new = cleaned
        return valid, risk, new, changed(readable, new)

    def _cleaned(self, text: str, prompt: str) -> str | None:
        """The text when the scanner has nothing more to take out of it; `None` when it never has."""
        for _ in range(_PASSES):
            new, valid, _ = self._once(text, prompt, None)
            if valid:
                return new
            if new == text:
                return None
            text = new
        return None

    def _once(self, text: str, prompt: str, vault: Any) -> tuple[str, bool, float]:
        scanner = self._scanner
        if self._name in _VAULTS and vault is not None:
            scanner = copy.copy(scanner)  # all but the vault is shared
            scanner._vault = vault
        elif self._name in _VAULTS:
            scanner = copy.copy(scanner)
            scanner._vault = type(scanner._vault)()
        lock: Any = self._lock or contextlib.nullcontext()
        with lock:
            sanitized, valid, risk = scanner.scan(text) if self._side == "input" else scanner.scan(prompt, text)
        return sanitized, bool(valid), float(risk)

    def _secrets(self, text: str) -> Scan:
        """Every occurrence of every secret, over and over until none is found.

        LLM-Guard takes out the first occurrence, and mixes up places where it finds several; so its own are found by
        what it asks to be redacted, and taken out here. Its library keeps settings for the process: one at a time.
        """
        scanner = copy.copy(self._scanner)
        redact = scanner.redact_value
        current, risk = text, -1.0
        all_values: set[str] = set()
        for _ in range(_PASSES):
            values: set[str] = set()

            def note(value: str, _mode: str, values: set[str] = values) -> str:
                values.add(value)
                return "*" * len(value)

            scanner.redact_value = note
            with _locks["secrets"]:
                _, valid, found = scanner.scan(_LONE.sub("\ufffd", current))
            risk = max(risk, float(found))
            if valid:
                break
            values.discard("")
            spans = occurrences(_LONE.sub("\ufffd", current), values)
            if not spans:
                return False, risk, text, []
            all_values |= values
            current = replaced(current, spans, lambda value: redact(value, scanner._redact_mode))
        else:
            return False, risk, text, []
        if current == text:
            return True, risk, text, []
        return False, risk, current, occurrences(_LONE.sub("\ufffd", text), all_values) or changed(text, current)


def _score(risk: float) -> float:
    return min(1.0, max(0.0, (risk + 1) / 2))


def occurrences(text: str, values: Iterable[str]) -> list[tuple[int, int]]:
    """Where any of `values` stands in `text`; what overlaps is one place."""
    places = []
    for value in values:
        start = text.find(value)
        while start >= 0:
            places.append((start, start + len(value)))
            start = text.find(value, start + 1)
    places.sort()
    merged: list[tuple[int, int]] = []
    for start, end in places:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def replaced(text: str, spans: Iterable[tuple[int, int]], replacement: Callable[[str], str]) -> str:
    """`text` with each of `spans` replaced."""
    pieces, last = [], 0
    for start, end in spans:
        pieces += [text[last:start], replacement(text[start:end])]
        last = end
    return "".join([*pieces, text[last:]])


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))  # noqa: B905


def changed(old: str, new: str) -> list[tuple[int, int]]:
    """Which stretches of `old` are not in `new`, word by word; one stretch where that would take too long."""
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    middle, other = old[start : len(old) - end], new[start : len(new) - end]
    before, after = _WORDS.findall(middle), _WORDS.findall(other)
    if len(before) * len(after) > 4_000_000:
        return [(start, start + len(middle))]
    offsets = [start]
    for word in before:
        offsets.append(offsets[-1] + len(word))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    spans = [(offsets[i], offsets[j]) for what, i, j, _, _ in matcher.get_opcodes() if what in ("replace", "delete")]
    return spans or [(0, len(old))]
