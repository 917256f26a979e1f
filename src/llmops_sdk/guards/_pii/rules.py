"""What `PII` looks for, as data: the shapes of numbers, the words around them, and patterns for what has no shape.

A shape is a number with every digit written as `9` and every letter as `A`: `"999-99-9999"`. It is found where it
stands alone; its check is asked, and where the shape alone says too little, a word that names it has to stand shortly
before it (`needed`). Bare digits always need that word, unless check digits and a date in them leave little to chance.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from llmops_sdk.guards._pii import check_digits as checks
from llmops_sdk.guards._pii.check_digits import has_date

__all__ = ["NOT_PERSONAL", "PATTERNS", "PII_KINDS", "SHAPES", "Pattern", "Shape"]

_GAP = r"[ .\-]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A number that is told by how it is written.

    Attributes:
        kind: What it is, as findings name it.
        forms: How it is written; `9` is a digit, `A` a letter.
        check: Looks at the letters and digits, in capitals.
        context: Words that name it, in small letters; a regular expression whose alternatives begin with letters.
        needed: Whether one of these words has to stand before it. Where it has not, words that name something else
            (an order, an article) still refute it if `weak`.
        weak: Whether the check leaves one in ten or so to chance.
    """

    kind: str
    forms: tuple[str, ...]
    check: Callable[[str], bool] = bool
    context: str = ""
    needed: bool = False
    weak: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Something that has no fixed shape.

    Attributes:
        kind: What it is.
        pattern: A regular expression; no match is longer than `LONGEST`, holds a line break, or a space between two
            letters other than before and after `de`.
        start: Where in a skeleton (see `scan`) it is tried; one character, and what is around it. It begins with a
            character, and looks behind only then: so most of a text is skipped fast.
        zeros: Whether zeros are kept in that skeleton.
        hint: What is in every match, in its skeleton, and still cheaper to look for.
        check: Looks at the match.
        context: Words of which one has to stand before it. It is searched for behind these, and needs no `start`.
    """

    kind: str
    pattern: str
    start: bytes = b""
    zeros: bool = False
    hint: bytes = b""
    check: Callable[[str], bool] = bool
    context: str = ""


def _date(digits: str) -> bool:
    """Any order of year, month and day that a date of birth may have."""
    if digits[:2] in ("18", "19", "20") and len(digits) == 8 and has_date(digits[:4], digits[4:6], digits[6:]):
        return True
    year = digits[4:]
    if len(year) == 4 and year[:2] not in ("18", "19", "20"):
        return False
    return has_date(year, digits[2:4], digits[:2]) or has_date(year, digits[:2], digits[2:4])


def _ssn(digits: str) -> bool:
    """The Social Security Administration gives out no 000, 666 and 9xx areas, no 00 groups and no 0000 serials."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def _itin(digits: str) -> bool:
    """IRS: 9xx, and groups 50 to 65, 70 to 88, 90 to 92, 94 to 99."""
    group = int(digits[3:5])
    return digits[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or (group >= 90 and group != 93))


def _nino(text: str) -> bool:
    """HMRC, NIM39110: letters that are not given out."""
    if text[0] in "DFIQUV" or text[1] in "DFIQUVO" or text[:2] in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"):
        return False
    return text[8:] in ("A", "B", "C", "D")


def _is_british_licence(text: str) -> bool:
    """DVLA, INF45: five letters (filled with 9), a year, a month (plus 50 for women), a day, a year."""
    month = int(text[6:8])
    return (1 <= month <= 12 or 51 <= month <= 62) and 1 <= int(text[8:10]) <= 31 and text[:5].rstrip("9").isalpha()


def _pan(text: str) -> bool:
    """India: the fourth letter says what kind of holder it is."""
    return text[3] in "ABCFGHJLPT"


def _swedish(digits: str) -> bool:
    digits = digits[-10:]
    day = int(digits[4:6])
    return has_date(digits[:2], digits[2:4], str(day - 60 if day > 60 else day)) and checks.is_luhn(digits)


def _danish(digits: str) -> bool:
    """Day, month, year; the check digit is not kept any more since 2007."""
    return has_date(digits[4:6], digits[2:4], digits[:2])


def _danish_checked(digits: str) -> bool:
    total = sum(int(c) * w for c, w in zip(digits, (4, 3, 2, 7, 6, 5, 4, 3, 2, 1), strict=True))
    return _danish(digits) and total % 11 == 0


def _card_not_article(digits: str) -> bool:
    return checks.is_card(digits) and not (len(digits) == 13 and checks.is_ean(digits))


def _nhs_only(digits: str) -> bool:
    return digits[0] in "467" and checks.is_nhs(digits)


def _sin(digits: str) -> bool:
    return digits[0] not in "08" and len(set(digits)) > 2 and checks.is_luhn(digits)


def _some_digits(text: str) -> bool:
    return sum(c.isdigit() for c in text) >= 4


_NINO = r"nino|ni (?:number|no)|national insurance(?: (?:number|no))?"
_PASSPORT = (
    r"passports?|passeports?|reisep(?:ass|ässe)(?:nummer|nr)?|pass(?:nummer|nr|-nr|no)|pasaportes?|passaport[oi]|"
    "paspoort(?:nummer)?|travel document"
)
_SSN = r"ssn|ssns|social security|soc\.? sec\.?|itin|taxpayer id(?:entification)?|tin"
_DRIVER = (
    r"driver'?s?['\u2019]? ?licen[cs]es?|driving licen[cs]es?|dl|licen[cs]e (?:no|number|nr)|"
    r"führerschein(?:nummer|nr)?|"
    "permis(?: de conduire)?|permiso de conducir|carn(?:et|é) de conducir|licencia de conducir|"
    "patente(?: di guida)?|rijbewijs(?:nummer)?"
)
_PHONE = (
    r"tele?(?:ph|f)?on?[eo]?|phones?|tel|tél|téléphone|teléfono|"
    r"call(?: me)?|cell(?:ulare|ular)?|mobile?|móvil|portable|"
    r"fax|whatsapp|sms|text me|ring|handy(?:nummer)?|telefonnummer|rufnummer|mobilnummer|mobiltelefon|"
    r"appelez|llam\w{1,5}|"
    "chiam\\w{1,4}|contact|reach"
)
_BELGIAN = r"rijksregister\w{0,8}|registre national|national (?:register )?number|nn|niss|insz|national register"
_SWEDISH = r"personnummer|personnr|pnr|samordningsnummer|swedish (?:personal|id)|personal identity (?:code|number)"
_STEUER = r"steuer\w{0,12}|steuer-?(?:id|identifikationsnummer|nr|nummer)|idnr|id-nr|identifikationsnummer|tax id|tin"
_CARD = (
    r"cards?|visa|mastercard|maestro|amex|american express|discover|diners|jcb|credit|debit|"
    "kreditkarten?(?:nummer)?|karten?(?:nummer)?|carte|tarjeta|carta"
)
_BORN = (
    r"born(?: on)?|dob|d\.o\.b\.?|date of birth|birth ?dates?|birthday|geboren(?: am)?|geb\.?|geburts(?:datum|tag)|"
    r"née?(?:\(e\))?(?: le)?|date de naissance|naissance|"
    r"fecha de nacimiento|nacid[oa](?: el)?|nacimiento|nat[oa](?: il)?|"
    "data di nascita|nascita|data de nascimento|nascimento|nascid[oa]|geboortedatum|bday"
)

SHAPES: tuple[Shape, ...] = (
    Shape(kind="ssn", forms=("999-99-9999",), check=_ssn),
    Shape(kind="itin", forms=("999-99-9999",), check=_itin),
    Shape(
        kind="ssn",
        forms=("999-99-9999", "999 99 9999", "999.99.9999", "999999999"),
        check=_ssn,
        context=_SSN,
        needed=True,
    ),
    Shape(kind="itin", forms=("999-99-9999", "999 99 9999", "999999999"), check=_itin, context=_SSN, needed=True),
    Shape(
        kind="ein",
        forms=("99-9999999",),
        context=r"ein|fein|employer id(?:entification)?|federal tax id(?:entification)?|tax id",
        needed=True,
    ),
    Shape(kind="aba", forms=("999999999", "9999-9999-9"), check=checks.is_aba, context="routing|aba|rtn", needed=True),
    Shape(
        kind="card",
        forms=(
            *("9999 9999 9999 9999", "9999-9999-9999-9999", "9999.9999.9999.9999", "9999 999999 99999"),
            *("9999-999999-99999", "9999 999999 9999", "9999-999999-9999", "9999 9999 9999 9999 999"),
            *("9999-9999-9999-9999-999", "9999 9999 9999 9", "9999-9999-9999-9", "999999 9999999999999"),
            *("99999999 99999999", "9999 9999 9999 999", "999999 999999", "999999 9999999", "999999 999999 9999999"),
        ),
        check=checks.is_card,
        context=_CARD,
    ),
    Shape(
        kind="card",
        forms=("9" * 14, "9" * 15, "9" * 16, "9" * 17, "9" * 18, "9" * 19),
        check=checks.is_card,
        context=_CARD,
        weak=True,
    ),
    Shape(kind="card", forms=("9" * 12, "9" * 13), check=_card_not_article, context=_CARD, weak=True),
    Shape(kind="card", forms=("9999 9999 9999",), check=checks.is_card, context=_CARD, needed=True),
    Shape(kind="card", forms=("9" * 12, "9" * 13), check=checks.is_card, context=_CARD, needed=True),
    Shape(
        kind="nir",
        forms=(
            *("999999999999999", "9 99 99 99 999 999 99", "9999999999999 99", "9 99 99 9A 999 999 99"),
            *("99999 9A 999 999 99", "999999A99999999", "999999A999999 99", "9.99.99.99.999.999.99"),
            *("9-99-99-99-999-999-99", "9 99 99 99 999 999/99", "9 99 99 99 99999999", "9 9999 99 999 999 99"),
        ),
        check=checks.is_nir,
        context=r"nir|insee|s[ée]curit[ée] sociale|num[ée]ro de s[ée]cu",
    ),
    Shape(kind="nino", forms=("AA999999A", "AA-99-99-99-A", "AA.99.99.99.A"), check=_nino, context=_NINO),
    Shape(kind="nino", forms=("AA999999A",), context=_NINO, needed=True),
    Shape(kind="nhs", forms=("999 999 9999", "999-999-9999"), check=_nhs_only, context="nhs", weak=True),
    Shape(
        kind="nhs",
        forms=("9999999999", "999 999 9999", "999-999-9999"),
        check=checks.is_nhs,
        context="nhs",
        needed=True,
    ),
    Shape(
        kind="dni",
        forms=("99999999A", "99999999-A", "99999999 A", "99.999.999-A", "99.999.999A", "99.999.999 A"),
        check=checks.is_dni,
        context="dni|nif",
        weak=True,
    ),
    Shape(kind="dni", forms=("9999999A", "9999999-A"), check=checks.is_dni, context="dni|nif", needed=True),
    Shape(
        kind="nie",
        forms=("A9999999A", "A-9999999-A", "A9999999-A", "A-9999999A", "A 9999999 A"),
        check=checks.is_dni,
        context="nie",
    ),
    Shape(
        kind="codice_fiscale",
        forms=("AAAAAA99A99A999A", "AAA AAA 99A99 A999A", "AAA-AAA-99A99-A999A"),
        check=checks.is_codice_fiscale,
        context="codice fiscale|cf",
    ),
    Shape(kind="steuer_id", forms=("99 999 999 999",), check=checks.is_steuer_id, context=_STEUER),
    Shape(
        kind="steuer_id",
        forms=("99999999999", "99/999/999/999", "999 999 999 99"),
        check=checks.is_iso_7064_mod_11_10,
        context=_STEUER,
        needed=True,
    ),
    Shape(
        kind="bsn",
        forms=("999999999", "9999.99.999", "999 999 999"),
        check=checks.is_bsn,
        context=r"bsn|burgerservicenummer|sofi(?:nummer)?",
        needed=True,
    ),
    Shape(
        kind="rijksregisternummer",
        forms=("99.99.99-999.99", "99.99.99 999 99"),
        check=checks.is_belgian,
        context=_BELGIAN,
    ),
    Shape(
        kind="rijksregisternummer",
        forms=("99999999999", "999999 999 99", "999999-999-99", "999999-999.99"),
        check=checks.is_belgian,
        context=_BELGIAN,
        needed=True,
    ),
    Shape(
        kind="ahv",
        forms=("999.9999.9999.99", "9999999999999", "999 9999 9999 99"),
        check=checks.is_ahv,
        context="ahv|avs|oasi",
    ),
    Shape(kind="pesel", forms=("99999999999",), check=checks.is_pesel, context="pesel\\w{0,3}", needed=True),
    Shape(
        kind="personnummer",
        forms=("999999-9999", "99999999-9999", "999999+9999", "99999999+9999"),
        check=_swedish,
        context=_SWEDISH,
    ),
    Shape(
        kind="personnummer",
        forms=("9999999999", "999999999999", "99999999 9999", "999999 9999"),
        check=_swedish,
        context=_SWEDISH,
        needed=True,
    ),
    Shape(kind="cpr", forms=("999999-9999",), check=_danish_checked),
    Shape(
        kind="cpr",
        forms=("999999-9999", "9999999999", "999999 9999"),
        check=_danish,
        context=r"cpr(?:-?(?:nummer|nr|number))?|personnummer",
        needed=True,
    ),
    Shape(
        kind="fodselsnummer",
        forms=("99999999999", "999999 99999", "999999-99999"),
        check=checks.is_fodselsnummer,
        context=r"f[øo]dselsnummer|fnr|d-nummer|personnummer",
    ),
    Shape(
        kind="hetu",
        forms=("999999-999A", "999999+999A", "999999A999A", "999999-9999", "999999A9999", "999999+9999"),
        check=checks.is_hetu,
        context=r"hetu|henkil[öo]tunnus|personal identity (?:code|number)",
    ),
    Shape(
        kind="nif_pt",
        forms=("999999999", "999 999 999"),
        check=checks.is_nif_pt,
        context=r"nif|contribuinte|n\.i\.f\.?|identificação fiscal",
        needed=True,
    ),
    Shape(kind="cpf", forms=("999.999.999-99", "999.999.999/99"), check=checks.is_cpf, context="cpf"),
    Shape(kind="cpf", forms=("99999999999", "999999999-99"), check=checks.is_cpf, context="cpf", needed=True),
    Shape(kind="cnpj", forms=("99.999.999/9999-99",), check=checks.is_cnpj, context="cnpj"),
    Shape(kind="cnpj", forms=("99999999999999",), check=checks.is_cnpj, context="cnpj", needed=True),
    Shape(
        kind="aadhaar",
        forms=("9999 9999 9999", "9999-9999-9999"),
        check=checks.is_aadhaar,
        context="aadhaar|aadhar|uidai|uid",
        weak=True,
    ),
    Shape(
        kind="aadhaar",
        forms=("999999999999",),
        check=checks.is_aadhaar,
        context="aadhaar|aadhar|uidai|uid",
        needed=True,
    ),
    Shape(kind="pan", forms=("AAAAA9999A",), check=_pan),
    Shape(kind="sin", forms=("999-999-999",), check=_sin, context="sin|social insurance", weak=True),
    Shape(
        kind="sin",
        forms=("999 999 999", "999-999-999", "999999999"),
        check=checks.is_luhn,
        context=r"sin|social insurance|assurance sociale|nas",
        needed=True,
    ),
    Shape(
        kind="tfn",
        forms=("999 999 999", "999999999", "999-999-999", "99 999 999", "99999999"),
        check=checks.is_tfn,
        context="tfn|tax file(?: number)?",
        needed=True,
    ),
    Shape(
        kind="medicare", forms=("9999 99999 9", "9999-99999-9"), check=checks.is_medicare, context="medicare", weak=True
    ),
    Shape(kind="medicare", forms=("9999999999",), check=checks.is_medicare, context="medicare", needed=True),
    Shape(kind="resident_id", forms=("9" * 18, "9" * 17 + "A"), check=checks.is_resident_id),
    Shape(kind="curp", forms=("AAAA999999AAAAAA99", "AAAA999999AAAAAAA9"), check=checks.is_curp),
    Shape(
        kind="passport",
        forms=(
            *("999999999", "99999999", "9999999", "A99999999", "A9999999", "AA9999999", "AA999999", "99AA99999"),
            *("AAA999999", "AA99999999", "A999999", "AAA999999A", "99 9999999", "99 99 999999", "AA 9999999"),
        ),
        context=_PASSPORT,
        needed=True,
    ),
    Shape(
        kind="birth_date",
        forms=(
            *("99.99.9999", "99/99/9999", "99-99-9999", "9999-99-99", "9999/99/99", "9999.99.99"),
            *("99.99.99", "99/99/99", "99-99-99", "99 99 9999"),
        ),
        check=_date,
        context=_BORN,
        needed=True,
    ),
    Shape(
        kind="phone",
        forms=(
            *("999-9999", "999 9999", "999.9999", "9999999999", "999999999", "99999999", "99999999999", "999 999 999"),
            *("9999 9999", "9999-9999", "999-999-999", "999.999.999", "99 99 99 99", "99999 99999", "99999 999999"),
            *(
                "99 999 999",
                "9999 999 999",
                "999 99 99 99",
                "99999-99999",
                "999 999 99 99",
                "999999999999",
                "99 9999 9999",
            ),
        ),
        context=_PHONE,
        needed=True,
    ),
    Shape(
        kind="driver_licence",
        forms=(
            *("AAAAA999999AA9AA", "AAAA9999999AA9AA", "AAA99999999AA9AA", "AA999999999AA9AA"),
            *("AAAAA999999AA99A", "AAAAA999999A9AAA", "AAAAA999999A99AA"),
        ),
        check=_is_british_licence,
        context=_DRIVER,
    ),
    Shape(kind="phone", forms=("999 99 99 99", "99 999 99 99"), check=lambda d: d[0] in "6789" and len(set(d)) > 3),
    Shape(kind="phone", forms=("999 9999999", "999-9999999"), check=lambda d: d[0] == "3" and len(set(d)) > 3),
    Shape(kind="phone", forms=("06 99999999", "02 99999999")),
)
"""Numbers that have one or a few ways to be written."""

UNEVEN: dict[int, tuple[Shape, ...]] = {
    16: (Shape(kind="codice_fiscale", forms=(), check=checks.is_codice_fiscale),),
    17: (Shape(kind="vin", forms=(), check=checks.is_vin, context="vin|chassis|vehicle|fahrgestell", weak=True),),
    9: (
        Shape(
            kind="id_card",
            forms=(),
            check=_some_digits,
            context=r"ausweis(?:nummer|nr)?|personalausweis(?:nummer|nr)?|id[- ]card|identity card|perso|identité|"
            "identidad|identità",
            needed=True,
        ),
        Shape(kind="passport", forms=(), check=_some_digits, context=_PASSPORT, needed=True),
    ),
    10: (
        Shape(
            kind="id_card",
            forms=(),
            check=lambda text: text[9].isdigit() and checks.mrz_digit(text[:9]) == text[9],
            context=r"ausweis(?:nummer|nr)?|personalausweis(?:nummer|nr)?|id[- ]card|identity card|perso",
            needed=True,
        ),
    ),
}
"""Numbers of a fixed length in which letters and digits change places, by length."""

LICENCES: tuple[Shape, ...] = (
    Shape(kind="driver_licence", forms=(), check=_some_digits, context=_DRIVER, needed=True),
)
"""Numbers without any form of their own, 5 to 20 characters."""

NOT_PERSONAL = (
    r"orders?|invoices?|items?|part|parts|isbn|tickets?|tracking|version|build|sku|serial|model|article|ean|gtin|"
    r"bestellung|bestellnummer|rechnung|artikel|commande|facture|pedido|factura|ordine|fattura|ref|reference|case|"
    "batch|lot|imei|commit|page|pages|issue|doi|rfc"
)
"""Words that name numbers which belong to nobody."""


_LONG_GROUP = re.compile("(?<![0-9A-Fa-f])(?=[A-Fa-f]{0,3}[0-9])[0-9A-Fa-f]{3,4}(?![0-9A-Fa-f])")


def _is_ip(text: str) -> bool:
    """An address that can belong to someone: neither unspecified nor loopback."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and sum(bool(group) for group in text.split(":")) < 3 and not _LONG_GROUP.search(text):
        return False  # `a::b` is a name in C++ more often
    return not (address.is_unspecified or address.is_loopback or text == "255.255.255.255")


def _is_phone(text: str) -> bool:
    """7 to 15 digits (ITU-T E.164), and not one digit over and over."""
    digits = "".join(c for c in text if "0" <= c <= "9")
    if text.startswith("00") and "." in text and " " in text:
        return False  # two numbers of a table
    least = 11 if digits.startswith("00") else 7
    return least <= len(digits) <= 17 + 4 and len(set(digits)) > 2


def _is_plate(text: str) -> bool:
    return 3 <= len(_compact(text)) <= 10 and any(c.isdigit() for c in text) and not text.replace(" ", "").isdigit()


def _compact(text: str) -> str:
    return "".join(c for c in text.upper() if c.isascii() and c.isalnum())


def _ibans() -> str:
    """Each country with its length; in small letters a gap between two letters would be one between words."""
    capitals, small = r"(?:[ \-]?[0-9A-Z])", r"(?:(?:(?<=[0-9])[ \-]|[ \-](?=[0-9]))?[0-9a-z])"
    forms = []
    for length in sorted(set(checks.IBAN_LENGTHS.values())):
        countries = "|".join(country for country, its in checks.IBAN_LENGTHS.items() if its == length)
        forms.append(f"(?:{countries})[0-9]{{2}}{capitals}{{{length - 4}}}")
        forms.append(f"(?:{countries.lower()})[0-9]{{2}}{small}{{{length - 4}}}")
    return "|".join(forms)


_EXTENSION = r"(?: ?(?:x|ext\.?|Ext\.?) ?[0-9]{1,6})?"
_MONTH = (
    r"(?:[Jj]an|[Ff]e[bv]|[Ff]év|[Mm]a[ryi]|[Mm]är|[Aa]p?[rbv]|[Gg]iu|[Jj]u[nli]|[Ll]ug|[Aa]u?g|[Aa]oû|[Ss]e[pt]|[Oo][ck]t|"
    r"[Oo]tt|[Nn]ov|[Dd][eéi][czs]|[Ee]ne|[Gg]en|[Mm]ag)[a-zé]{0,7}\.?"
)

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        kind="iban",
        pattern=rf"(?:{_ibans()})(?![0-9A-Za-z])",
        hint=rb"AA99[ \-]?[9A]{4}",
        start=rb"A(?<![9A].)(?=A99[ \-]?[9A]{4})",
        check=lambda text: checks.is_iban(_compact(text)),
    ),
    Pattern(
        kind="nino",
        pattern=r"[A-Z]{2}(?: [0-9]{2} [0-9]{2} [0-9]{2} |[ ]?[0-9]{6}[ ])[A-D](?![0-9A-Za-z])",
        hint=rb"99 A(?![9A])",
        start=rb"A(?<![9A_].)(?=A ?99 ?99 ?99 A(?![9A]))",
        check=lambda text: _nino(_compact(text)),
    ),
    Pattern(
        kind="nino",
        pattern=r"[A-Za-z](?<![0-9A-Za-z_].)[A-Za-z](?: [0-9]{2} [0-9]{2} [0-9]{2} | ?[0-9]{6} ?)[A-Za-z]"
        "(?![0-9A-Za-z])",
        context=_NINO,
    ),
    Pattern(
        kind="ip",
        # Five numbers are a version: they match as a whole and are refused, and no part of them begins after a dot.
        pattern=r"(?<![0-9A-Za-z.])(?<![A-Za-z]/)(?<!rv:)(?<!ersion )[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
        r"(?:\.[0-9]{1,3}){0,4}(?![0-9A-Za-z])",
        hint=rb"\.9{1,3}\.9{1,3}\.9",
        start=rb"9(?<![9A.].)(?=9{0,2}\.9{1,3}\.9{1,3}\.9)",
        check=_is_ip,
    ),
    Pattern(
        kind="ip",
        pattern=r"(?<![0-9A-Za-z:.])(?:::|[0-9A-Fa-f]{1,4}:)(?:[0-9A-Fa-f]{0,4}:){1,6}"
        r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4})(?![0-9A-Za-z:])",
        hint=rb":(?::(?:(?=[9A]{0,3}9)|(?<=9::)|(?<=9A::)|(?<=9AA::)|(?<=9AAA::))|[9A]{1,4}(?::[9A]{1,4}){5})",
        start=rb"[9A:](?<![9A:.].)(?=[9A]{0,3}:[9A:]*:)|:(?<![9A:.].)(?=:9A)",
        check=_is_ip,
    ),
    Pattern(
        kind="mac",
        # `mac:` before it is no pair of its own.
        pattern=r"[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})(?![0-9A-Za-z:\-])",
        hint=rb"[:\-][9A]{2}[:\-][9A]{2}[:\-][9A]{2}[:\-][9A]{2}[:\-][9A]{2}(?![9A:\-])",
        start=rb"[9A](?<![9A.].)(?<!(?<![9A])[9A]{2}[:\-].)(?=[9A][:\-][9A]{2}[:\-])",
        check=lambda text: len(set(_compact(text))) > 1,
    ),
    Pattern(
        kind="mac",
        pattern=r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![0-9A-Za-z:\-])",
        hint=rb"\.[9A]{4}\.[9A]{4}(?![9A:\-])",
        start=rb"[9A](?<![9A:\-.].)(?=[9A]{3}\.[9A]{4}\.)",
        check=lambda text: len(set(_compact(text))) > 1,
    ),
    Pattern(
        kind="phone",
        # ITU-T E.123: the international form, and `00` or `001-` in its place.
        pattern=rf"(?<![0-9A-Za-z+])(?:\(?\+|00)(?:(?<=\+)|(?=[1-9]))[1-9][0-9]{{0,3}}\)?{_GAP}?"
        rf"(?:\([0-9]{{1,4}}\){_GAP}?)?[0-9]{{1,5}}(?:{_GAP}?[0-9]{{1,5}}){{1,5}}{_EXTENSION}(?![0-9A-Za-z])",
        start=rb"\+(?<![09A+(].)(?=9)|\((?<![09A+].)(?=\+9)|0(?<![09A+].)(?=09)",
        zeros=True,
        check=_is_phone,
    ),
    Pattern(
        kind="phone",
        # North America.
        pattern=r"(?<![0-9A-Za-z.\-])(?:1[ .\-])?(?:\([1-9][0-9]{2}\)[ .\-]?|[2-9][0-9]{2}[ .\-/])"
        rf"[0-9]{{3}}[ .\-][0-9]{{4}}{_EXTENSION}(?![0-9A-Za-z\-])",
        hint=rb"999[ .\-]9999",
        start=rb"9(?<![9A.\-].)(?=99[ .\-/]999[ .\-]9999|[ .\-](?:\(999\)[ .\-]?|999[ .\-/])999[ .\-]9999)"
        rb"|\((?<![9A.\-].)(?=999\)[ .\-]?999[ .\-]9999)",
        check=_is_phone,
    ),
    Pattern(
        kind="phone",
        # National forms that begin with 0: France in pairs; Germany, the United Kingdom and others after an area code.
        pattern=rf"(?<![0-9A-Za-z.\-/])(?:0[1-9](?:{_GAP}?[0-9]{{2}}){{4}}|\(?0[1-9][0-9]{{1,4}}\)?"
        r"(?: ?/ ?|[ \-]|(?<=\)))[0-9]{3,4}(?:[ \-]?[0-9]{2,5}){1,2}|0[1-9][0-9]{1,4}(?: ?/ ?)[0-9]{5,8}"
        r"|0[1-9][0-9]{8,10}"
        r"|0[1-9][0-9]{2,3}[ ][0-9]{6,8}|0[1-9] [0-9]{4} [0-9]{4}|0[1-9] [0-9]{7,8})(?![0-9A-Za-z\-/])",
        start=rb"0(?<![09A.\-/].)(?=9[09 \-./]{3}|9[09]{1,4}(?:\)| / )|9 / )|\((?<![09A.\-/].)(?=09)",
        zeros=True,
        check=_is_phone,
    ),
    Pattern(
        kind="mrz",
        pattern=r"(?<![0-9A-Z<])(?:[PVIAC][A-Z0-9<][A-Z<]{3}[A-Z0-9<]{25,39}|[A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}"
        r"[A-Z0-9<]{8,16}|[0-9]{7}[MFX<][0-9]{7}[A-Z<]{3}[A-Z0-9<]{11}[0-9]|[A-Z]{2,24}<[A-Z<]{5,27})(?![0-9A-Z<])",
        hint=rb"<<[A<]",
        start=rb"[9A](?<![9A<].)(?=[9A<]{29})",
        check=lambda text: len(text) in (30, 36, 44) and checks.is_mrz(text),
    ),
    Pattern(
        kind="crypto",
        pattern=r"[13][1-9A-HJ-NP-Za-km-z]{25,34}(?![0-9A-Za-z])",
        hint=rb"9A[9A]{12}",
        start=rb"9(?<![9A].)(?=[9A]{25,34}(?![9A]))",
        check=checks.is_bitcoin,
    ),
    Pattern(
        kind="crypto",
        pattern=r"(?:bc1[0-9a-z]{8,87}|BC1[0-9A-Z]{8,87})(?![0-9A-Za-z])",
        hint=rb"AA9[9A]{8}",
        start=rb"A(?<![9A].)(?=A9[9A]{8,87}(?![9A]))",
        check=checks.is_bech32,
    ),
    Pattern(
        kind="crypto",
        pattern=r"0x[0-9A-Fa-f]{40}(?![0-9A-Za-z])",
        hint=rb"0A[09A]{40}",
        start=rb"0(?<![09A].)(?=A[09A]{40}(?![09A]))",
        zeros=True,
    ),
    Pattern(
        kind="birth_date",
        pattern=rf"(?<![0-9A-Za-z])(?:[0-9]{{1,2}}(?:st|nd|rd|th|er|\.|º)?[ \-](?:de )?{_MONTH},?[ \-](?:de )?"
        rf"[12][0-9]{{3}}|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [12][0-9]{{3}}"
        r"|(?:[0-9]{1,2}[./\-]){2}(?:[12][0-9]{3}|[0-9]{2})|[12][0-9]{3}(?:[./\-][0-9]{1,2}){2})(?![0-9A-Za-z])",
        context=_BORN,
    ),
    Pattern(
        kind="plate",
        pattern=r"(?<![0-9A-Za-z])[A-Z0-9\u00c4\u00d6\u00dc]{1,8}(?:[ \-][A-Z0-9]{1,4}){0,3}(?![0-9A-Za-z])",
        context=r"licen[cs]e plates?(?: no| number)?|number plates?|plates?(?: no| number)?|"
        r"vehicle registration(?: no| number)?|car registration|registration plates?|"
        "kfz-kennzeichen|kennzeichen|nummernschild|immatriculation|immatriculée?|matr[ií]cula|targa|kenteken",
        check=_is_plate,
    ),
)
"""What has no fixed shape. E-mail addresses are found from their `@`: see `scan`."""

PII_KINDS: tuple[str, ...] = tuple(
    dict.fromkeys(
        ["email", *(p.kind for p in PATTERNS), *(s.kind for s in SHAPES)]
        + [shape.kind for shapes in (*UNEVEN.values(), LICENCES) for shape in shapes]
    )
)
"""The kinds of personal data that `PII` knows without a model."""
