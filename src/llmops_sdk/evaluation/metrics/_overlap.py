"""How much an answer has in common with a reference: BLEU, chrF, ROUGE, and the F1 of their words."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, Unpack, get_args

from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.evaluation.metrics._metric import Score
from llmops_sdk.evaluation.metrics._texts import SQUAD, FormMetric, FormOptions, ReadingOptions, TextForm, TextMetric

__all__ = ["BLEU", "ROUGE", "ChrF", "Part", "TokenF1", "corpus_bleu"]

Part = Literal["f1", "precision", "recall"]
_ROUGE_TYPES = ("rouge1", "rouge2", "rouge3", "rouge4", "rougeL", "rougeLsum")


def _library(name: str, feature: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(feature, package=package, extra="evaluation") from error


def _subsequences() -> Any:
    return _library("rapidfuzz.distance", "ROUGE", "rapidfuzz").LCSseq


class _SacreBLEU(TextMetric):
    """What the metrics of sacrebleu have in common: several references, and a scale from 0 to 100."""

    bounds = (0.0, 100.0)
    longest = 200_000
    _scorer: Any

    def configuration(self) -> dict[str, object]:
        """What its scores depend on: the library's version, too."""
        version = str(_library("sacrebleu", type(self).__name__, "sacrebleu").__version__)
        return {**super().configuration(), **self._settings(), "sacrebleu": version}

    def _settings(self) -> dict[str, object]:
        raise NotImplementedError

    def best(self, said: str, accepted: Sequence[str]) -> float | Score:
        """The score against all references together, as the metric defines it."""
        return min(float(self._scorer.sentence_score(said, list(accepted)).score), 100.0)

    def compare(self, said: str, expected: str) -> float | Score:
        """The score against one reference."""
        return self.best(said, [expected])


class BLEU(_SacreBLEU):
    """BLEU of one answer (Papineni et al., 2002), 0 to 100, by sacrebleu, with its effective order and smoothing.

    With several references each n-gram may be found in any of them. The mean over cases is **not** the BLEU that papers
    report: that one is of the corpus, whose n-grams are counted together. `summary_of("bleu", scores)` gives it, from
    the counts that each score keeps in its `details`.

    Args:
        tokenize: How sacrebleu parts words: `"13a"` (the default), `"intl"`, `"zh"`, `"ja-mecab"`, `"char"`, ...
        lowercase: Whether capitals do not count.
        options: See `ReadingOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.
        MissingDependencyError: `sacrebleu` is not installed.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> case = Case(input="?", expected="The dog bit the man.")
        >>> round(BLEU()(case, ("?" | Scripted("The dog bit the guy.")).run()).value, 2)
        53.73
    """

    kind: ClassVar[str] = "bleu"

    def __init__(self, *, tokenize: str = "13a", lowercase: bool = False, **options: Unpack[ReadingOptions]) -> None:
        super().__init__("bleu", options)
        self._tokenize, self._lowercase = tokenize, lowercase
        module = _library("sacrebleu.metrics", "BLEU", "sacrebleu")
        if tokenize not in module.BLEU.TOKENIZERS:
            raise ConfigurationError(
                f"`tokenize` is one of {', '.join(map(repr, sorted(module.BLEU.TOKENIZERS)))}, not {tokenize!r}"
            )
        self._scorer = module.BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=True)

    def _settings(self) -> dict[str, object]:
        return {"tokenize": self._tokenize, "lowercase": self._lowercase}

    def best(self, said: str, accepted: Sequence[str]) -> Score:
        """The score against all references together."""
        found = self._scorer.sentence_score(said, list(accepted))
        lengths = [int(found.sys_len), int(found.ref_len)]
        counts = [list(map(int, found.counts)), list(map(int, found.totals)), lengths]
        return Score(value=min(float(found.score), 100.0), details={"bleu": counts})


def corpus_bleu(scores: Iterable[Score]) -> float | None:
    """The BLEU of a corpus, 0 to 100, of the counts that `BLEU` keeps in its scores; `None` where there are none."""
    kept = [score.details["bleu"] for score in scores if "bleu" in score.details]
    if not kept:
        return None
    counts, totals, (said, reference) = (
        [sum(column) for column in zip(*part, strict=True)] for part in zip(*kept, strict=True)
    )
    bleu = _library("sacrebleu.metrics", "BLEU", "sacrebleu").BLEU
    return min(float(bleu.compute_bleu(counts, totals, said, reference, smooth_method="exp").score), 100.0)


class ChrF(_SacreBLEU):
    """chrF of one answer (Popović, 2015), 0 to 100, by sacrebleu: F-score of n-grams of characters.

    Of several references the best one counts. The mean over cases is not the chrF of the corpus, whose n-grams are
    counted together; the two are usually near each other.

    Args:
        word_order: Longest n-grams of words that count, too: 0 is chrF, 2 is chrF++.
        char_order: Longest n-grams of characters, `>= 1`.
        beta: How much more recall weighs than precision, `>= 1`.
        lowercase: Whether capitals do not count.
        options: See `ReadingOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.
        MissingDependencyError: `sacrebleu` is not installed.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> round(ChrF()(Case(input="?", expected="the cat sat on the mat"), ("?" | Scripted("the cat sat")).run()), 2)
        49.59
    """

    def __init__(
        self,
        *,
        word_order: int = 0,
        char_order: int = 6,
        beta: int = 2,
        lowercase: bool = False,
        **options: Unpack[ReadingOptions],
    ) -> None:
        super().__init__("chrf", options)
        for name, value, least in (("word_order", word_order, 0), ("char_order", char_order, 1), ("beta", beta, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 100:
                raise ConfigurationError(f"`{name}` is a whole number from {least} to 100, not {value!r}")
        self._orders = {"word_order": word_order, "char_order": char_order, "beta": beta}
        self._lowercase = lowercase
        module = _library("sacrebleu.metrics", "chrF", "sacrebleu")
        self._scorer = module.CHRF(**self._orders, lowercase=lowercase)

    def _settings(self) -> dict[str, object]:
        return {**self._orders, "lowercase": self._lowercase}


class ROUGE(TextMetric):
    """ROUGE of one answer (Lin, 2004), 0 to 1, as the package rouge-score has it.

    Of several references the best one counts. Words are runs of letters a-z and digits: for languages in other scripts
    use `ChrF`.

    Args:
        kind: `"rouge1"` to `"rouge4"` (n-grams), `"rougeL"` (the longest common subsequence) or `"rougeLsum"` (that by
            lines, for summaries).
        measure: `"f1"`, `"precision"` or `"recall"`; all three stand in `details`.
        stem: Whether words are compared by their stems (Porter), English only.
        options: See `ReadingOptions`; the name is by default that of the type.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.
        MissingDependencyError: `rouge-score` is not installed.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> case = Case(input="?", expected="The quick brown fox jumps over the lazy dog")
        >>> round(ROUGE("rouge1")(case, ("?" | Scripted("The quick brown dog jumps on the log.")).run()).value, 3)
        0.706
    """

    bounds = (0.0, 1.0)

    def __init__(
        self,
        kind: str = "rougeL",
        /,
        *,
        measure: Part = "f1",
        stem: bool = False,
        **options: Unpack[ReadingOptions],
    ) -> None:
        super().__init__(str(kind).lower(), options)
        if kind not in _ROUGE_TYPES:
            raise ConfigurationError(f"a ROUGE is one of {', '.join(map(repr, _ROUGE_TYPES))}, not {kind!r}")
        self._measure = part(measure)
        self._type, self._stem = kind, stem
        self.longest = 10_000 if kind == "rougeLsum" else 100_000
        scorer = _library("rouge_score.rouge_scorer", "ROUGE", "rouge-score")
        self._tokens = _library("rouge_score.tokenizers", "ROUGE", "rouge-score").DefaultTokenizer(stem)
        self._scorer = scorer.RougeScorer([kind], tokenizer=self._tokens)
        # The package looks for common subsequences in plain Python: a second for two texts of 2,000 words.
        _subsequences()

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**super().configuration(), "type": self._type, "measure": self._measure, "stem": self._stem}

    def compare(self, said: str, expected: str) -> Score:
        """The score against one reference."""
        if self._type != "rougeL":
            found = self._scorer.score(expected, said)[self._type]
            return measured(found.precision, found.recall, self._measure)
        left, right = self._tokens.tokenize(expected), self._tokens.tokenize(said)
        common = _subsequences().similarity(left, right)
        return measured(common / len(right) if right else 0.0, common / len(left) if left else 0.0, self._measure)


class TokenF1(FormMetric):
    """F1 of the words that answer and reference have in common, 0 to 1, as the script of SQuAD 2.0 has it.

    Capitals, ASCII punctuation and articles do not count unless the options say so. Of several acceptable answers the
    best one counts. Where one of the two is empty the score is 1 if both are.

    Args:
        measure: `"f1"`, `"precision"` or `"recall"`; all three stand in `details`.
        options: See `FormOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> case = Case(input="Where?", expected="the Eiffel Tower")
        >>> round(TokenF1()(case, ("?" | Scripted("Eiffel tower, Paris.")).run()).value, 3)
        0.8
    """

    bounds = (0.0, 1.0)
    default_form: ClassVar[TextForm] = SQUAD
    default_name: ClassVar[str] = "token_f1"

    def __init__(self, *, measure: Part = "f1", **options: Unpack[FormOptions]) -> None:
        super().__init__(**options)
        self._measure = part(measure)

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**super().configuration(), "measure": self._measure}

    def compare(self, said: str, expected: str) -> Score:
        """The score against one acceptable answer."""
        given, right = said.split(), expected.split()
        if not given or not right:
            share = float(given == right)
            return measured(share, share, self._measure)
        common = (Counter(given) & Counter(right)).total()
        return measured(common / len(given), common / len(right), self._measure)


def part(given: Any) -> Part:
    """The name of a measure.

    Raises:
        ConfigurationError: There is no such one.
    """
    if given not in get_args(Part):
        raise ConfigurationError(f"`measure` is one of {', '.join(map(repr, get_args(Part)))}, not {given!r}")
    found: Part = given
    return found


def measured(precision: float, recall: float, measure: Part) -> Score:
    """A score of the one that counts, with all three in its details."""
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    found = {"f1": f1, "precision": precision, "recall": recall}
    return Score(value=found[measure], details=found)
