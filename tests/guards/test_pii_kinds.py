"""The kinds of `PII`: one of each is found, its look-alikes pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.guards import PII, PII_KINDS
from llmops_sdk.guards._pii import check_digits as _check_digits
from llmops_sdk.protocols import GuardContext

OpenContext = Callable[..., GuardContext]

GUARD = PII()

ARABIC = {ord("0") + digit: chr(0x660 + digit) for digit in range(10)}
FULL_WIDTH = "4111111111111111".translate({ord("0") + digit: chr(0xFF10 + digit) for digit in range(10)})

# Published examples and made-up values whose check digits hold.
ONE_OF_EACH = [
    ("email", "ana [at] example [dot] org", "write to {}, please"),
    ("email", "ana(at)example.org", "write to {} now"),
    ("email", "ana%40example.org", "?to={}&x"),
    ("iban", "GB29 NWBK 6016 1331 9268 19", "to {} by Monday"),
    ("iban", "de89370400440532013000", "to {} by Monday"),
    ("ip", "203.0.113.7", "http://{}:8080/x"),
    ("mac", "00:1B:44:11:3A:B7", "from {}."),
    ("mac", "00-1b-44-11-3a-b7", "from {}."),
    ("itin", "912-70-1234", "it is {}"),
    ("ein", "12-3456789", "EIN: {}"),
    ("aba", "021000021", "routing number {}"),
    ("nir", "2 55 08 14 168 025 38", "NIR {}"),
    ("nino", "AB 12 34 56 C", "NI number {}"),
    ("nino", "AB123456C", "it is {}"),
    ("nhs", "943 476 5919", "NHS number: {}"),
    ("dni", "12345678Z", "DNI {}"),
    ("nie", "X-1234567-L", "it is {}"),
    ("codice_fiscale", "RSSMRA85T10A562S", "CF {}"),
    ("codice_fiscale", "RSSMRA85T10A5S2E".replace("5S2E", "562S"), "CF {}"),
    ("steuer_id", "36 574 261 809", "IdNr. {}"),
    ("steuer_id", "36574261809", "Steuer-ID: {}"),
    ("id_card", "L01X00T471", "Personalausweis {}"),
    ("passport", "C01X00T47", "Reisepass Nr. {}"),
    ("passport", "12AB34567", "passeport n° {}"),
    ("passport", "963545637", "My passport number is {}"),
    ("mrz", "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "{}"),
    ("mrz", "L898902C36UTO7408122F1204159ZE184226B<<<<<10", "{}"),
    ("bsn", "111222333", "BSN {}"),
    ("rijksregisternummer", "85.07.30-033.28", "nr. {}"),
    ("ahv", "756.9217.0769.85", "AHV {}"),
    ("pesel", "44051401359", "PESEL: {}"),
    ("personnummer", "811218-9876", "it is {}"),
    ("fodselsnummer", "290296 00013", "it is {}"),
    ("cpr", "211062-5629", "CPR-nummer {}"),
    ("hetu", "131052-308T", "it is {}"),
    ("nif_pt", "123456789", "NIF {}"),
    ("cpf", "529.982.247-25", "CPF {}"),
    ("cnpj", "11.222.333/0001-81", "CNPJ {}"),
    ("aadhaar", "2341 2341 2346", "Aadhaar {}"),
    ("pan", "ABCPE1234F", "PAN {}"),
    ("sin", "046 454 286", "SIN: {}"),
    ("tfn", "123 456 782", "TFN {}"),
    ("medicare", "2123 45670 1", "Medicare {}"),
    ("resident_id", "11010519491231002X", "id {}"),
    ("curp", "HEGG560427MVZRRL04", "CURP {}"),
    ("crypto", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "to {}"),
    ("crypto", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "to {}"),
    ("crypto", "0x" + "52908400098527886E0F7030069857D2E4169EE7", "to {}"),
    ("birth_date", "12 March 1985", "born on {} in Bonn"),
    ("birth_date", "1985-03-12", "DOB: {}"),
    ("birth_date", "12. März 1985", "geboren am {} in Bonn"),
    ("birth_date", "12 de marzo de 1985", "fecha de nacimiento: {}"),
    ("driver_licence", "MORGA657054SM9IJ", "driving licence {}"),
    ("plate", "B-AB 1234", "Kennzeichen {}"),
    ("vin", "1M8GDM9AXKP042788", "VIN {}"),
    ("phone", "612 34 56 78", "tel. {}"),
    ("phone", "333 1234567", "tel. {}"),
    ("phone", "07700900123", "ring {}"),
    ("phone", "555-123-4567", "it is {}"),
    ("phone", "(030) 901820", "it is {}"),
    ("phone", "661.310.5487x22584", "messages to {}"),
    ("phone", "55512345", "Tel. {}"),
    ("ssn", "078-05-1120", "ssn-{}"),
    ("ssn", "078051120", "{{'social_security_number': '{}'}}"),
    ("ssn", "078-05-1120", "SSN {}.Then he left"),
    ("nino", "ab 12 34 56 c", "nino: {}"),
    ("nino", "PR 123612C", "nino: {}"),
    ("steuer_id", "12345678903", "Steuer-ID: {}"),
    ("dni", "1111111-G", "NIF {}"),
    ("driver_licence", "MORGA657054SM9IJ", "it is {}"),
    ("passport", "963545637", '{{"passportNumber": "{}"}}'),
    ("birth_date", "1985-03-12", '{{"dateOfBirth": "{}"}}'),
    ("tfn", "123 456 782", "我的TFN {}。"),
    ("card", FULL_WIDTH, "番号は{}です"),
    ("card", "4111 1111 1111 1111".translate(ARABIC), "رقم {} شكرا"),
    ("iban", "GB29\u00a0NWBK\u00a06016\u00a01331\u00a09268\u00a019", "IBAN\u00a0{}"),
    ("iban", "GB29NWBK60161331926819", "iban_{}.pdf"),
    ("mac", "AA:BB:CC:DD:EE:FF", "mac:{};"),
    ("mac", "aabb.ccdd.ee11", "mac {}"),
    ("ip", "fe80::1", "on {}"),
    ("ip", "2001:db8::", "in {}/32"),
    ("email", "ana\uff20example.org", "an {}, bitte"),
    ("sin", "889-376-653", "SIN {}"),
]


@pytest.mark.parametrize(("kind", "value", "frame"), ONE_OF_EACH)
def test_each_kind_is_found(kind: str, value: str, frame: str) -> None:
    text = frame.format(value)
    verdict = GUARD.check(text)
    assert [finding.kind for finding in verdict.findings] == [kind]
    assert verdict.text == frame.format(f"[{kind.upper()}_1]")


def test_every_kind_has_an_example() -> None:
    assert set(PII_KINDS) == {kind for kind, _, _ in ONE_OF_EACH}


@pytest.mark.parametrize(
    "text",
    [
        "Order 4048213377 was shipped on 2024-10-11 at 10:30:45.",
        "ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2",
        "9783161484100",
        "timestamps 1732467873, 1732467873123 and 1732467873123456789",
        "Firefox/1.2.3.4 on version 10.0.19.45",
        "123e4567-e89b-12d3-a456-426614174000",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "invoice 123456789, item 87654321, part 12-3456789",
        "a population of 612 345 678 and 1 234 567 others",
        "lat 52.520008, lon 13.404954",
        "pages 123-456 of 2019-2020, chapter 12.3.4",
        "SKU AB123456, model XC90T8, lot 20241011A",
        "IMEI 356938035643809 of the device",
        "passports are checked; flight LH2034 leaves at 1230",
        "He was born in a small town. The order 12.03.1985-A is late.",
        "on 12 March 1985 the bridge opened",
        "the routing table has 021000022 entries",
        "PESEL 44051401358 and CPF 52998224724",
        "GB29 NWBK 6016 1331 9268 18",
        "look at me [at] home",
        "x = a[at]b",
        "0x52908400098527886E0F7030069857D2",
        "1.2.3.4.5 and 300.1.2.3",
        "10:20:30:40 and 12:34",
        "abc-078-05-1120 and part_078-05-1120",
        "we paid to 123456 a day",
        "1.2.3.4.5 009 766 0.7954",
        "std::vector<int> v2; dead::beef, a1::b2",
        "SMITH993510AB1CD",
        "a DNI is 1111111-H",
        "DOB: 45 45 1985",
        "part BG123456C",
        "ABCZE1234F",
        "811218-9877 and 811318-9876",
        "CPR-nummer 451362-5629",
        "211062-5628",
        "146-454-286 and 888-888-888",
        "driving licence MORGANABCDEF1",
        "Kennzeichen 2024",
    ],
)
def test_look_alikes_pass(text: str) -> None:
    assert GUARD.check(text).findings == ()


def test_the_words_of_another_sentence_name_nothing() -> None:
    assert GUARD.check("He knows my SSN too. 219099999 people do.").findings == ()
    assert GUARD.check("SSN for the order 219099999").findings == ()


def test_a_value_comes_back_as_it_was_written(open_context: OpenContext) -> None:
    guard, context = PII(restore=True), open_context()
    text = f"番号は{FULL_WIDTH}です"
    written = guard.check(text, context).text
    restorer = guard.open_restorer(context)
    assert restorer is not None
    assert f"{restorer.feed(written or '')}{restorer.finish()}" == text


def test_what_was_no_number_behind_a_letter_is_one_behind_its_name() -> None:
    assert [finding.kind for finding in GUARD.check("org123 456 782 and TFN 123 456 782").findings] == ["tfn"]


def test_bare_digits_need_the_word_that_names_them() -> None:
    for kind, value, frame in ONE_OF_EACH:
        if value.isascii() and value.isdigit() and kind not in {"phone", "fodselsnummer"}:
            assert GUARD.check(value).action == "allow", value
            assert GUARD.check(frame.format(value)).action == "rewrite", value


def test_the_nearest_name_counts() -> None:
    text = "NIF 123456789 and TFN 123 456 782"
    assert [finding.kind for finding in GUARD.check(text).findings] == ["nif_pt", "tfn"]


# A number for which each check holds.
HOLDS = {
    "is_aadhaar": "234123412346",
    "is_aba": "021000021",
    "is_ahv": "7569217076985",
    "is_bech32": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "is_belgian": "85073003328",
    "is_bitcoin": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "is_bsn": "111222333",
    "is_card": "4111111111111111",
    "is_cnpj": "11222333000181",
    "is_codice_fiscale": "RSSMRA85T10A562S",
    "is_cpf": "52998224725",
    "is_curp": "HEGG560427MVZRRL04",
    "is_dni": "12345678Z",
    "is_ean": "9783161484100",
    "is_fodselsnummer": "29029600013",
    "is_hetu": "131052308T",
    "is_iban": "GB29NWBK60161331926819",
    "is_iso_7064_mod_11_10": "12345678903",
    "is_luhn": "046454286",
    "is_medicare": "2123456701",
    "is_mrz": "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
    "is_nhs": "9434765919",
    "is_nif_pt": "123456789",
    "is_nir": "255081416802538",
    "is_pesel": "44051401359",
    "is_resident_id": "11010519491231002X",
    "is_steuer_id": "36574261809",
    "is_tfn": "123456782",
    "is_vin": "1M8GDM9AXKP042788",
}


@pytest.mark.parametrize(("check", "value"), HOLDS.items())
def test_a_check_refuses_what_one_wrong_digit_makes_of_a_number(check: str, value: str) -> None:
    holds = getattr(_check_digits, check)
    assert holds(value)
    refused = tried = 0
    for place, old in enumerate(value[:20]):
        for new in "0123456789" if old.isdigit() else "":
            if new != old:
                tried += 1
                refused += not holds(value[:place] + new + value[place + 1 :])
    assert refused >= 0.8 * tried


def test_every_check_has_a_number() -> None:
    assert set(HOLDS) == {name for name in _check_digits.__all__ if name.startswith("is_")}


def test_days_of_the_calendar() -> None:
    assert _check_digits.has_date("1996", "02", "29")
    assert not _check_digits.has_date("1995", "02", "29")
    assert not _check_digits.has_date("95", "13", "01")


FRAGMENTS = st.sampled_from(
    [value for _, value, _ in ONE_OF_EACH]
    + [frame.format(value) for _, value, frame in ONE_OF_EACH]
    + [" ", "\n", ". ", "de ", "word ", "Tel. ", "SIN ", "1", "-", "+", "a", "AB ", "1.", "(", "[", "@", "é", "日本"]
)


@given(text=st.lists(FRAGMENTS, max_size=6).map("".join), edges=st.lists(st.integers(0, 300), max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_stream_equals_the_whole(text: str, edges: list[int], open_context: OpenContext) -> None:
    whole = GUARD.check(text)
    for pieces in (list(text), _cut(text, edges)):
        stream = GUARD.open_stream(open_context())
        assert stream is not None
        emitted = "".join(str(fed) for fed in [*map(stream.feed, pieces), stream.finish()])
        assert emitted == (text if whole.text is None else whole.text)
        assert [(f.kind, f.start, f.end) for f in stream.verdict.findings] == [
            (f.kind, f.start, f.end) for f in whole.findings
        ]


def _cut(text: str, edges: list[int]) -> list[str]:
    marks = [0, *sorted(edge for edge in edges if edge < len(text)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(marks)]


@pytest.mark.parametrize("piece", ["1-", "a1", "GB29 ", "1 ", "((", "::", "a@", "+1", "AB12", "<<", "0x", "1.1"])
def test_a_long_run_without_a_break_is_followed_by_a_window(piece: str, open_context: OpenContext) -> None:
    text = piece * 800 + " 4111 1111 1111 1111 " + piece * 800
    stream = GUARD.open_stream(open_context())
    assert stream is not None
    assert GUARD.window is not None
    emitted, fed, whole = "", 0, GUARD.check(text)
    for at in range(0, len(text), 7):
        emitted += str(stream.feed(text[at : at + 7]))
        fed = min(len(text), at + 7)
        assert fed - len(emitted) <= GUARD.window + 7 + 20
    assert emitted + str(stream.finish()) == (whole.text or text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Phone Number: (123) 456-7890.", "(123) 456-7890"),
        ("Email: john.doe@example[DOT]com.", "john.doe@example[DOT]com"),
        ("mail a@b[.]org, please", "a@b[.]org"),
    ],
)
def test_numbers_and_addresses_are_found_whole(text: str, found: str) -> None:
    (finding,) = PII().check(text).findings
    assert text[finding.start : finding.end] == found
