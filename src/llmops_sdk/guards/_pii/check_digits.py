"""Check digits and check letters of the numbers that stand for people and accounts.

Each `is_...` takes the number as capital letters and digits only, without separators, and of the right length (the
shapes in `rules` see to that), and says whether its check holds. The standard is named where there is one.
"""

from __future__ import annotations

import datetime
import hashlib
import operator
import re
from collections.abc import Sequence

__all__ = [
    "IBAN_LENGTHS",
    "has_date",
    "is_aadhaar",
    "is_aba",
    "is_ahv",
    "is_bech32",
    "is_belgian",
    "is_bitcoin",
    "is_bsn",
    "is_card",
    "is_cnpj",
    "is_codice_fiscale",
    "is_cpf",
    "is_curp",
    "is_dni",
    "is_ean",
    "is_fodselsnummer",
    "is_hetu",
    "is_iban",
    "is_iso_7064_mod_11_10",
    "is_luhn",
    "is_medicare",
    "is_mrz",
    "is_nhs",
    "is_nif_pt",
    "is_nir",
    "is_pesel",
    "is_resident_id",
    "is_steuer_id",
    "is_tfn",
    "is_vin",
    "mrz_digit",
]

# ISO 13616 registry: length of an IBAN by country.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
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
        28: "AL AZ BY CY DO GT HU LB PL NI SV HN",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def _weighed(digits: str, weights: Sequence[int]) -> int:
    return sum(map(operator.mul, map(int, digits), weights))


def has_date(year: str, month: str, day: str) -> bool:
    """Whether this is a day of the calendar, in some century if the year has two digits."""
    full = int(year) if len(year) == 4 else 2000 + int(year)  # 2000 was a leap year, so no birthday is refused
    try:
        datetime.date(full, int(month), int(day))
    except ValueError:
        return False
    return True


_VALUES = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))  # and the digits of that summed


def is_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    written = digits.encode()
    return (sum(written[-1::-2].translate(_VALUES)) + sum(written[-2::-2].translate(_DOUBLED))) % 10 == 0


def is_ean(digits: str) -> bool:
    """The check digit of article numbers and ISBN-13 (GS1 General Specifications, 7.9)."""
    return _weighed(digits[::-1], (1, 3) * 7) % 10 == 0


# Leading digits and lengths by network (ISO/IEC 7812; the networks' own tables of issuer numbers).
_NETWORKS: tuple[tuple[range, tuple[int, ...]], ...] = (
    (range(400000, 500000), (13, 16, 19)),
    (range(510000, 560000), (16,)),
    (range(222100, 272100), (16,)),
    (range(340000, 350000), (15,)),
    (range(370000, 380000), (15,)),
    (range(300000, 306000), (14, 16)),
    (range(360000, 370000), (14, 16)),
    (range(380000, 400000), (14, 16)),
    (range(350000, 360000), (16,)),
    (range(352800, 359000), (17, 18, 19)),
    (range(213100, 213200), (15,)),
    (range(180000, 180100), (15,)),
    (range(500000, 510000), (12, 13, 14, 15, 16, 17, 18, 19)),
    (range(560000, 590000), (12, 13, 14, 15, 16, 17, 18, 19)),
    (range(600000, 700000), (12, 13, 14, 15, 16, 17, 18, 19)),
    (range(220000, 220500), (16,)),
)


_NETWORK_STARTS = frozenset(f"{leading:06d}"[:2] for numbers, _ in _NETWORKS for leading in numbers[::100])


def is_card(digits: str) -> bool:
    """Luhn's check digit, and a network that issues numbers of this length."""
    if digits[:2] not in _NETWORK_STARTS or not is_luhn(digits) or len(set(digits)) == 1:
        return False
    leading, length = int(digits[:6]), len(digits)
    return any(leading in numbers and length in lengths for numbers, lengths in _NETWORKS)


_BASE_36 = {ord(c): str(number) for number, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", start=10)}


def is_iban(text: str) -> bool:
    """ISO 13616: the length of the country, and ISO 7064 modulo 97."""
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int((text[4:] + text[:4]).translate(_BASE_36)) % 97 == 1


def is_nir(text: str) -> bool:
    """INSEE: key = 97 - number modulo 97; 2A and 2B (Corsica) count as 19 and 18."""
    number = text[:5] + text[5:7].replace("2A", "19").replace("2B", "18") + text[7:13]
    month = text[3:5]
    if text[0] not in "12" or not number.isdigit() or not text[13:].isdigit():
        return False
    plausible = "01" <= month <= "12" or "20" <= month <= "42" or "50" <= month <= "99"
    return plausible and 97 - int(number) % 97 == int(text[13:])


def is_nhs(digits: str) -> bool:
    """NHS Data Dictionary: modulo 11 with weights from 10 to 2."""
    check = 11 - _weighed(digits, range(10, 1, -1)) % 11
    return len(set(digits)) > 2 and check % 11 == int(digits[9]) and check != 10


_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def is_dni(text: str) -> bool:
    """Spain, DNI and NIE: the letter is the number modulo 23; X, Y and Z of a NIE count as 0, 1 and 2."""
    number = text[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return number.isdigit() and _DNI_LETTERS[int(number) % 23] == text[-1]


_CF_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
            *(2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        ),
        strict=True,
    )
)


_CF_FORM = re.compile("[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPRST][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]")


def is_codice_fiscale(text: str) -> bool:
    """Italy, D.M. 23/12/1976: the check letter, also where letters stand for digits (omocodia)."""
    if _CF_FORM.fullmatch(text) is None:
        return False
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in text[1:15:2])
    return chr(65 + (even + sum(_CF_ODD[c] for c in text[0:15:2])) % 26) == text[15]


def is_iso_7064_mod_11_10(digits: str) -> bool:
    """The last digit is ISO 7064's modulo 11,10 of those before."""
    product = 10
    for digit in digits[:-1]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def is_steuer_id(digits: str) -> bool:
    """Germany: of the first ten digits one or two repeat, as the tax office gives them out; ISO 7064."""
    return digits[0] != "0" and 8 <= len(set(digits[:10])) <= 9 and is_iso_7064_mod_11_10(digits)


def is_bsn(digits: str) -> bool:
    """Netherlands: the eleven-proof."""
    return len(set(digits)) > 1 and _weighed(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def is_belgian(digits: str) -> bool:
    """Belgium: 97 - number modulo 97, with a 2 before the number for people born from 2000 on."""
    if not (int(digits[2:4]) % 20 <= 12 and int(digits[4:6]) <= 31):
        return False
    key = int(digits[9:])
    return key in (97 - int(digits[:9]) % 97, 97 - int("2" + digits[:9]) % 97)


def is_ahv(digits: str) -> bool:
    """Switzerland: 756, and the check digit of article numbers."""
    return digits.startswith("756") and is_ean(digits)


def is_pesel(digits: str) -> bool:
    """Poland: a date of birth (the century is in the month) and a weighed sum."""
    if not has_date(digits[:2], str(int(digits[2:4]) % 20), digits[4:6]):
        return False
    return _weighed(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def is_fodselsnummer(digits: str) -> bool:
    """Norway: a date (D numbers add 40 to the day) and two digits modulo 11."""
    day = int(digits[:2])
    if not has_date(digits[4:6], digits[2:4], str(day - 40 if day > 40 else day)):
        return False
    first = _weighed(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1))
    return first % 11 == 0 and _weighed(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def is_hetu(text: str) -> bool:
    """Finland: `DDMMYY`, a sign or letter for the century, a number, and a letter that is all digits modulo 31."""
    digits = "".join(c for c in text[:-1] if c.isdigit())
    if len(digits) != 9 or not has_date(digits[4:6], digits[2:4], digits[:2]):
        return False
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == text[-1]


def is_nif_pt(digits: str) -> bool:
    """Portugal: modulo 11."""
    check = 11 - _weighed(digits, range(9, 1, -1)) % 11
    return digits[0] in "1235689" and (0 if check > 9 else check) == int(digits[8])


def _modulo_11(digits: str, weights: Sequence[int]) -> int:
    rest = _weighed(digits, weights) % 11
    return 0 if rest < 2 else 11 - rest


def is_cpf(digits: str) -> bool:
    """Brazil, people: two digits modulo 11."""
    if len(set(digits)) == 1:
        return False
    first, second = _modulo_11(digits, range(10, 1, -1)), _modulo_11(digits, range(11, 1, -1))
    return digits[9:] == f"{first}{second}"


def is_cnpj(digits: str) -> bool:
    """Brazil, companies: two digits modulo 11."""
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    return len(set(digits)) > 1 and digits[12:] == f"{_modulo_11(digits, weights[1:])}{_modulo_11(digits, weights)}"


_VERHOEFF_D = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_VERHOEFF_P = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)


def is_aadhaar(digits: str) -> bool:
    """India: Verhoeff's check digit; the first is 2 to 9, and a palindrome is never given out."""
    if digits[0] in "01" or digits == digits[::-1]:
        return False
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[place % 8][int(digit)])])
    return check == 0


def is_tfn(digits: str) -> bool:
    """Australia, tax file number: modulo 11."""
    weights = (1, 4, 3, 7, 5, 8, 6, 9, 10) if len(digits) == 9 else (10, 7, 8, 4, 6, 3, 5, 1)
    return len(set(digits)) > 1 and _weighed(digits, weights) % 11 == 0


def is_medicare(digits: str) -> bool:
    """Australia, Medicare: the ninth digit is a weighed sum of the first eight."""
    return digits[0] in "23456" and _weighed(digits, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(digits[8])


def is_resident_id(text: str) -> bool:
    """China, GB 11643: a date, and ISO 7064 modulo 11-2."""
    if text[0] not in "123456789" or not "1900" <= text[6:10] <= "2100":
        return False
    if not text[:17].isdigit() or not has_date(text[6:10], text[10:12], text[12:14]):
        return False
    return "10X98765432"[sum(int(c) * pow(2, 17 - n, 11) for n, c in enumerate(text[:17])) % 11] == text[17]


def is_curp(text: str) -> bool:
    """Mexico: the check digit over an alphabet of 37 characters."""
    alphabet = "0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ"
    total = sum(alphabet.index(c) * (18 - n) for n, c in enumerate(text[:17]))
    return text[17].isdigit() and (10 - total % 10) % 10 == int(text[17])


def is_aba(digits: str) -> bool:
    """United States, bank routing: weights 3, 7, 1."""
    plausible = int(digits[:2]) in {*range(13), *range(21, 33), *range(61, 73), 80}
    return plausible and digits != "000000000" and _weighed(digits, (3, 7, 1) * 3) % 10 == 0


_VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True))


def is_vin(text: str) -> bool:
    """Vehicles, 49 CFR 565.15: the ninth character is a weighed sum modulo 11."""
    if set(text) & set("IOQ") or text.isdigit() or text.isalpha():
        return False
    values = "".join(_VIN_VALUES.get(c, c) for c in text)
    check = _weighed(values, (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return text[8] == ("X" if check == 10 else str(check))


def mrz_digit(text: str) -> str:
    """ICAO 9303, part 3, 4.9: weights 7, 3, 1; `<` counts as 0, letters from 10 on."""
    return str(sum((0 if c == "<" else int(c, 36)) * (7, 3, 1)[n % 3] for n, c in enumerate(text)) % 10)


def is_mrz(line: str) -> bool:
    """ICAO 9303: a line of a passport, visa or identity card whose check digits hold (or the one with the name)."""
    if len(line) in (44, 36):
        if line[0] in "PVIAC" and "<<" in line[5:-1] and not any(c.isdigit() for c in line[5:]):
            return True  # the line with the name has no check digit
        fields = ((0, 9), (13, 19), (21, 27))
        return all(mrz_digit(line[a:b]) == line[b] for a, b in fields)
    if line[0] in "IAC" and line[2:5].isalpha() and mrz_digit(line[5:14]) == line[14]:
        return True  # TD1, first line
    if line[:6].isdigit() and mrz_digit(line[:6]) == line[6] and mrz_digit(line[8:14]) == line[14]:
        return line[7] in "MFX<"
    return "<<" in line[1:-1] and line.endswith("<") and not any(c.isdigit() for c in line)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def is_bitcoin(text: str) -> bool:
    """Base58Check (Bitcoin wiki): the last four bytes are those of a double SHA-256. Letters keep their case."""
    number = 0
    for c in text:
        digit = _BASE58.find(c)
        if digit < 0:
            return False
        number = number * 58 + digit
    if number.bit_length() > 200:
        return False
    data = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def is_bech32(text: str) -> bool:
    """BIP 173 and BIP 350: a segwit address on the main net, in one case."""
    if text.lower() not in (text, text.swapcase()) or not text.lower().startswith("bc1"):
        return False
    values = [_BECH32.find(c) for c in text.lower()[3:]]
    if -1 in values:
        return False
    check = 1
    for value in [3, 3, 0, 2, 3, *values]:  # "bc", expanded
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)
