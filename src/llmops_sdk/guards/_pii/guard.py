"""`PII`: personal data, replaced by placeholders, and put back in the answer."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.guards._patterns.cover import Cover, Found, found_at
from llmops_sdk.guards._patterns.ignored import ignored
from llmops_sdk.guards._pii.restorer import PLACEHOLDER, Restorer
from llmops_sdk.guards._pii.rules import PII_KINDS
from llmops_sdk.guards._pii.scan import LONGEST, plain, scanner_for
from llmops_sdk.guards._pii.stream import PIIStream
from llmops_sdk.guards._pii.vault import Vault
from llmops_sdk.guards._segments import Cutter
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["PII", "PII_KINDS", "Recognizer"]

_SEGMENT = 1_000
_SHORTEST_KEY = 16


class Recognizer(Protocol):
    """Finds more kinds of personal data. A plain function `text -> findings` will do, too."""

    def find(self, text: str, /) -> Iterable[Finding]:
        """What is in `text`, a sentence or a few; may be called from several threads at once."""
        ...


Recognizes: TypeAlias = Recognizer | Callable[[str], Iterable[Finding]]


class PII(Guard):
    r"""Takes personal data out of a text and leaves numbered placeholders: `[EMAIL_1]`, `[PHONE_2]`.

    It finds e-mail addresses, telephone numbers, IP and MAC addresses, payment cards, bank accounts, and the numbers
    that many countries give to people (`PII_KINDS`), which are told by their check digits and by the words before
    them. It does not find names and addresses of people: these need a model, see `recognizers`. A value gets the same
    placeholder wherever it occurs in one run, written in the same way; numbers begin anew with each run. Nothing is
    kept on the guard: the true values belong to the run and are dropped with it.

    With `restore=True` the true values come back in the answer. These ways of writing a placeholder are understood:
    `[EMAIL_1]`, any case, `<EMAIL_1>`, `(EMAIL_1)`, `{EMAIL_1}`, a space or hyphen in place of the underscore within
    brackets, Markdown's `EMAIL\_1`, a URL's `%5BEMAIL_1%5D`, `EMAIL_1` without brackets, and endings (`[EMAIL_1]'s`,
    `EMAIL_1s`). In the arguments of a tool call the values are escaped, so that these stay JSON. A placeholder that
    the model made up stays as it is. One that was in the text already never stands for somebody's data: its number is
    not given out any more, and if it was given out before, the text's own becomes a placeholder too (`[LITERAL_1]`),
    and comes back as it was.

    Args:
        restore: Put the true values back in the answer; goes with `action="rewrite"`.
        kinds: Which kinds to look for; all of `PII_KINDS` unless said otherwise.
        recognizers: More finders, such as `guards.presidio.Presidio(...)`, for what needs a model; all that they find
            counts. The guard then reads a text sentence by sentence, in a thread (`blocking`).
        pseudonym_key: At least 16 secret bytes: placeholders are derived from the values with HMAC-SHA-256
            (`[EMAIL_5d41402a]`) instead of numbered, and so are the same in all runs and processes with this key.
        vault: Where the true values are kept over several runs (one conversation, say); without it each run has its
            own.
        action: `"rewrite"` (the default), `"block"`, or `"flag"`.
        ignore: Texts and compiled patterns that are no findings.
        options: See `GuardOptions`.

    Example:
        >>> PII().check("Write to ana@example.org or bo@example.org, ana@example.org is better").text
        'Write to [EMAIL_1] or [EMAIL_2], [EMAIL_1] is better'
    """

    def __init__(
        self,
        *,
        restore: bool = False,
        kinds: Sequence[str] | None = None,
        recognizers: Sequence[Recognizes] = (),
        pseudonym_key: bytes | None = None,
        vault: Vault | None = None,
        action: Literal["rewrite", "block", "flag"] = "rewrite",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if kinds is not None and (isinstance(kinds, str) or not kinds or set(kinds) - set(PII_KINDS)):
            raise ConfigurationError(f"kinds={kinds!r}: PII knows {', '.join(PII_KINDS)}; write a list of some of them")
        if action not in ("rewrite", "block", "flag"):
            raise ConfigurationError(f'action={action!r} is not one of "rewrite", "block" and "flag"')
        if restore and action != "rewrite":
            raise ConfigurationError(
                f'restore=True needs action="rewrite", not {action!r}: there is nothing to restore'
            )
        if pseudonym_key is not None and (not isinstance(pseudonym_key, bytes) or len(pseudonym_key) < _SHORTEST_KEY):
            raise ConfigurationError(
                "pseudonym_key: write at least 16 secret bytes (`secrets.token_bytes(32)` makes some)"
            )
        if pseudonym_key is not None and vault is not None:
            raise ConfigurationError("pseudonym_key and vault: give the key to the vault, `Vault(key=...)`")
        self.restore = restore
        self.action: Literal["rewrite", "block", "flag"] = action
        self._ignore = ignored(ignore)
        looked_for = PII_KINDS if kinds is None else kinds
        self._scanner = scanner_for(frozenset((*looked_for, PLACEHOLDER.kind) if restore else looked_for), self._ignore)
        self._finders = tuple(_finder(recognizer) for recognizer in recognizers)
        self._key = pseudonym_key
        self._vault = vault
        self.blocking = bool(self._finders)
        self.window = (LONGEST + 1 if action != "flag" else 0) + (_SEGMENT if self._finders and action != "flag" else 0)

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        found = self._scanner.find(text, plain(text), 0, len(text), 0, {})
        return self._open(context).whole(text, found) if found or self._finders else ALLOW

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return self._open(context)

    def _open(self, context: GuardContext | None) -> PIIStream:
        vault = self._vault_of(context) if self.action == "rewrite" else None
        origin = "" if context is None else context.origin
        hide = _hide_again if context is not None and context.again else _hide
        return PIIStream(
            self._scanner,
            Cover(self.action, functools.partial(hide, vault), origin=origin),
            passes=self.action == "flag",
            recognize=self._recognize if self._finders else None,
            cutter=Cutter(_SEGMENT, 1, 0) if self._finders else None,
        )

    def _vault_of(self, context: GuardContext | None) -> Vault:
        """The vault of this run; without a context, one for this text only."""
        if self._vault is not None:
            return self._vault
        if context is None:
            return Vault(key=self._key)
        vault: Vault | None = context.call.state.get(self)
        if vault is None:
            # `setdefault` is one step, so two threads cannot get two vaults.
            vault = context.call.state.setdefault(self, Vault(key=self._key))
        return vault

    def _recognize(self, text: str) -> list[Found]:
        found = []
        for find in self._finders:
            for finding in find(text):
                start, end = finding.start, finding.end
                if not 0 <= start < end <= len(text):
                    raise ValueError(f"a recognizer found {finding!r} in a text of {len(text)} characters")
                if self._ignore is None or not self._ignore.holds(text[start:end]):
                    found.append(found_at(start, end, 2, finding.kind, finding.score))
        return found

    def configuration(self) -> dict[str, Any]:
        """See `Guard.configuration`. Of the key and the vault it only says whether they are given."""
        given = super().configuration()
        return given | {name: True for name in ("pseudonym_key", "vault") if name in given}

    def prepare(self) -> None:
        """See `Guard.prepare`; the restorer's patterns, too."""
        if self.restore:
            Restorer(Vault()).prepare()

    def open_restorer(self, context: GuardContext, /) -> GuardStream | None:
        """Puts the true values of this run back into one answer; `None` unless `restore=True`."""
        return Restorer(self._vault_of(context)).open_stream(context) if self.restore else None


def _hide(vault: Vault | None, found: Found, text: str, extends: bool) -> str | None:
    """The placeholder of `text`. What overlaps gets one of its own, so that all of it can be restored."""
    assert vault is not None  # it is asked only where findings are rewritten
    if found.kind == PLACEHOLDER.kind:
        return vault.hide("literal", text) if extends or vault.reserve(text) else None
    return vault.hide(found.kind, text)


def _hide_again(vault: Vault | None, found: Found, text: str, extends: bool) -> str | None:
    """`_hide`, in a text where a placeholder is no one else's: it stands for a value already, and stays."""
    return None if found.kind == PLACEHOLDER.kind and not extends else _hide(vault, found, text, extends)


def _finder(recognizer: Recognizes) -> Callable[[str], Iterable[Finding]]:
    find: Any = getattr(recognizer, "find", recognizer)
    if not callable(find) or isinstance(recognizer, str | type):  # a text has a `find` of another kind
        raise ConfigurationError(
            f"{recognizer!r} is no recognizer: write a function `text -> findings`, or an object with such a `find`"
        )
    finder: Callable[[str], Iterable[Finding]] = find
    return finder
