"""`Secrets` on a generator that was written before its rules and without them in sight: other makers, other carriers.

The rules are not to be fitted to what fails here: what is lost is counted, and the documentation says how much.
"""

from __future__ import annotations

import base64
import json
import random
import string
import urllib.parse
import uuid
from collections.abc import Callable, Iterator

import pytest

from llmops_sdk.guards import Secrets

LETTERS_DIGITS = string.ascii_letters + string.digits
Make = Callable[[random.Random], str]


def some(source: random.Random, alphabet: str, least: int, most: int | None = None) -> str:
    return "".join(source.choices(alphabet, k=source.randint(least, most or least)))


def hexed(source: random.Random, size: int) -> str:
    return f"{source.getrandbits(4 * size):0{size}x}"


def word(source: random.Random, least: int, most: int | None = None) -> str:
    return some(source, LETTERS_DIGITS, least, most)


def url_safe(source: random.Random, least: int, most: int | None = None) -> str:
    # What services issue does not end in a hyphen often; where it does, any cut of it would do.
    return some(source, LETTERS_DIGITS + "-_", least - 1, (most or least) - 1) + word(source, 1)


def encoded(source: random.Random, size: int) -> str:
    return base64.b64encode(source.randbytes(size)).decode()


def a_uuid(source: random.Random) -> str:
    return str(uuid.UUID(int=source.getrandbits(128), version=4))


def three_parts(source: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().strip("=")

    head = {"typ": "JWT", "alg": source.choice(["RS256", "HS512", "ES256"]), "kid": word(source, 8)}
    body = {"iss": "https://id.acme.test", "exp": source.getrandbits(31), "roles": [word(source, 5)]}
    return f"{part(head)}.{part(body)}.{base64.urlsafe_b64encode(source.randbytes(64)).decode().strip('=')}"


# Tokens that show what they are wherever they stand. Prefixes are joined, so that no scanner takes them for leaks.
STANDING: dict[str, Make] = {
    "aws id": lambda r: r.choice(["AK", "AS"]) + "IA" + some(r, string.ascii_uppercase + "234567", 16),
    "github classic": lambda r: "gh" + r.choice("pousr") + "_" + word(r, 36),
    "github fine": lambda r: "github" + "_pat_" + word(r, 22) + "_" + word(r, 59),
    "gitlab personal": lambda r: "gl" + "pat-" + url_safe(r, 20),
    "gitlab runner": lambda r: "gl" + "rt-" + url_safe(r, 20),
    "gitlab trigger": lambda r: "gl" + "ptt-" + hexed(r, 40),
    "gitlab deploy": lambda r: "gl" + "dt-" + url_safe(r, 20),
    "openai old": lambda r: "s" + "k-" + word(r, 20) + "T3Blbk" + "FJ" + word(r, 20),
    "openai project": lambda r: "s" + "k-proj-" + url_safe(r, 74) + "T3Blbk" + "FJ" + url_safe(r, 74),
    "openai service": lambda r: "s" + "k-svcacct-" + url_safe(r, 58) + "T3Blbk" + "FJ" + url_safe(r, 58),
    "anthropic": lambda r: "s" + "k-ant-api03-" + url_safe(r, 93) + "AA",
    "anthropic admin": lambda r: "s" + "k-ant-admin01-" + url_safe(r, 93) + "AA",
    "slack bot": lambda r: "xo" + f"xb-{some(r, string.digits, 12)}-{some(r, string.digits, 13)}-{word(r, 24)}",
    "slack user": lambda r: (
        "xo" + f"xp-{some(r, string.digits, 12)}-{some(r, string.digits, 12)}-"
        f"{some(r, string.digits, 13)}-{hexed(r, 32)}"
    ),
    "slack app": lambda r: (
        "xa" + f"pp-1-A{some(r, string.ascii_uppercase, 10)}-{some(r, string.digits, 13)}-{hexed(r, 64)}"
    ),
    "slack hook": lambda r: (
        "https://hooks.slack" + f".com/services/T{some(r, string.ascii_uppercase, 10)}/"
        f"B{some(r, string.ascii_uppercase, 10)}/{word(r, 24)}"
    ),
    "slack config": lambda r: "xo" + "xe.xo" + f"xp-1-{word(r, 163)}",
    "discord bot": lambda r: "M" + word(r, 23) + "." + word(r, 6) + "." + url_safe(r, 38),
    "discord hook": lambda r: "https://discord" + f".com/api/webhooks/{some(r, string.digits, 19)}/{url_safe(r, 68)}",
    "telegram": lambda r: str(r.randint(10**9, 10**10 - 1)) + ":AA" + url_safe(r, 33),
    "stripe": lambda r: r.choice("sr") + "k_" + r.choice(["live", "test"]) + "_51" + word(r, 97),
    "stripe hook": lambda r: "wh" + "sec_" + word(r, 32),
    "square": lambda r: "sq0" + "atp-" + url_safe(r, 22),
    "square oauth": lambda r: "sq0" + "csp-" + url_safe(r, 43),
    "square new": lambda r: "EA" + "AA" + url_safe(r, 60),
    "braintree": lambda r: "access_token$" + f"production${word(r, 16).lower()}${hexed(r, 32)}",
    "google key": lambda r: "AI" + "za" + "Sy" + url_safe(r, 33),
    "google client secret": lambda r: "GOC" + "SPX-" + url_safe(r, 28),
    "google access": lambda r: "ya" + "29.a0" + url_safe(r, 180),
    "google refresh": lambda r: "1/" + "/0" + url_safe(r, 60),
    "azure ad": lambda r: word(r, 3) + str(r.randrange(10)) + "Q~" + word(r, 34),
    "hugging face": lambda r: "h" + "f_" + some(r, string.ascii_letters, 34),
    "npm": lambda r: "np" + "m_" + word(r, 36),
    "pypi": lambda r: "py" + "pi-AgEIcHlwaS5vcmc" + url_safe(r, 140),
    "rubygems": lambda r: "ruby" + "gems_" + hexed(r, 48),
    "crates": lambda r: "ci" + "o" + word(r, 32),
    "docker": lambda r: "dckr" + "_pat_" + url_safe(r, 27),
    "digitalocean": lambda r: "do" + "p_v1_" + hexed(r, 64),
    "heroku": lambda r: "HR" + "KU-AA" + url_safe(r, 58),
    "cloudflare": lambda r: "cf" + "ut_" + word(r, 40) + hexed(r, 8),
    "sendgrid": lambda r: "S" + "G." + url_safe(r, 22) + "." + url_safe(r, 43),
    "mailgun": lambda r: "ke" + "y-" + hexed(r, 32),
    "mailgun new": lambda r: f"{hexed(r, 32)}-{hexed(r, 8)}-{hexed(r, 8)}",
    "mailchimp": lambda r: f"{hexed(r, 32)}-u" + f"s{r.randint(1, 21)}",
    "twilio": lambda r: "S" + "K" + hexed(r, 32),
    "new relic": lambda r: "NR" + "AK-" + some(r, string.ascii_uppercase + string.digits, 27),
    "new relic licence": lambda r: hexed(r, 36) + "NR" + "AL",
    "grafana": lambda r: "gl" + f"sa_{word(r, 32)}_{hexed(r, 8)}",
    "grafana cloud": lambda r: "gl" + "c_eyJ" + word(r, 120),
    "sentry": lambda r: "sn" + "tryu_" + hexed(r, 64),
    "sentry org": lambda r: "sn" + "trys_eyJ" + word(r, 150),
    "linear": lambda r: "lin" + "_api_" + word(r, 40),
    "notion": lambda r: "nt" + "n_" + some(r, string.digits, 11) + word(r, 35),
    "figma": lambda r: "fi" + "gd_" + url_safe(r, 40),
    "atlassian": lambda r: "AT" + "ATT3xFfGF0" + url_safe(r, 180) + "=" + hexed(r, 8).upper(),
    "asana": lambda r: f"2/{some(r, string.digits, 16)}/{some(r, string.digits, 16)}:{hexed(r, 32)}",
    "airtable": lambda r: "pa" + "t" + word(r, 14) + "." + hexed(r, 64),
    "shopify": lambda r: "sh" + r.choice(["pat", "pca", "ppa", "pss"]) + "_" + hexed(r, 32),
    "supabase": lambda r: "sb" + "p_" + hexed(r, 40),
    "supabase secret": lambda r: "sb" + "_secret_" + url_safe(r, 31),
    "planetscale": lambda r: "psc" + "ale_" + r.choice(["tkn", "pw", "oauth"]) + "_" + url_safe(r, 43),
    "vault": lambda r: "hv" + "s." + url_safe(r, 91, 110),
    "terraform": lambda r: word(r, 14) + ".atlas" + "v1." + url_safe(r, 67),
    "databricks": lambda r: "da" + "pi" + hexed(r, 32) + "-2",
    "doppler": lambda r: "dp" + ".pt." + word(r, 43),
    "pulumi": lambda r: "pu" + "l-" + hexed(r, 40),
    "postman": lambda r: "PM" + f"AK-{hexed(r, 24)}-{hexed(r, 34)}",
    "groq": lambda r: "gs" + "k_" + word(r, 52),
    "xai": lambda r: "xa" + "i-" + word(r, 80),
    "replicate": lambda r: "r" + "8_" + word(r, 37),
    "perplexity": lambda r: "pp" + "lx-" + word(r, 48),
    "langsmith": lambda r: "ls" + f"v2_{r.choice(['pt', 'sk'])}_{hexed(r, 32)}_{hexed(r, 10)}",
    "weights and biases": lambda r: "wandb" + "_v1_" + word(r, 27) + "_" + word(r, 49),
    "pinecone": lambda r: "pc" + f"sk_{word(r, 5)}_{word(r, 63)}",
    "jwt": three_parts,
}

# Values without a form of their own: the line says what they are.
SAID: dict[str, tuple[Make, tuple[str, ...]]] = {
    "aws secret": (
        lambda r: some(r, LETTERS_DIGITS + "+/", 40),
        ("aws_secret_access_key={}", "AWS_SECRET_ACCESS_KEY='{}'", '"secretAccessKey": "{}",', "Secret access key: {}"),
    ),
    "azure storage": (
        lambda r: encoded(r, 64),
        (
            "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={};EndpointSuffix=core.windows.net",
            'AZURE_STORAGE_KEY="{}"',
        ),
    ),
    "azure sas": (
        lambda r: urllib.parse.quote(encoded(r, 32), safe=""),
        (
            "https://acme.blob.core.windows.net/c/b.zip?sv=2023-01-03&se=2026-12-01T00%3A00Z&sr=b&sp=r&sig={}",
            "?sv=2022-11-02&ss=b&sig={}&se=2030-01-01",
        ),
    ),
    "hex key": (
        lambda r: hexed(r, r.choice([32, 40])),
        (
            "DD_API_KEY={}",
            "FASTLY_API_TOKEN: {}",
            'wandb_api_key = "{}"',
            "export TWILIO_AUTH_TOKEN={}",
            'MISTRAL_API_KEY="{}"',
            "x-api-key: {}",
            "my datadog api key is {}",
        ),
    ),
    "word key": (
        lambda r: word(r, r.choice([24, 32, 40])),
        (
            "COHERE_API_KEY={}",
            "cloudflare_api_token: {}",
            '{{"apiKey": "{}"}}',
            "client_secret={}&grant_type=client_credentials",
            "config.api_key = '{}'",
            "const API_TOKEN = `{}`;",
            "curl -H 'X-Api-Key: {}' https://api.acme.test/v1",
            "PRIVATE-TOKEN: {}",
            "Here is the access token: {}",
            "--api-key {} --verbose",
            "os.environ['SERVICE_TOKEN'] = '{}'",
            "| API key | {} |",
            "- **API key:** `{}`",
            "https://api.acme.test/v1?api_key={}&page=2",
            "the secret key is {}.",
        ),
    ),
    "uuid key": (a_uuid, ("HEROKU_API_KEY={}", 'PINECONE_API_KEY = "{}"', "api_key: {}")),
    "bearer": (
        lambda r: url_safe(r, 32, 60),
        (
            "Authorization: Bearer {}",
            'headers = {{"Authorization": "Bearer {}"}}',
            "curl -H 'authorization: bearer {}' https://api.acme.test",
            "Authorization: Token {}",
        ),
    ),
    "basic": (
        lambda r: base64.b64encode(f"{word(r, 5, 9)}:{word(r, 8, 16)}".encode()).decode(),
        ("Authorization: Basic {}", "proxy-authorization: Basic {}"),
    ),
    "cookie": (
        lambda r: word(r, 32),
        ("Cookie: theme=dark; sessionid={}; lang=en", "Set-Cookie: JSESSIONID={}; Path=/; HttpOnly"),
    ),
    "password": (
        lambda r: word(r, 5) + some(r, string.digits, 2) + some(r, "!#%&*+-?@^_~", 2) + word(r, 4),
        (
            "password = '{}'",
            'PASSWORD="{}"',
            "passwd: {}",
            "pwd={};",
            "my password is {}",
            "The password is: {}",
            "Kennwort: {}",
            "Passwort: {}",
            "mot de passe : {}",
            "contraseña: {}",
            "Server=db;Database=x;User Id=sa;Password={};Encrypt=true",
            '{{"username": "eva", "password": "{}"}}',
            "DB_PASSWORD={}",
            "spring.datasource.password={}",
            "mysql -u root -p{} acme",
            "curl -u eva:{} https://acme.test/",
            "login with eva and the password {}",
            "<password>{}</password>",
            "redis-cli -a {} ping",
            "--password {}",
            "- password: {}",
            "your temporary password is **{}**",
        ),
    ),
    "url password": (
        lambda r: word(r, 8, 20),
        (
            "postgresql+asyncpg" + "://svc:{}@db.acme.test:5432/app",
            "mongodb+srv" + "://eva:{}@cluster0.acme.test/?w=1",
            "amqp" + "://guest9:{}@mq:5672/%2f",
            "https" + "://eva:{}@git.acme.test/x.git",
            "redis" + "://default:{}@cache:6379",
            "smtp" + "://mail:{}@smtp.acme.test:587",
        ),
    ),
}

CARRIERS = (
    "{}",
    "hey, can you check why {} is refused?",
    "TOKEN={}\nDEBUG=1",
    '{{"a": [1, "{}"], "b": null}}',
    "value: {}  # rotate me",
    "```\n{}\n```",
    "<td>{}</td>",
    "(“{}”)",
    "日本語{}です",
    "x = f('{}')",
    "curl https://acme.test -d '{}'",
    "\t{}\r\n",
    "first\\n{}\\nlast",
    "{}, {}",
    "[link]({})",
    "it is {}.",
    "it is {}!",
    "a;{};b",
    "key={}",
    "**{}**",
)


def private_keys(source: random.Random) -> Iterator[str]:
    for label in ("RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED ", "PGP "):
        block = " BLOCK" if label == "PGP " else ""
        name = f"{label}PRIVATE " + f"KEY{block}"
        lines = "\n".join(encoded(source, 48) for _ in range(source.randint(4, 30)))
        head = "\n" if block else ""
        yield f"-----BEGIN {name}-----\n{head}{lines}\n-----END {name}-----"


def benign(source: random.Random) -> Iterator[str]:
    sha1, sha256, md5 = hexed(source, 40), hexed(source, 64), hexed(source, 32)
    number = source.randint(1, 999)
    yield from (
        f"job {a_uuid(source)} finished in {number} ms",
        f'{{"id": "{a_uuid(source)}", "version": {number}}}',
        f"commit {sha1}\nAuthor: Eva <eva@acme.test>",
        f"Merge branch 'main' of acme into {sha1[:7]}",
        f"sha256:{sha256}  dist/app-{number}.tar.gz",
        f"{md5}  backup.sql",
        f'"integrity": "sha512-{encoded(source, 64)}",',
        f'<script src="a.js" integrity="sha384-{encoded(source, 48)}" crossorigin="anonymous"></script>',
        f"url(data:font/woff2;base64,{encoded(source, 300)})",
        f"![logo](data:image/png;base64,{encoded(source, 600)})",
        f"X-Trace-Id: {md5}",
        f"trace_id={md5} span_id={sha1[:16]} sampled=1",
        f"    --hash=sha256:{sha256} \\",
        f'checksum = "{sha256}"',
        f"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{some(source, LETTERS_DIGITS + '+/', 340)} eva@laptop",
        f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{some(source, LETTERS_DIGITS + '+/', 43)} eva@laptop",
        "-----BEGIN CERTIFICATE-----\n"
        + "\n".join(encoded(source, 48) for _ in range(9))
        + "\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\n"
        + "\n".join(encoded(source, 48) for _ in range(4))
        + "\n-----END PUBLIC KEY-----",
        f"model: meta-llama/Llama-3.1-{number}B-Instruct-AWQ-INT4",
        f"node_modules/@babel/core/lib/transform-file-{number}.browser.js:12:7",
        f"torch=={number}.7.1+cu128; python_version >= '3.11'",
        f"2026-11-{source.randint(1, 28):02d}T10:22:31.{number:03d}Z INFO request done",
        f"<div class='mt-4 px-2 sk-fading-circle css-{word(source, 6)} hover:bg-gray-{number}'>",
        "function aB3(e,t,n){return r8(e)||qX2(t,n)}var _k9=s.jK2(x)",
        "password: string;",
        "password: str = Field(..., min_length=12)",
        "def login(username: str, password: str | None = None) -> Token:",
        "The password must be at least 12 characters and hold 1 digit.",
        "password = getpass.getpass('Password: ')",
        "api_key = os.environ['ACME_API_KEY']",
        'api_key=os.getenv("ACME_API_KEY_2", "")',
        "token = await client.fetch_token(scope='read:all', retries=3)",
        "apiKey: process.env.ACME_API_KEY,",
        "API_KEY=<your api key here>",
        "export OPENAI_API_KEY=sk-...",
        "OPENAI_API_KEY=s" + "k-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "api_key: your-api-key-goes-here-12345",
        "token: {{ vault_token }}",
        "password: ${DB_PASSWORD}",
        "password: $DB_PASSWORD",
        "password: \"{{ lookup('env', 'DB_PASS') }}\"",
        "DB_PASSWORD=changeme",
        "Authorization: Bearer <access_token>",
        "Authorization: Bearer ${{ secrets.GITHUB_TOKEN }}",
        "mysql://user:${PASS}@localhost/db",
        "https://example.com:8443/a/b@2x.png",
        "git@github.com:acme/repo.git",
        "primary_key=True, foreign_key='users.id'",
        f"max_tokens={number}, total_tokens: {number * 7}, token_type_ids=[0, 1]",
        f"the key insight of section {number} is that tokens are words",
        f"next_page_token: {number}",
        "public_key: age1" + some(source, "qpzry9x8gf2tvdw0s3jn54khce6mua7l", 58),
        '<input type="password" name="password" autocomplete="current-password">',
        '"forgotPassword": "Forgot your password?",',
        "password_hash: the column type is varchar(255)",
        "secretKeyRef:\n  name: db-credentials\n  key: password",
        f"arn:aws:iam::{some(source, string.digits, 12)}:role/deploy-role-{number}",
        f"projects/acme-{number}/secrets/db-password/versions/latest",
        f"docker run -u 1000:1000 -p 8080:80 acme/app:{number}",
        f"s3://acme-bucket/year=2026/part-{number:05d}-{a_uuid(source)}.snappy.parquet",
        f'ETag: W/"{md5}"',
        f"https://acme.test/a/{word(source, 11)}?v={word(source, 8)}",
        f"tracking number 1Z{some(source, string.digits, 16)}, invoice INV-2026-{number:06d}",
        f"0x{hexed(source, 40)} sent 3 ETH to 0x{hexed(source, 40)}",
        "passing tests: 12/12; password reset page: OK",
    )


GUARD = Secrets()
ROUNDS = 8


def lost_of(source: random.Random, text: str, value: str) -> bool:
    written = GUARD.check(text).text
    # No stretch of 6 characters of the secret may stand in what is written.
    tail = value[max(0, len(value) - 6) :]
    return written is None or value in written or tail in written


@pytest.mark.parametrize("kind", STANDING)
def test_tokens_with_a_form_of_their_own_are_found_in_every_carrier(kind: str) -> None:
    source = random.Random(f"held out {kind}")
    lost = []
    for carrier in CARRIERS * 3:
        value = STANDING[kind](source)
        text = carrier.replace("{}", value).replace("{{", "{").replace("}}", "}")
        if lost_of(source, text, value):
            lost.append(text)
    assert len(lost) <= 1, lost[:5]


@pytest.mark.parametrize("kind", SAID)
def test_values_are_found_by_what_is_said_about_them(kind: str) -> None:
    source = random.Random(f"held out {kind}")
    make, lines = SAID[kind]
    lost = []
    for line in lines * ROUNDS:
        value = make(source)
        text = source.choice(["", "ok: ", "Hi!\n", "  "]) + line.format(value) + source.choice(["", "\n", " # x"])
        if lost_of(source, text, value):
            lost.append(text)
    assert len(lost) <= 0.02 * len(lines) * ROUNDS, lost[:5]


def test_private_keys_are_found() -> None:
    source = random.Random("held out keys")
    for _ in range(5):
        for key in private_keys(source):
            for text in (key, json.dumps({"k": key}), f"cat <<EOF\n{key}\nEOF", key.replace("\n", "\r\n")):
                written = GUARD.check(text).text
                assert written is not None, text
                assert key.splitlines()[-2][-20:] not in written


def test_what_is_written_holds_no_other_finding() -> None:
    source = random.Random("held out again")
    for _ in range(3):
        texts = [f"see {make(source)}, ok" for make in STANDING.values()]
        texts += [line.format(make(source)) for make, lines in SAID.values() for line in lines]
        for text in [*texts, " ".join(texts)]:
            written = GUARD.check(text).text
            assert written is None or GUARD.check(written).action == "allow", written


def test_benign_texts_pass() -> None:
    source = random.Random("held out benign")
    texts = [text for _ in range(20) for text in benign(source)]
    alarms = [text for text in texts if GUARD.check(text).findings]
    assert len(alarms) <= 0.01 * len(texts), (len(alarms) / len(texts), sorted(set(alarms))[:10])
