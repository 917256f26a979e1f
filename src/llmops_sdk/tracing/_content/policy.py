"""`ContentPolicy`: which texts of runs are shown, who redacts them, and where long ones go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from llmops_sdk import environment
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.protocols import GuardLike
from llmops_sdk.tracing._content.redaction import Redaction, Redactor
from llmops_sdk.tracing._content.store import Store
from llmops_sdk.verdicts import Stage

__all__ = ["PARTS", "ContentPolicy", "Part", "policy_of"]

Part: TypeAlias = Literal["inputs", "outputs", "reasoning", "tools", "images", "variables", "guards", "judgements"]
PARTS: frozenset[Part] = frozenset(get_args(Part))

_HIDES: Mapping[str, frozenset[Part]] = {
    "INPUTS": frozenset({"inputs", "variables"}),
    "INPUT_MESSAGES": frozenset({"inputs"}),
    "INPUT_TEXT": frozenset({"inputs", "variables"}),
    "INPUT_IMAGES": frozenset({"images"}),
    "OUTPUTS": frozenset({"outputs", "reasoning"}),
    "OUTPUT_MESSAGES": frozenset({"outputs", "reasoning"}),
    "OUTPUT_TEXT": frozenset({"outputs", "reasoning"}),
    "CHOICES": frozenset({"outputs", "reasoning"}),
    "PROMPTS": frozenset({"variables"}),
    "LLM_PROMPTS": frozenset({"variables"}),
}
"""What each `OPENINFERENCE_HIDE_...` hides of ours."""


class ContentPolicy:
    """Which texts of runs may leave the process, once their guards have let them pass.

    Whatever it says, a text is shown only if the guards of the run let it pass unseen or have made it clean, and never
    what they found; `docs/concepts/tracing/content.md` has the rules. One policy may serve several hooks.

    Args:
        show: The parts to show: `"inputs"` (messages that are sent), `"outputs"` (answers), `"reasoning"`, `"tools"`
            (their arguments and results), `"images"`, `"variables"` (of the prompt), `"guards"` (what each was given
            and let pass) and `"judgements"` (explanations, and what a judge was asked). All by default. What
            `OPENINFERENCE_HIDE_INPUTS` and its like hide is hidden whatever stands here.
        redact: Guards that read each text before it is shown, in this order; what they rewrite is shown rewritten.
            A text that one of them blocks, flags or breaks at is withheld. Give those of the pipeline whose findings
            shall not hide the rest of a run. They put nothing back (`PII(restore=True)`).
        max_characters: Of the texts of one list of messages; later texts are cut. `max_characters >= 1`.
        store: URL of a folder for long texts and images, for fsspec: `"s3://bucket/traces"`, `"file:///var/traces"`.
            The message then holds a reference to it. By default `OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH`.
        store_over: Characters of a text from which on it goes to the store. `store_over >= 0`.

    Raises:
        ConfigurationError: An argument makes no sense, or nothing can be stored at the URL.
        MissingDependencyError: A `store` needs the package `fsspec`, or the one for its kind of URL.

    Example:
        >>> from llmops_sdk.guards import PII
        >>> policy = ContentPolicy(show={"inputs", "outputs"}, redact=[PII()], max_characters=10_000)
        >>> sorted(policy.show)
        ['inputs', 'outputs']
    """

    withheld: ClassVar[str] = "[withheld]"

    def __init__(
        self,
        *,
        show: Iterable[Part] = PARTS,
        redact: Sequence[GuardLike] = (),
        max_characters: int = 65_536,
        store: str | None = None,
        store_over: int = 4096,
    ) -> None:
        asked = _parts(show)
        if not (_is_whole(max_characters, 1) and _is_whole(store_over, 0)):
            raise ConfigurationError(
                f"`max_characters` is a whole number from 1 on, and `store_over` one from 0 on, not {max_characters!r} "
                f"and {store_over!r}"
            )
        hidden = frozenset[Part]().union(*(_HIDES.get(name, ()) for name in environment.openinference_hides()))
        self.show: frozenset[Part] = asked - hidden
        self.max_characters = max_characters
        redaction = Redaction(redact)
        self._redaction = redaction if redaction.guards else None
        self._url = store or environment.content_store()
        self._store_over = store_over
        self._store = None if self._url is None else Store(self._url)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def redacting(self) -> frozenset[str]:
        """Names of the guards that redact."""
        return frozenset() if self._redaction is None else self._redaction.names

    @property
    def stores(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    @property
    def takes_time(self) -> bool:
        """Whether others have to be waited for: guards that redact, or a store."""
        return self._redaction is not None or self._store is not None

    @property
    def counts(self) -> Mapping[str, int]:
        """Texts that were `"withheld"` by redaction, `"cut"` or `"stored"`; `"redactor_failed"`, `"store_failed"`."""
        with self._lock:
            return dict(self._counts)

    def count(self, what: str) -> None:
        """One more of it."""
        with self._lock:
            self._counts[what] += 1

    def redactor(self) -> Redactor | None:
        """What redacts the texts of one run; `None` where nobody does."""
        return None if self._redaction is None else self._redaction.of_a_run(self.count)

    def cleaner(self) -> Callable[[Any, Stage], Any]:
        """What gives the values of one run as they may be shown: with each text in their lists and mappings redacted.

        A text that may not be shown is `ContentPolicy.withheld`, `"[withheld]"`.
        """
        redact = self.redactor()

        def clean(value: Any, stage: Stage) -> Any:
            if redact is None:
                return value
            if isinstance(value, Mapping):
                return {name: clean(one, stage) for name, one in value.items()}
            if isinstance(value, list | tuple):
                return [clean(one, stage) for one in value]
            if not isinstance(value, str) or not value:
                return value
            shown = redact(value, stage, stage)
            return self.withheld if shown is None else shown

        return clean

    def stored(self, text: str) -> str | None:
        """Where a long text is kept from now on; `None` for a short one, without a store, or when that fails."""
        if self._store is None or len(text) <= self._store_over:
            return None
        return self._put(text.encode(), ".txt")

    def stored_bytes(self, data: bytes) -> str | None:
        """Where an image is kept from now on; `None` without a store, or when that fails."""
        return self._put(data, "")

    def _put(self, data: bytes, ending: str) -> str | None:
        uri = None if self._store is None else self._store.put(data, ending)
        self.count("store_failed" if uri is None else "stored")
        return uri

    def __reduce__(self) -> tuple[Any, ...]:
        guards = () if self._redaction is None else self._redaction.guards
        return _again, (self.show, guards, self.max_characters, self._url, self._store_over)

    def __repr__(self) -> str:
        return f"<ContentPolicy shows {', '.join(sorted(self.show)) or 'nothing'}>"


def _parts(show: Iterable[Part]) -> frozenset[Part]:
    try:
        asked = None if isinstance(show, str) else frozenset(show)
    except TypeError:  # not iterable, or of what cannot stand in a set
        asked = None
    if asked is None or not asked <= PARTS:
        raise ConfigurationError(f"`show` is a set of some of {', '.join(sorted(PARTS))}, not {show!r}")
    return asked


def _is_whole(number: object, least: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= least


def _again(
    show: frozenset[Part], redact: Sequence[GuardLike], max_characters: int, store: str | None, store_over: int
) -> ContentPolicy:
    return ContentPolicy(show=show, redact=redact, max_characters=max_characters, store=store, store_over=store_over)


def policy_of(
    content: bool | ContentPolicy | None, *, where: Literal["span", "event"] = "span"
) -> ContentPolicy | None:
    """The policy that an argument `content` means, `None` for no content.

    `None` leaves it to `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`, which tells spans and events apart.

    Raises:
        ConfigurationError: It is none of these.
    """
    if content is None:
        content = where in environment.content_goes_to()
    if isinstance(content, bool):
        return ContentPolicy() if content else None
    if not isinstance(content, ContentPolicy):
        raise ConfigurationError(f"`content` is True, False or a `tracing.ContentPolicy(...)`, not {content!r}")
    return content
