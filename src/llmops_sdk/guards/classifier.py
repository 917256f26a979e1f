"""`Classifier`: any text classifier from a folder or the Hugging Face hub, as a guard."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, Unpack

from llmops_sdk.errors import ClosedError, ConfigurationError, GuardFailed, LlmopsError, MissingDependencyError
from llmops_sdk.guards._classifier.batches import Batches
from llmops_sdk.guards._classifier.by_onnx import quantises_as_it_runs
from llmops_sdk.guards._classifier.by_torch import load_torch
from llmops_sdk.guards._classifier.folder import ONNX_FILES, SAFETENSORS, ModelFolder, read_folder
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._segments import Segment, SegmentGuard
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

try:
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer
except ModuleNotFoundError as exc:
    if exc.name not in {"numpy", "onnxruntime", "tokenizers"}:
        raise
    raise MissingDependencyError("`guards.classifier`", package=str(exc.name), extra="classifier") from exc

__all__ = ["Classifier"]

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_PAD_TO = 8
"""Lengths of batches are multiples of this, so that texts of about one length share a batch."""


class _Package(NamedTuple):
    module: str
    extra: str
    folder: str
    """A pattern below the module's folder."""

    settings: Mapping[str, Any]


_PACKAGED = {
    # all-MiniLM-L6-v2, tuned on injections and quantised to 8 bits; Apache-2.0. Its second output is an auxiliary one.
    "stackone-defender": _Package(
        module="stackone_defender",
        extra="injection-model",
        folder="models/*",
        settings={
            "file": "model_quantized.onnx",
            "labels": ("injection", "auxiliary"),
            "unsafe": ("injection",),
            "multi_label": True,
            "max_length": 256,
        },
    ),
}


class _Window(NamedTuple):
    """A stretch of a text, as the model reads it."""

    ids: tuple[int, ...]
    types: tuple[int, ...]
    start: int
    end: int


class _Opened(NamedTuple):
    folder: ModelFolder
    tokenizer: Any
    batches: Batches[_Window, tuple[float, int]]
    process: int


class Classifier(SegmentGuard):
    """Blocks (or flags) what a text classifier recognises.

    A text that is longer than the model's window is read in windows that overlap, and the worst one counts. Checks
    that come at the same time, from any threads and event loops, are done in batches. The model is loaded once for a
    guard and all its copies, by `prepare` (a pipeline calls it when it is built) or by the first check.

    Args:
        model: A folder with `model.onnx`, or else `model.safetensors` (which needs torch and transformers), and
            `config.json` and `tokenizer.json`; or a name on the Hugging Face hub (which needs the extra `hub`), whose
            files `prepare` downloads, a check never does.
        unsafe: Labels that mean that something was found. May be left out where all labels have plain names, such as
            `INJECTION` and `SAFE`; `LABEL_1` says nothing, so there it has to be given.
        labels: Names of the outputs, in order, where `config.json` has none or bad ones.
        threshold: Probability of the unsafe labels from which on the guard acts, `0 < threshold <= 1`.
        action: `"block"` (the default), or `"flag"`.
        by: `"text"` (the default): the text is judged as a whole, so a stream waits for its end. `"sentence"`: sentence
            by sentence, with `behind` characters before each; a stream holds back `longest` characters at most.
        multi_label: Whether every label has a probability of its own (sigmoid), or they share one (softmax); by default
            as `config.json` says in `problem_type`.
        temperature: The logits are divided by this: over 1 the probabilities are less extreme.
        max_length: Most tokens of a window; by default what the model can read, 512 at most.
        overlap_tokens: How many tokens of a window are those of the window before, too; by default a quarter.
        most_characters: Longer texts are refused with `GuardFailed`, so that the time of a check is bounded.
        batch: Most windows that are run at once.
        threads: Threads that the model computes with; by default 4, or as many processors as there are.
        file: The weights' path inside of the folder, where it is none of the usual ones.
        revision: Branch, tag or commit on the hub.
        longest: With `by="sentence"`: most characters of a sentence.
        behind: With `by="sentence"`: how many characters before a sentence are judged with it.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: The folder is not whole; its labels are unclear; its weights are pickled, lie elsewhere, or
            need code of their own.
        MissingDependencyError: torch and transformers, or huggingface_hub, are needed and not installed.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        unsafe: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        threshold: float = 0.5,
        action: Literal["block", "flag"] = "block",
        by: Literal["text", "sentence"] = "text",
        multi_label: bool | None = None,
        temperature: float = 1.0,
        max_length: int | None = None,
        overlap_tokens: int | None = None,
        most_characters: int = 200_000,
        batch: int = 32,
        threads: int | None = None,
        file: str | None = None,
        revision: str | None = None,
        longest: int = 600,
        behind: int = 200,
        **options: Unpack[GuardOptions],
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in {"self", "options", "__class__"}}
        super().__init__(longest=longest, behind=behind, **options)
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
        if action not in ("block", "flag"):
            raise ConfigurationError(f'action={action!r} is neither "block" nor "flag"; nothing can be rewritten here')
        if by not in ("text", "sentence"):
            raise ConfigurationError(f'by={by!r} is neither "text" nor "sentence"')
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ConfigurationError(f"temperature={temperature!r} is not over 0")
        for name, value in (("batch", batch), ("most_characters", most_characters), ("threads", threads)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value!r} is less than 1")
        self.threshold: float = threshold
        self.action: Literal["block", "flag"] = action
        self._by = by
        if by == "text":
            self.window = None
        self._most = most_characters
        self._settings = given | dict(options)
        self._loaded = _Model(given)

    @classmethod
    def packaged(cls, name: str = "stackone-defender", /, **settings: Any) -> Self:
        """A model that a package brings in its wheel, so nothing is downloaded.

        Args:
            name: `"stackone-defender"` (extra `injection-model`, Apache-2.0): prompt injections, English above all.
            settings: As for the class.

        Raises:
            ConfigurationError: There is no such name.
            MissingDependencyError: The package is not installed.
        """
        if name not in _PACKAGED:
            raise ConfigurationError(f"no package is known as {name!r}; there is {', '.join(map(repr, _PACKAGED))}")
        return cls(f"package:{name}", **settings)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the model's outputs."""
        return self._loaded.open(download=False).folder.labels

    def prepare(self) -> None:
        """Load the model, and download it before that if it is on the hub and not on disk."""
        self._loaded.open(download=True)

    def rate(self, text: str, context: GuardContext | None = None, /) -> float:
        """Probability of the unsafe labels, in the worst window."""
        if self._by == "sentence":
            noting = self.with_threshold(1e-9)
            noting.action = "flag"  # a block would end it at the first sentence
            verdict = noting.check(text, context)
            assert isinstance(verdict, Verdict)
            return max((finding.score for finding in verdict.findings), default=0.0)
        self._check_length(len(text))
        return self._rated([text])[0].score

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        self._check_length(len(text))
        if self._by == "text":
            return self._verdict(self._rated([text])[0])
        verdict = super().check(text, context)
        assert isinstance(verdict, Verdict)  # `judge_all` is not async here
        return verdict

    def judge_all(self, segments: Sequence[Segment], context: GuardContext | None, /) -> Sequence[Verdict]:
        """Decide about several sentences, in one batch."""
        self._check_length(sum(len(segment.text) for segment in segments))
        found = self._rated([segment.before + segment.text for segment in segments])
        verdicts = []
        for segment, finding in zip(segments, found, strict=True):
            before, length = len(segment.before), len(segment.text)
            start, end = (min(max(0, at - before), length) for at in (finding.start, finding.end))
            if end <= start:  # the worst window lies before the sentence
                start, end = 0, length
            moved = Finding(kind=finding.kind, start=start, end=end, score=finding.score, rule=finding.rule)
            verdicts.append(self._verdict(moved))
        return verdicts

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream; `None` where it judges whole texts."""
        return super().open_stream(context) if self._by == "sentence" else None

    def configuration(self) -> dict[str, Any]:
        """See `Guard.configuration`. Of a model on disk its files count, wherever they lie."""
        folder = self._loaded.folder
        return super().configuration() | ({} if folder is None else {"model": [folder.weights, folder.tokenizer]})

    def close(self) -> None:
        """Give the model back, for this guard and all its copies. Closing twice is harmless."""
        self._loaded.close()

    def _verdict(self, finding: Finding) -> Verdict:
        if finding.score < self.threshold:
            return ALLOW
        reason = f"the classifier says {finding.kind}, probability {finding.score:.2f}"
        return Verdict.block(reason, [finding]) if self.action == "block" else Verdict.flag(reason, [finding])

    def _check_length(self, characters: int) -> None:
        if characters > self._most:
            raise GuardFailed(
                f"a text of {characters:,} characters is longer than most_characters={self._most:,}", guard=self.name
            )

    def _rated(self, texts: Sequence[str]) -> list[Finding]:
        """The worst window of each text, as a finding whose score is its probability."""
        opened = self._loaded.open(download=False)
        windows = [_windows(opened.tokenizer, text) for text in texts]
        different = dict.fromkeys((w.ids, w.types) for of_text in windows for w in of_text)
        keys = list(different)
        results = opened.batches.run([_Window(*key, 0, 0) for key in keys])
        scored = dict(zip(keys, results, strict=True))
        found = []
        for of_text in windows:
            worst = max(of_text, key=lambda w: scored[w.ids, w.types][0])  # the first of equals
            score, label = scored[worst.ids, worst.types]
            name = opened.folder.labels[label]
            kind = re.sub(r"\W+", "_", name.strip().lower())
            found.append(Finding(kind=kind, start=worst.start, end=worst.end, score=score, rule=f"{self.name}:{name}"))
        return found

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)  # the model is shared
        return other

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._settings, {"threshold": self.threshold, "waived": self.waived})


def _again(cls: type[Classifier], settings: dict[str, Any], state: dict[str, Any]) -> Classifier:
    made = cls(**settings)
    made.__dict__.update(state)
    return made


def _windows(tokenizer: Any, text: str) -> list[_Window]:
    # A lone surrogate is no character, and a tokenizer refuses it; one code point takes its place.
    encoding = tokenizer.encode(_SURROGATE.sub("\ufffd", text))
    parts = [encoding, *encoding.overflowing]
    windows = []
    for part in parts:
        real = [place for place, special in zip(part.offsets, part.special_tokens_mask, strict=True) if not special]
        whole = len(parts) == 1 or not real
        start, end = (0, len(text)) if whole else (real[0][0], real[-1][1])
        windows.append(_Window(tuple(part.ids), tuple(part.type_ids), start, end))
    return windows


class _Model:
    """The model of a guard and of all its copies; it is loaded when it is first needed, and again in a forked child.

    A local folder is looked at when the guard is built, so that what is wrong with it is said there.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._closed = False
        self._folder: ModelFolder | None = None
        name = str(settings["model"])
        if name.startswith("package:"):
            self._folder = self._read(self._package(name.removeprefix("package:")))
        elif isinstance(settings["model"], Path) or Path(name).expanduser().is_dir() or not _HUB_NAME.fullmatch(name):
            self._folder = self._read(Path(name).expanduser())

    def open(self, *, download: bool) -> _Opened:
        opened = self._opened
        if opened is not None and opened.process == os.getpid():
            return opened
        if opened is not None:  # a forked child: the threads, and the lock's holder, are the parent's
            self._lock, self._opened = threading.Lock(), None
        with self._lock:
            if self._closed:
                raise ClosedError("the classifier was closed")
            if self._opened is None:
                folder = self._folder or self._read(_from_hub(self._settings, download=download))
                self._opened = _load(folder, self._settings)
                weakref.finalize(self, self._opened.batches.close)
            return self._opened

    @property
    def folder(self) -> ModelFolder | None:
        """Where the model lies, `None` for one of the hub."""
        return self._folder

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._opened is not None:
                self._opened.batches.close()
                self._opened = None

    def _read(self, path: Path) -> ModelFolder:
        names = ("file", "labels", "unsafe", "multi_label", "max_length")
        return read_folder(path, **{name: self._settings[name] for name in names})

    def _package(self, name: str) -> Path:
        package = _PACKAGED.get(name)
        if package is None:
            raise ConfigurationError(f"no package is known as {name!r}; there is {', '.join(map(repr, _PACKAGED))}")
        spec = importlib.util.find_spec(package.module)
        if spec is None or spec.origin is None:
            raise MissingDependencyError(f"the classifier {name!r}", package=name, extra=package.extra)
        for key, value in package.settings.items():
            if self._settings[key] is None:
                self._settings[key] = value
        folders = sorted(Path(spec.origin).parent.glob(package.folder))
        found = [one for one in folders if (one / str(self._settings["file"])).is_file()]
        if not found:
            raise ConfigurationError(f"this version of {name} has no {self._settings['file']} in {package.folder}")
        if self._settings["temperature"] == 1.0:
            self._settings["temperature"] = _calibrated(found[0])
        return found[0]


def _calibrated(folder: Path) -> float:
    """The temperature that the model's makers have fitted."""
    try:
        config = json.loads((folder / "classifier_config.json").read_text(encoding="utf-8"))
        value = float(config["calibration"]["temperatureT"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1.0
    return value if value > 0 and math.isfinite(value) else 1.0


def _from_hub(settings: Mapping[str, Any], *, download: bool) -> Path:
    """The folder of a model of the hub; without `download` only if it is on disk."""
    name = str(settings["model"])
    try:
        import huggingface_hub  # noqa: PLC0415  (third-party, and only for names on the hub)
    except ImportError as exc:
        raise MissingDependencyError(
            f"{name!r} is no folder here, and to find it on the Hugging Face hub",
            package="huggingface_hub",
            extra="hub",
        ) from exc
    asked = {"revision": settings["revision"]}
    try:
        if not download:
            return Path(huggingface_hub.snapshot_download(name, local_files_only=True, **asked))
        listed = set(huggingface_hub.list_repo_files(name, **asked))
        weights = (settings["file"],) if settings["file"] else (*ONNX_FILES, SAFETENSORS)
        chosen = next((one for one in weights if one in listed), weights[0])
        also = [f"{chosen}_data", f"{chosen}.data", *(str(Path(chosen).parent / one) for one in _HUB_FILES)]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=[*_HUB_FILES, chosen, *also], **asked))
    except Exception as exc:  # whatever the hub's client and its HTTP client raise
        raise ConfigurationError(
            f"{name!r} is no folder here, and "
            + ("the hub did not give it" if download else "it was not downloaded before: call `guard.prepare()` first")
            + f": {type(exc).__name__}: {exc}"
        ) from exc


def _load(folder: ModelFolder, settings: Mapping[str, Any]) -> _Opened:
    tokenizer = _tokenizer(folder, settings["overlap_tokens"])
    threads = settings["threads"] or min(4, os.cpu_count() or 1)
    names, run = load_torch(folder.path) if folder.runtime == "torch" else _load_onnx(folder, threads)
    alone = folder.runtime == "onnx" and quantises_as_it_runs(folder.weights)
    score = _Scoring(
        run, names, folder, float(settings["temperature"]), pad=tokenizer.token_to_id("[PAD]") or 0, alone=alone
    )
    score([_windows(tokenizer, "a text to try it with")[0]])  # says here what does not fit together
    batches = Batches(score, most=int(settings["batch"]))
    return _Opened(folder, tokenizer, batches, os.getpid())


def _tokenizer(folder: ModelFolder, overlap: int | None) -> Any:
    try:
        tokenizer = Tokenizer.from_file(str(folder.tokenizer))
    except Exception as exc:  # the library raises the bare class
        raise ConfigurationError(f"{str(folder.tokenizer)!r} cannot be read: {exc}") from exc
    tokenizer.no_padding()
    room = folder.max_length - tokenizer.num_special_tokens_to_add(is_pair=False)
    stride = min(64, room // 4) if overlap is None else overlap
    if not 0 <= stride < room:
        raise ConfigurationError(f"overlap_tokens={overlap!r} is not between 0 and {room - 1}")
    tokenizer.enable_truncation(folder.max_length, stride=stride)
    return tokenizer


def _load_onnx(folder: ModelFolder, threads: int) -> tuple[frozenset[str], Callable[[dict[str, Any]], Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait cost nothing
    try:
        session = onnxruntime.InferenceSession(str(folder.weights), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # the runtime's errors have no class in common
        raise ConfigurationError(f"ONNX Runtime cannot load {str(folder.weights)!r}: {exc}") from exc
    inputs = {one.name: one.type for one in session.get_inputs()}
    if "input_ids" not in inputs or not set(inputs) <= _INPUTS:
        raise ConfigurationError(
            f"{str(folder.weights)!r} wants {sorted(inputs)}; a text classifier takes {sorted(_INPUTS)}"
        )
    kinds = {name: np.int32 if kind == "tensor(int32)" else np.int64 for name, kind in inputs.items()}
    outputs = [one.name for one in session.get_outputs()]
    output = "logits" if "logits" in outputs else outputs[0]

    def run(arrays: dict[str, Any]) -> Any:
        return session.run([output], {name: array.astype(kinds[name]) for name, array in arrays.items()})[0]

    return frozenset(inputs), run


class _Scoring:
    """From windows to (probability of the unsafe labels, the likeliest of those)."""

    def __init__(
        self,
        run: Callable[[dict[str, Any]], Any],
        names: frozenset[str],
        folder: ModelFolder,
        temperature: float,
        *,
        pad: int,
        alone: bool,
    ) -> None:
        self._run, self._names, self._folder, self._temperature = run, names & _INPUTS, folder, temperature
        self._pad, self._alone = pad, alone

    def __call__(self, windows: Sequence[_Window]) -> list[tuple[float, int]]:
        results: list[tuple[float, int] | None] = [None] * len(windows)
        groups: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            # A model that quantises as it runs would rate a text differently in other company: each goes alone.
            key = -index - 1 if self._alone else -(-len(window.ids) // _PAD_TO)
            groups.setdefault(key, []).append(index)
        for members in groups.values():
            for index, result in zip(members, self._batch([windows[one] for one in members]), strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def _batch(self, windows: Sequence[_Window]) -> list[tuple[float, int]]:
        longest = max(len(window.ids) for window in windows)
        arrays = {name: np.zeros((len(windows), longest), np.int64) for name in self._names}
        arrays["input_ids"][:] = self._pad
        for row, window in enumerate(windows):
            size = len(window.ids)
            arrays["input_ids"][row, :size] = window.ids
            if "attention_mask" in arrays:
                arrays["attention_mask"][row, :size] = 1
            if "token_type_ids" in arrays:
                arrays["token_type_ids"][row, :size] = window.types
        try:
            logits = self._run(arrays)
        except LlmopsError:
            raise
        except Exception as exc:  # the runtime's errors have no class in common
            raise GuardFailed(f"the model cannot be run: {exc}", guard="classifier") from exc
        return self._read(np.asarray(logits, dtype=np.float64), len(windows))

    def _read(self, logits: Any, rows: int) -> list[tuple[float, int]]:
        labels = len(self._folder.labels)
        if logits.shape != (rows, labels):
            raise ConfigurationError(
                f"the model {str(self._folder.path)!r} gives {logits.shape} for {rows} texts, and has {labels} labels "
                f"({list(self._folder.labels)}); ({rows}, {labels}) was expected"
            )
        if not np.isfinite(logits).all():
            raise GuardFailed("the model gave numbers that are not finite", guard="classifier")
        scaled = np.clip(logits / self._temperature, -60, 60)
        unsafe = list(self._folder.unsafe)
        if self._folder.multi_label:
            each = 1 / (1 + np.exp(-scaled))
            total = each[:, unsafe].max(axis=1)
        else:
            each = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            each /= each.sum(axis=1, keepdims=True)
            total = each[:, unsafe].sum(axis=1)
        likeliest = each[:, unsafe].argmax(axis=1)
        # The last digits depend on the company in a batch; a score does not.
        return [
            (min(1.0, round(float(value), 5)), unsafe[int(best)]) for value, best in zip(total, likeliest, strict=True)
        ]
