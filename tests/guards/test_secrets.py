"""`Secrets`: recall by kind on random secrets made here, look-alikes, rewriting, blocking."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Rule, Secrets

ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
URL64 = ALNUM + "-_"
BASE64 = ALNUM + "+/"
PASSWORD = ALNUM + "!#%^&*?"

Make = Callable[[random.Random], str]


def chars(source: random.Random, alphabet: str, count: int) -> str:
    return "".join(source.choice(alphabet) for _ in range(count))


def _jwt(source: random.Random) -> str:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    claims = {"sub": chars(source, ALNUM, 12), "iat": source.randrange(10**9)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{chars(source, URL64, 43)}"


def _pem(source: random.Random) -> str:
    label = source.choice(
        ["RSA PRIVATE " + "KEY", "PRIVATE " + "KEY", "EC PRIVATE " + "KEY", "OPENSSH PRIVATE " + "KEY"]
    )
    lines = "\n".join(chars(source, BASE64, 64) for _ in range(source.randrange(3, 26)))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----"


def _password(source: random.Random, size: int) -> str:
    return "aB3" + chars(source, PASSWORD, size - 3)


# Each gives the whole text and the part of it that must not remain.
SECRET_MAKERS: dict[str, Callable[[random.Random], tuple[str, str]]] = {}


def _secret(kind: str, make: Make, around: str = "{}") -> None:
    def made(source: random.Random) -> tuple[str, str]:
        value = make(source)
        return around.format(value), value

    SECRET_MAKERS[kind] = made


_secret("aws_access_key_id", lambda r: "AK" + "IA" + chars(r, UPPER, 16))
_secret("aws_secret_access_key", lambda r: chars(r, BASE64, 40), "aws_secret_" + "access_key = {}")
_secret("aws_secret_access_key_json", lambda r: chars(r, BASE64, 40), '"SecretAccess' + 'Key": "{}"')
_secret("github_classic", lambda r: "gh" + r.choice("pousr") + "_" + chars(r, ALNUM, 36))
_secret("github_fine_grained", lambda r: "github" + "_pat_" + chars(r, ALNUM, 22) + "_" + chars(r, ALNUM, 59))
_secret("gitlab", lambda r: "gl" + "pat-" + chars(r, URL64, 20))
_secret("openai_old", lambda r: "s" + "k-" + chars(r, ALNUM, 48))
_secret("openai_marked", lambda r: "s" + "k-" + chars(r, ALNUM, 20) + "T3Blbk" + "FJ" + chars(r, ALNUM, 20))
_secret("openai_project", lambda r: "s" + "k-proj-" + chars(r, URL64, 74))
_secret("anthropic", lambda r: "s" + "k-ant-api03-" + chars(r, URL64, 93) + "AA")
_secret(
    "slack_bot", lambda r: f"xo{'xb'}-{r.randrange(10**11, 10**12)}-{r.randrange(10**11, 10**12)}-{chars(r, ALNUM, 24)}"
)
_secret(
    "slack_webhook",
    lambda r: f"hooks.slack{'.com'}/services/T{chars(r, UPPER, 8)}/B{chars(r, UPPER, 8)}/{chars(r, ALNUM, 24)}",
    "https://{}",
)
_secret("stripe", lambda r: "s" + "k_live_" + chars(r, ALNUM, 24))
_secret("google", lambda r: "AI" + "za" + chars(r, URL64, 35))
_secret("huggingface", lambda r: "h" + "f_" + chars(r, string.ascii_letters, 34))
_secret("npm", lambda r: "np" + "m_" + chars(r, ALNUM, 36))
_secret("pypi", lambda r: "py" + "pi-AgEIcHlwaS5vcmc" + chars(r, URL64, 120))
_secret("sendgrid", lambda r: "S" + "G." + chars(r, URL64, 22) + "." + chars(r, URL64, 43))
_secret("twilio", lambda r: "S" + "K" + chars(r, HEX, 32))
_secret("jwt", _jwt)
_secret("private_key", _pem)
_secret(
    "url_postgres",
    lambda r: _password(r, 10).replace("#", "x").replace("?", "y"),
    "postgres" + "://app:{}@db.internal:5432/main",
)
_secret("url_redis", lambda r: _password(r, 16).replace("#", "x").replace("?", "y"), "redis" + "://:{}@cache:6379/0")
_secret("password_quoted", lambda r: _password(r, 12), "pass" + "word = '{}'")
_secret("password_json", lambda r: _password(r, 12), '{{"user": "ana", "pass' + 'word": "{}"}}')
_secret("password_bare", lambda r: _password(r, 10), "DB_PASS" + "WORD={}")
_secret("bearer", lambda r: chars(r, URL64, 40), "Authorization: Bear" + "er {}")
_secret("basic", lambda r: chars(r, BASE64, 24), "Authorization: Bas" + "ic {}")
_secret(
    "azure",
    lambda r: chars(r, BASE64, 86) + "==",
    "DefaultEndpointsProtocol=https;AccountName=acme;Account" + "Key={};EndpointSuffix=core.windows.net",
)
_secret("generic_api_key", lambda r: chars(r, ALNUM, 32), "api_" + 'key: "{}"')
_secret("generic_client_secret", lambda r: chars(r, URL64, 40), "client_" + "secret={}")


def look_alikes(source: random.Random) -> list[str]:
    uuid = "-".join(chars(source, HEX, size) for size in (8, 4, 4, 4, 12))
    sha1, sha256, md5 = (chars(source, HEX, size) for size in (40, 64, 32))
    digest = chars(source, BASE64, 86) + "=="
    return [
        uuid,
        f"request id {uuid}",
        f"commit {sha1}",
        f"git checkout {sha1[:10]}",
        f"sha256:{sha256}",
        f'ETag: "{md5}"',
        f'"integrity": "sha512-{digest}"',
        f"traceparent: 00-{md5}-{sha1[:16]}-01",
        f'<img src="data:image/png;base64,iVBORw0KGgo{chars(source, BASE64, 200)}">',
        f"docker pull registry.example/app@sha256:{sha256}",
        "api_" + "key = <your key>",
        "api_" + "key: ${API_KEY}",
        "OPENAI_API_" + "KEY=sk-...",
        "OPENAI_API_" + "KEY=s" + "k-" + "x" * 48,
        "token = os.environ['SERVICE_TOKEN']",
        "pass" + "word = '********'",
        "pass" + "word: <password>",
        "postgres" + "://user:${PASSWORD}@localhost/db",
        "postgres" + "://user:password@localhost/db",
        "Authorization: Bear" + "er <token>",
        "Authorization: Bear" + "er $TOKEN",
        "gh" + "p_" + "x" * 36,
        "AK" + "IA" + "X" * 16,
        "The password must be at least 12 characters long.",
        "Password: required, minimum length eight",
        f"primary key {source.randrange(10**6)}, sort key {uuid}",
        f"cache_key={sha256}",
        f"isbn 978-3-16-{source.randrange(10**6)}-0, order {source.randrange(10**12)}",
        f"max_tokens: {source.randrange(4096)}",
        "https://example.org/a/very/long/path/that/goes/on/And/On/2024/10/11?page=2",
    ]


FRAMES = [
    "{}",
    "use {} please",
    "key:\n{}\n",
    '{{"value": "{}"}}',
    "see ({}), then go on.",
    "`{}`",
    "ключ {}é",
    "\\n{}\\n",
]
GUARD = Secrets()


@pytest.mark.parametrize("kind", SECRET_MAKERS)
def test_nearly_every_random_secret_of_a_kind_is_taken_out(kind: str) -> None:
    source = random.Random(kind)
    lost = 0
    for number in range(60):
        text, value = SECRET_MAKERS[kind](source)
        framed = FRAMES[number % len(FRAMES)].format(text)
        written = GUARD.check(framed).text
        lost += written is None or value in written or value[-12:] in written
    assert lost <= 1  # 0.98 of 60


def test_look_alikes_pass() -> None:
    source = random.Random(7)
    texts = [text for _ in range(30) for text in look_alikes(source)]
    alarms = [text for text in texts if GUARD.check(text).findings]
    assert len(alarms) <= 0.01 * len(texts), alarms[:10]


@pytest.mark.parametrize("name", ["dbPassword", "dbKennwort", "dbSenha", "dbWachtwoord", "dbContraseña", "a\\nsenha"])
def test_a_name_in_camel_case_or_behind_a_written_line_break_says_what_its_value_is(name: str) -> None:
    assert GUARD.check(f"{name} = 'hunter2!x'").text == f"{name} = '[SECRET:password]'"


def test_every_occurrence_is_replaced() -> None:
    key = "gh" + "p_" + "a1B2c3D4e5F6" * 3
    verdict = GUARD.check(f"{key} and again {key}, {key}")
    assert verdict.text == "[SECRET:github_token] and again [SECRET:github_token], [SECRET:github_token]"
    assert [(f.start, f.end) for f in verdict.findings] == [(0, 40), (51, 91), (93, 133)]


def test_only_the_password_of_a_url_is_replaced() -> None:
    url = "postgres" + "://app:S3cr3tP4ss@db.internal:5432/main"
    assert GUARD.check(url).text == "postgres" + "://app:[SECRET:url_password]@db.internal:5432/main"


def test_a_password_in_a_url_may_hold_an_at_sign() -> None:
    url = "postgres" + "://app:S3cr@3tP4@db.internal/main"
    assert GUARD.check(url).text == "postgres" + "://app:[SECRET:url_password]@db.internal/main"


def test_a_private_key_in_json_is_replaced_as_a_whole() -> None:
    pem = _pem(random.Random(3))
    written = GUARD.check(json.dumps({"key": pem})).text
    assert written == '{"key": "[SECRET:private_key]"}'


def test_a_private_key_that_was_cut_off_is_replaced_too() -> None:
    pem = _pem(random.Random(4))
    assert GUARD.check(pem[:200]).text == "[SECRET:private_key]"


def test_a_sentence_about_private_keys_passes() -> None:
    text = "The file starts with -----BEGIN PRIVATE " + "KEY----- and then there are some lines of base64 text."
    assert GUARD.check(text).action == "allow"


def test_a_replacement_is_not_found_again() -> None:
    source = random.Random(11)
    for make in SECRET_MAKERS.values():
        written = GUARD.check(make(source)[0]).text
        assert written is not None
        assert GUARD.check(written).action == "allow"


def test_blocking_says_what_was_found_but_not_the_secret() -> None:
    key = "AK" + "IA" + "ABCDEFGH12345678"
    verdict = Secrets(action="block").check(f"here: {key}")
    assert verdict.blocked
    assert "aws_access_key_id" in verdict.reason
    assert key not in repr(verdict)


def test_kinds_limit_what_is_found() -> None:
    key = "AK" + "IA" + "ABCDEFGH12345678"
    assert Secrets(kinds=["github_token"]).check(key).action == "allow"
    assert Secrets(kinds=["aws_access_key_id"]).check(key).action == "rewrite"


def test_rules_of_ones_own_come_first() -> None:
    own = Rule(kind="acme_key", pattern=r"acme-[0-9]{8}", literals=("acme-",))
    assert Secrets(rules=[own]).check("it is acme-12345678").text == "it is [SECRET:acme_key]"


@pytest.mark.parametrize("kinds", [["githb_token"], "github_token"])
def test_unknown_kinds_are_refused_with_the_known_ones(kinds: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="github_token"):
        Secrets(kinds=kinds)


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="rewrite"):
        Secrets(action="redact")  # type: ignore[arg-type]


def test_empty_text_gets_a_verdict() -> None:
    assert GUARD.check("").action == "allow"
