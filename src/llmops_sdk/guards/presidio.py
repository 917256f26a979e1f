"""`Presidio`: the recognizers of Microsoft Presidio, as a guard and as a recognizer of `PII`.

Needs the extra `presidio`. Nothing is installed or downloaded: a spaCy model has to be there already. Without one
(`model=None`) Presidio's patterns work, but no names and places are found.
"""

from __future__ import annotations

import functools
import importlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns.ignored import ignored
from llmops_sdk.guards._segments import Segment, SegmentGuard
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

try:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import EmailRecognizer
except ImportError as exc:
    raise MissingDependencyError("guards.presidio", package="presidio-analyzer", extra="presidio") from exc

__all__ = ["Presidio"]

_LOADING = threading.Lock()


class _LocalSpacy(SpacyNlpEngine):  # type: ignore[misc]  # Presidio is untyped
    """Presidio's spaCy engine over a pipeline that is loaded already: its own would install a missing model."""

    def __init__(self, language: str, pipeline: Any) -> None:
        super().__init__(
            models=[{"lang_code": language, "model_name": "local"}], ner_model_configuration=NerModelConfiguration()
        )
        self.nlp = {language: pipeline}

    def load(self) -> None:
        """Nothing: it is loaded."""


@functools.lru_cache(maxsize=8)
def _analyzer(language: str, model: str | None) -> Any:
    spacy = importlib.import_module("spacy")
    try:
        pipeline = spacy.blank(language) if model is None else spacy.load(model)
    except (OSError, ImportError) as exc:
        raise ConfigurationError(
            f"model={model!r}: spaCy finds no such pipeline here ({exc}); install it, or write model=None for patterns "
            "only"
        ) from exc
    engine = _LocalSpacy(language, pipeline)
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    _keep_suffixes_local(registry.recognizers)
    if model is None:
        registry.recognizers = [r for r in registry.recognizers if r.name != "SpacyRecognizer"]
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])


def _keep_suffixes_local(recognizers: Sequence[Any]) -> None:
    """Presidio asks tldextract about the domain of each e-mail address, which fetches a list; it has a copy of that."""
    extract = importlib.import_module("tldextract").TLDExtract(suffix_list_urls=(), cache_dir=None)
    for recognizer in recognizers:
        if isinstance(recognizer, EmailRecognizer):
            recognizer.validate_result = lambda text: extract(text).fqdn != ""


def _shared_analyzer(language: str, model: str | None) -> Any:
    with _LOADING:  # two threads must not load one model twice
        return _analyzer(language, model)


class Presidio(SegmentGuard):
    """Finds what Presidio finds: names, places, dates, and the patterns of its own, sentence by sentence.

    The analyzer is loaded once in a process for a language and a model, in `prepare` or on first use, and shared by all
    threads. To put the values back in the answer, give one to `PII(recognizers=[Presidio(...)], restore=True)`.

    Args:
        language: Two letters, `"en"`.
        model: Name or folder of a spaCy pipeline that is installed; `None` for patterns only.
        kinds: Presidio's entities, in its own spelling (`["PERSON", "LOCATION"]`); all unless said otherwise.
        threshold: Least score that counts, `0 < threshold <= 1`.
        action: `"rewrite"` (the default; `[person]` stands in place of a finding), `"block"`, or `"flag"`.
        ignore: Texts and compiled patterns that are no findings.
        options: See `GuardOptions`.

    Raises:
        MissingDependencyError: On import, where Presidio is not installed.
        ConfigurationError: Where it is loaded: there is no such pipeline, or Presidio knows no such kind.
    """

    threshold = 0.5

    def __init__(
        self,
        *,
        language: str = "en",
        model: str | None = None,
        kinds: Sequence[str] | None = None,
        threshold: float = 0.5,
        action: Literal["rewrite", "block", "flag"] = "rewrite",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(longest=1_000, **options)
        if action not in ("rewrite", "block", "flag"):
            raise ConfigurationError(f'action={action!r} is not one of "rewrite", "block" and "flag"')
        if isinstance(kinds, str) or (kinds is not None and not kinds):
            raise ConfigurationError(f'kinds={kinds!r}: write a list, such as ["PERSON"]')
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
        self.language = language
        self.model = model
        self.kinds = None if kinds is None else tuple(kinds)
        self.threshold = threshold
        self.action: Literal["rewrite", "block", "flag"] = action
        self._ignore = ignored(ignore)

    def configuration(self) -> dict[str, Any]:
        """See `Guard.configuration`. Of a pipeline of spaCy in a folder its files count, wherever they lie."""
        given = super().configuration()
        folder = given.get("model")
        return given | ({"model": Path(folder)} if folder is not None and Path(folder).is_dir() else {})

    def prepare(self) -> None:
        """Load the model, and see whether there is such a kind."""
        known = _shared_analyzer(self.language, self.model).get_supported_entities(self.language)
        unknown = sorted(set(self.kinds or ()) - set(known))
        if unknown:
            raise ConfigurationError(f"Presidio finds no {unknown} here; it knows {sorted(known)}")

    def _results(self, text: str, threshold: float) -> list[Finding]:
        found = _shared_analyzer(self.language, self.model).analyze(
            text=text.encode("utf-8", "replace").decode(),  # spaCy takes no lone surrogates
            language=self.language,
            entities=None if self.kinds is None else list(self.kinds),
            score_threshold=threshold,
        )
        findings = [
            Finding(
                kind=one.entity_type.lower(),
                start=one.start,
                end=one.end,
                score=min(max(float(one.score), 0.0), 1.0),
                rule=one.entity_type,
            )
            for one in found
            if self._ignore is None or not self._ignore.holds(text[one.start : one.end])
        ]
        return sorted(findings, key=lambda one: (one.start, -one.end, one.kind))

    def find(self, text: str, /) -> list[Finding]:
        """What is in `text`, for `PII(recognizers=[...])`; findings may overlap."""
        return self._results(text, self.threshold) if text and not text.isspace() else []

    def rate(self, text: str, context: GuardContext | None = None, /) -> float:
        """The score of the surest finding."""
        return max((one.score for one in self._results(text, 0.0)), default=0.0)

    def judge(self, segment: Segment, context: GuardContext | None, /) -> Verdict:
        """Decide about one sentence."""
        findings = self.find(segment.text)
        if not findings:
            return ALLOW
        reason = f"found {', '.join(sorted({one.kind for one in findings}))}"
        if self.action == "block":
            return Verdict.block(reason, findings)
        if self.action == "flag":
            return Verdict.flag(reason, findings)
        pieces: list[str] = []
        covered = 0
        for one in findings:
            if one.end <= covered:
                continue
            if one.start >= covered:
                pieces += (segment.text[covered : one.start], f"[{one.kind}]")
            covered = one.end
        return Verdict.rewrite("".join([*pieces, segment.text[covered:]]), findings, reason=reason)
