"""`PII`: personal data with a form of its own, replaced by numbered placeholders, and put back in the answer."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Sequence
from typing import Any, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns import PatternAction, PatternGuard, Rule
from llmops_sdk.protocols import GuardContext, GuardStream

__all__ = ["PII", "PII_KINDS"]

# Letters of the Latin, Greek and Cyrillic scripts, which addresses of internationalised mail may hold.
_LETTER = r"A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_GAP = r"[ .\-\u00a0\u2009\u2011\u202f]"
_SPACE = r"[ \u00a0\u2009\u202f]"
# No letter or digit before the first character; it stands after that one, so that `re` can skip to it.
_FIRST = r"(?<![0-9A-Za-z].)"

# ISO 13616 registry: length of an IBAN by country.
_IBAN_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL SD FK",
    19: "MK SI",
    20: "AT BA EE KZ LT LU XK MN",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE IL IQ OM TL SO",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "FR GR IT MC MR SM DJ BI",
    28: "AL AZ BY CY DO GT HU LB PL NI SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
# Leading digits of card networks (ISO/IEC 7812): all of 3 to 6, Mastercard's 2, and JCB's old 1800 and 2131.
_CARD_PREFIX = re.compile("[3-6]|2(?:131|2[2-9]|[3-6]|7[012])|1800")
_CARD_LENGTHS = range(12, 20)


def _digits(match: re.Match[str]) -> str:
    return "".join(c for c in match.group() if "0" <= c <= "9")


def _is_card(match: re.Match[str]) -> bool:
    """The check digit of Luhn (ISO/IEC 7812-1), and a network that issues such numbers."""
    digits = _digits(match)
    if len(digits) not in _CARD_LENGTHS or len(set(digits)) == 1 or not _CARD_PREFIX.match(digits):
        return False
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def _is_iban(match: re.Match[str]) -> bool:
    """ISO 7064, modulo 97."""
    text = "".join(c for c in match.group().upper() if c.isascii() and c.isalnum())
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _is_ip(match: re.Match[str]) -> bool:
    """An address that can belong to someone: neither unspecified nor loopback."""
    text = match.group()
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and sum(bool(group) for group in text.split(":")) < 3:
        return False  # `a::b` is a name in C++ more often
    return not (address.is_unspecified or address.is_loopback or text == "255.255.255.255")


def _is_ssn(match: re.Match[str]) -> bool:
    """The Social Security Administration gives out no 000, 666 and 9xx areas, no 00 groups and no 0000 serials."""
    digits = "".join(c for c in match.group(match.lastindex or 0) if c.isdigit())
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def _is_nir(match: re.Match[str]) -> bool:
    """INSEE: key = 97 - number modulo 97; 2A and 2B (Corsica) count as 19 and 18."""
    text = "".join(c for c in match.group().upper() if c.isascii() and c.isalnum())
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def _is_phone(match: re.Match[str]) -> bool:
    """7 to 15 digits (ITU-T E.164), and not one digit over and over."""
    digits = _digits(match)
    least = 11 if digits.startswith("00") else 7
    return least <= len(digits) <= 17 and len(set(digits)) > 2


def _ibans() -> str:
    # What follows two letters and two digits; the letters are looked at from there.
    return "|".join(
        rf"(?<=(?:{'|'.join(countries.split())})..)(?:{_SPACE}?[0-9A-Z]){{{length - 4}}}"
        for length, countries in _IBAN_LENGTHS.items()
    )


_EXTENSION = r"(?: ?(?:x|ext\.?|Ext\.?) ?[0-9]{1,6})?"

_RULES: tuple[Rule, ...] = (
    Rule(
        kind="email",
        # RFC 5321 allows 64 characters before the @ and 255 after it.
        pattern=rf"[{_LETTER}0-9_](?:[{_LETTER}0-9._%+'\-]{{0,62}}[{_LETTER}0-9_+\-])?"
        rf"@[{_LETTER}0-9\-]{{1,63}}(?:\.[{_LETTER}0-9\-]{{1,63}}){{0,6}}\.[{_LETTER}]{{2,24}}(?![{_LETTER}])",
        literals=("@",),
    ),
    Rule(
        kind="iban",
        pattern=rf"[A-Z]{_FIRST}[A-Z][0-9]{{2}}(?:{_ibans()})(?![A-Za-z0-9])",
        hint="[0-9]",
        accepts=_is_iban,
    ),
    Rule(
        kind="card",
        pattern=rf"[1-6]{_FIRST}(?:[0-9]{{11,18}}"
        + "".join(
            "|" + _GAP.join(f"[0-9]{{{size}}}" for size in (sizes[0] - 1, *sizes[1:]))
            for sizes in ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (6, 7), (6, 6, 7))
        )
        + r")(?![0-9A-Za-z])",
        hint="[0-9]",
        accepts=_is_card,
    ),
    Rule(
        kind="nir",
        pattern=rf"[12]{_FIRST}{_SPACE}?[0-9]{{2}}{_SPACE}?[0-9]{{2}}{_SPACE}?[0-9][0-9ABab]"
        rf"{_SPACE}?[0-9]{{3}}{_SPACE}?[0-9]{{3}}{_SPACE}?[0-9]{{2}}(?![0-9A-Za-z])",
        hint="[0-9]",
        accepts=_is_nir,
    ),
    Rule(
        kind="ssn",
        pattern=r"[0-8](?<![0-9A-Za-z\-].)[0-9]{2}[\-\u2010\u2011][0-9]{2}[\-\u2010\u2011][0-9]{4}(?![0-9A-Za-z\-])",
        hint="[0-9]",
        accepts=_is_ssn,
    ),
    Rule(
        kind="ssn",
        pattern=r"[Ss](?<![A-Za-z].)(?:SN|sn|ocial [Ss]ecurity(?: (?:[Nn]umber|[Nn]o\.?|#))?)"
        r"(?: is)?[:= #]{0,3}([0-8][0-9]{2}[ .\-]?[0-9]{2}[ .\-]?[0-9]{4})(?![0-9A-Za-z])",
        literals=("ssn", "social security"),
        folded=True,
        accepts=_is_ssn,
        group=1,
    ),
    Rule(
        kind="ip",
        # Five numbers are a version: they match as a whole and are refused, and no part of them begins after a dot.
        pattern=r"[0-9](?<![0-9A-Za-z.].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?:\.[0-9]{1,3}){0,4}(?![0-9A-Za-z])",
        hint="[0-9]",
        accepts=_is_ip,
    ),
    Rule(
        kind="ip",
        pattern=r"[0-9A-Fa-f:](?<![0-9A-Za-z:.].)(?:(?<=:):|(?<!:)[0-9A-Fa-f]{0,3}:)(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:])",
        hint=r":[0-9A-Fa-f]{0,4}:",
        accepts=_is_ip,
    ),
    Rule(
        kind="phone",
        # ITU-T E.123: the international form, and `00` or `001-` in its place.
        pattern=rf"[+0](?<![0-9A-Za-z+].)(?:(?<=\+)|(?<=0)0)[1-9][0-9]{{0,3}}{_GAP}?(?:\([0-9]{{1,4}}\){_GAP}?)?"
        rf"[0-9]{{1,5}}(?:{_GAP}?[0-9]{{1,5}}){{1,5}}{_EXTENSION}(?![0-9A-Za-z])",
        hint="[0-9]",
        accepts=_is_phone,
    ),
    Rule(
        kind="phone",
        # North America.
        pattern=rf"[(1-9](?<![0-9A-Za-z.\-].)(?:(?<=1)[ .\-](?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}[ .\-])"
        rf"|(?<=\()[2-9][0-9]{{2}}\) ?|(?<=[2-9])[0-9]{{2}}[ .\-])"
        rf"[2-9][0-9]{{2}}[ .\-][0-9]{{4}}{_EXTENSION}(?![0-9A-Za-z\-])",
        hint="[0-9]",
        accepts=_is_phone,
    ),
    Rule(
        kind="phone",
        # National forms that begin with 0: France in pairs; Germany, the United Kingdom and others after an area code.
        pattern=rf"[(0](?<![0-9A-Za-z.\-/].)(?:(?<=0)[1-9](?:{_GAP}?[0-9]{{2}}){{4}}"
        rf"|(?:(?<=0)|(?<=\()0)[1-9][0-9]{{1,4}}\)?"
        r"(?: ?/ ?|[ \-])[0-9]{3,4}(?:[ \-]?[0-9]{2,5}){1,2})(?![0-9A-Za-z\-/])",
        hint="[0-9]",
        accepts=_is_phone,
    ),
)

PII_KINDS: tuple[str, ...] = tuple(dict.fromkeys(rule.kind for rule in _RULES))
"""The kinds of personal data that `PII` knows."""


# What a model may make of a placeholder: another case, other brackets, none, a backslash from Markdown, a space.
def _any_case(words: str) -> str:
    return re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", words)


_NAMES = (*PII_KINDS, "literal")
_INITIALS = "".join(sorted({kind[0] for kind in _NAMES}))
_ENDINGS = "|".join(rf"(?<={_any_case(kind[0])}){_any_case(kind[1:])}" for kind in _NAMES)
_NUMBERED = rf"(?:{'|'.join(map(_any_case, _NAMES))})(?:\\?_|[ \-])[0-9]{{1,6}}"
_PLACEHOLDER = Rule(
    kind="placeholder",
    pattern=rf"\\\[{_NUMBERED}\\\]|[\[<({{] ?{_NUMBERED} ?[\]>)}}]"
    rf"|[{_INITIALS}{_INITIALS.upper()}](?<![A-Za-z0-9_].)(?:{_ENDINGS})\\?_[0-9]{{1,6}}(?![0-9A-Za-z_])",
    hint=r"[_ \-][0-9]",
)


class _Vault:
    """The true values of one call, by placeholder. Several threads may fill it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._last: dict[str, int] = {}
        self._taken: set[str] = set()

    def hide(self, kind: str, value: str) -> str:
        """The placeholder of `value`, a new one if it has none yet."""
        with self._lock:
            known = self._placeholders.get((kind, value))
            if known is not None:
                return known
            number = self._last.get(kind, 0) + 1
            while (name := f"{kind.upper()}_{number}") in self._taken:
                number += 1
            self._last[kind] = number
            self._values[name] = value
            placeholder = self._placeholders[kind, value] = f"[{name}]"
            return placeholder

    def reserve(self, written: str) -> bool:
        """Note a placeholder that the text brings along; whether it means a value already, and so has to be hidden."""
        name = _name(written)
        with self._lock:
            self._taken.add(name)
            return name in self._values

    def reveal(self, written: str) -> str | None:
        """The value that a placeholder stands for."""
        return self._values.get(_name(written))


def _name(written: str) -> str:
    kind, number = re.findall("[A-Za-z]+|[0-9]+", written)
    return f"{kind.upper()}_{int(number)}"


class PII(PatternGuard):
    r"""Takes personal data out of a text and leaves numbered placeholders: `[EMAIL_1]`, `[PHONE_2]`.

    It finds e-mail addresses, telephone numbers, payment cards (Luhn), IBANs (modulo 97), IP addresses, US social
    security numbers and the French NIR (with its key). It does not find names and addresses of people: these need a
    model. A value gets the same placeholder wherever it occurs in one run, written in the same way; numbers begin anew
    with each run. Nothing is kept on the guard: the true values belong to the run and are dropped with it.

    With `restore=True` the true values come back in the answer. These ways of writing a placeholder are understood:
    `[EMAIL_1]`, any case, `<EMAIL_1>`, `(EMAIL_1)`, `{EMAIL_1}`, a space or hyphen in place of the underscore within
    brackets, Markdown's `EMAIL\_1`, and `EMAIL_1` without brackets. One that the model made up stays as it is. One
    that was in the text already never stands for somebody's data: its number is not given out any more, and if it was
    given out before, the text's own becomes a placeholder too (`[LITERAL_1]`), and comes back as it was.

    Args:
        restore: Put the true values back in the answer; goes with `action="rewrite"`.
        kinds: Which kinds to look for; all of `PII_KINDS` unless said otherwise.
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
        action: PatternAction = "rewrite",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        if kinds is not None and (isinstance(kinds, str) or not kinds or set(kinds) - set(PII_KINDS)):
            raise ConfigurationError(f"kinds={kinds!r}: PII knows {', '.join(PII_KINDS)}; write a list of some of them")
        if restore and action != "rewrite":
            raise ConfigurationError(
                f'restore=True needs action="rewrite", not {action!r}: there is nothing to restore'
            )
        rules = tuple(rule for rule in _RULES if kinds is None or rule.kind in kinds)
        super().__init__((_PLACEHOLDER, *rules) if restore else rules, action=action, ignore=ignore, **options)
        self.restore = restore

    def remember(self, context: GuardContext | None, /) -> Any:
        """The vault of this run; without a context, one for this text only."""
        if context is None:
            return _Vault()
        vault = context.call.state.get(self)
        # `setdefault` is one step, so two threads cannot get two vaults.
        return vault if vault is not None else context.call.state.setdefault(self, _Vault())

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """The placeholder of `text`. What overlaps gets one of its own, so that all of it can be restored."""
        vault: _Vault = memory
        if rule is _PLACEHOLDER:
            if extends or vault.reserve(text):
                return vault.hide("literal", text)
            return None
        return vault.hide(rule.kind, text)

    def prepare(self) -> None:
        """See `Guard.prepare`; the restorer's patterns, too."""
        super().prepare()
        if self.restore:
            _Restorer(_Vault()).prepare()

    def open_restorer(self, context: GuardContext, /) -> GuardStream | None:
        """Puts the true values of this run back into one answer; `None` unless `restore=True`."""
        return _Restorer(self.remember(context)).open_stream(context) if self.restore else None


class _Restorer(PatternGuard):
    name = "pii_restorer"

    def __init__(self, vault: _Vault) -> None:
        super().__init__((_PLACEHOLDER,))
        self._vault = vault

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        return self._vault.reveal(text)
