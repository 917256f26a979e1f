"""The rules of `Secrets` as data: forms in which services issue keys, and the words that stand before other secrets.

Forms are facts that services publish, for the most part in their notes on secret scanning.
"""

from __future__ import annotations

import re

from llmops_sdk.guards._patterns.guard import Rule
from llmops_sdk.guards._secrets.signs import (
    holds_a_key,
    meant,
    odd,
    of_a_command,
    password_like,
    random_looking,
    random_with_digit,
    strong,
    unpredictable,
    url_password,
)

__all__ = ["SECRET_RULES"]

# A key begins where no letter or digit stands before it; but in JSON a line break is written as two characters, of
# which the second is a letter. This stands after the first character, so that `re` can skip to that character.
_FIRST = r"(?:(?<![A-Za-z0-9].)|(?<=\\[nrt].))"
_END = r"(?![A-Za-z0-9])"
_WORD = "[A-Za-z0-9]"
_SAFE = r"[A-Za-z0-9_\-]"
_HEX = "[0-9a-f]"
_UUID = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"


def _token(kind: str, pattern: str, *literals: str, checked: bool = False) -> Rule:
    """A key that shows what it is; `checked`: what follows its prefix may be words, so it has to look random."""
    size = pattern.index("]") + 1 if pattern[0] == "[" else 1
    return Rule(
        kind=kind,
        pattern=pattern[:size] + _FIRST + pattern[size:],
        literals=literals,
        accepts=random_with_digit if checked else random_looking,
    )


_TOKENS = (
    _token("aws_access_key_id", rf"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{{16}}{_END}", "AKIA", "ASIA", "ABIA", "ACCA"),
    _token("aws_bedrock_key", r"ABSK[A-Za-z0-9+/]{100,280}={0,2}", "ABSK"),
    _token("github_token", rf"ghs_[0-9]{{1,12}}_eyJ{_SAFE}{{8,400}}\.{_SAFE}{{8,800}}\.{_SAFE}{{0,800}}", "ghs_"),
    _token("github_token", rf"gh[pousr]_{_WORD}{{36,255}}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _token("github_fine_grained_token", r"github_pat_[A-Za-z0-9_]{36,255}", "github_pat_"),
    _token(
        "gitlab_token",
        rf"gl(?:pat|ptt|dt|rtr?|cbt|soat|ft|imt|oas|agent|ffct|wt)-{_SAFE}{{18,300}}"
        r"(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?",
        *("glpat-", "glptt-", "gldt-", "glrt", "glcbt-", "glsoat-", "glft-", "glimt-", "gloas-", "glagent-", "glffct-"),
        "glwt-",
    ),
    _token("gitlab_token", rf"GR1348941{_SAFE}{{20,40}}", "GR1348941"),
    _token("anthropic_key", rf"sk-ant-{_SAFE}{{20,200}}", "sk-ant-", checked=True),
    _token(
        "openai_project_key",
        rf"sk-(?:proj|svcacct|admin|None)-{_SAFE}{{20,300}}",
        *("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"),
        checked=True,
    ),
    _token("openai_key", rf"sk-(?:or-v1-|lf-|live-|test-)?{_WORD}{{20,100}}(?![A-Za-z0-9_\-])", "sk-", checked=True),
    _token("langfuse_key", rf"sk-lf-{_UUID}", "sk-lf-"),
    _token("elevenlabs_key", rf"sk_{_HEX}{{48}}{_END}", "sk_"),
    _token(
        "slack_token",
        r"xox(?:[abceoprs](?:\.xox[bp])?-[0-9][A-Za-z0-9\-]{10,400}|d-[A-Za-z0-9%]{20,400})",
        "xox",
        checked=True,
    ),
    _token("slack_token", r"xapp-[0-9]-[A-Z][A-Za-z0-9\-]{10,200}", "xapp-", checked=True),
    Rule(
        kind="slack_webhook",
        pattern=r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/_\-]{20,150}",
        literals=("hooks.slack.com/",),
        accepts=random_looking,
    ),
    Rule(
        kind="discord_webhook",
        pattern=rf"api/(?:v[0-9]{{1,2}}/)?webhooks/[0-9]{{15,22}}/{_SAFE}{{50,90}}",
        literals=("webhooks/",),
        accepts=random_looking,
    ),
    _token("discord_token", rf"[MNO]{_SAFE}{{22,28}}\.{_SAFE}{{6,7}}\.{_SAFE}{{27,40}}", "M", "N", "O", checked=True),
    _token("telegram_token", rf"[0-9][0-9]{{7,9}}:AA{_SAFE}{{32,34}}", ":AA"),
    _token(
        "stripe_key",
        r"[srw](?:k_(?:live|test|prod)_[A-Za-z0-9]{16,250}|hsec_[A-Za-z0-9+/]{24,100}={0,2})",
        *("k_live_", "k_test_", "k_prod_", "whsec_"),
    ),
    _token("square_token", rf"sq0(?:atp-{_SAFE}{{22}}|csp-{_SAFE}{{43}}|i[a-z]{{2}}-{_SAFE}{{22,43}})", "sq0"),
    _token("square_token", rf"EAAA{_SAFE}{{56,64}}", "EAAA"),
    _token("facebook_token", r"EAA[A-Z][A-Za-z0-9]{80,300}", "EAA"),
    _token("paypal_token", r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}", "access_token$"),
    _token("paypal_token", rf"A2[13]AA{_SAFE}{{60,100}}", "A21AA", "A23AA"),
    _token("google_api_key", rf"AIza{_SAFE}{{35}}(?![A-Za-z0-9_\-])", "AIza"),
    _token("google_api_key", rf"AQ\.Ab{_SAFE}{{40,80}}", "AQ.Ab"),
    _token("google_oauth_token", rf"[yG](?:a29\.[A-Za-z0-9_\-.]{{20,400}}|OCSPX-{_SAFE}{{20,40}})", "ya29.", "GOCSPX-"),
    _token("google_refresh_token", rf"1//0{_SAFE}{{30,120}}", "1//0"),
    _token("firebase_key", rf"AAAA{_SAFE}{{7}}:APA91b{_SAFE}{{100,160}}", ":APA91b"),
    _token("azure_client_secret", r"[A-Za-z0-9][A-Za-z0-9_~.]{2}[0-9]Q~[A-Za-z0-9_~.\-]{31,34}", "Q~"),
    _token("huggingface_token", rf"[ha](?:f|pi_org)_{_WORD}{{30,64}}{_END}", "hf_", "api_org_"),
    _token("npm_token", rf"npm_{_WORD}{{36,64}}", "npm_"),
    _token("pypi_token", rf"pypi-{_SAFE}{{50,300}}", "pypi-"),
    _token("rubygems_key", rf"rubygems_{_HEX}{{48}}", "rubygems_"),
    _token("crates_token", rf"cio{_WORD}{{32}}{_END}", "cio", checked=True),
    _token("docker_token", rf"dckr_(?:pat|oat)_{_SAFE}{{24,40}}", "dckr_"),
    _token("digitalocean_token", rf"do[opr]_v1_{_HEX}{{64}}", "dop_v1_", "doo_v1_", "dor_v1_"),
    _token("heroku_key", rf"HRKU-{_SAFE}{{34,64}}", "HRKU-"),
    _token("cloudflare_token", rf"cf(?:ut|at|k)_{_WORD}{{40,60}}", "cfut_", "cfat_", "cfk_"),
    _token("cloudflare_key", rf"v1\.0-{_HEX}{{24}}-{_HEX}{{146}}", "v1.0-"),
    _token("sendgrid_key", rf"SG\.{_SAFE}{{16,32}}\.{_SAFE}{{32,64}}", "SG."),
    _token("mailgun_key", rf"key-{_HEX}{{32}}{_END}", "key-"),
    _token("hex_key_in_parts", rf"[0-9a-f]{_HEX}{{31}}-(?:us[0-9]{{1,2}}|{_HEX}{{8}}-{_HEX}{{8}}){_END}", "-"),
    _token("brevo_key", rf"xkeysib-{_HEX}{{64}}-{_WORD}{{16}}", "xkeysib-"),
    _token("twilio_key", rf"[AS][CK]{_HEX}{{32}}{_END}", "AC", "SK"),
    _token("new_relic_key", r"NR(?:AK|RA|SP|JS|II|AA|IQ)-[A-Za-z0-9_\-]{19,42}", "NRAK-", "NRRA-", "NRSP-", "NRJS-"),
    _token("new_relic_key", rf"[0-9a-f][0-9a-fx]{{35}}NRAL{_END}", "NRAL"),
    _token(
        "grafana_token", rf"gl(?:sa_{_WORD}{{32}}_[0-9A-Fa-f]{{8}}|c_[A-Za-z0-9+/]{{32,400}}={{0,3}})", "glsa_", "glc_"
    ),
    _token("grafana_token", r"eyJrIjoi[A-Za-z0-9+/]{60,400}={0,3}", "eyJrIjoi"),
    _token("sentry_token", rf"sntry(?:u_{_HEX}{{64}}|s_[A-Za-z0-9+/=_\-]{{40,400}})", "sntryu_", "sntrys_"),
    _token("linear_key", rf"lin_(?:api|oauth)_{_WORD}{{32,64}}", "lin_api_", "lin_oauth_"),
    _token("notion_token", rf"[ns](?:tn_{_WORD}{{40,50}}|ecret_{_WORD}{{43}}{_END})", "ntn_", "secret_", checked=True),
    _token("figma_token", rf"fig(?:d|o|our|oh|uh)_{_SAFE}{{30,64}}", "figd_", "figo", "figuh_"),
    _token("atlassian_token", r"AT(?:ATT3|CTT3|BB)[A-Za-z0-9_\-=]{24,260}", "ATATT3", "ATCTT3", "ATBB"),
    _token("asana_token", rf"[0-2]/[0-9]{{14,20}}(?:/[0-9]{{14,20}})?:{_HEX}{{32}}", "0/", "1/", "2/"),
    _token("airtable_token", rf"pat{_WORD}{{14}}\.{_HEX}{{64}}", "pat"),
    _token(
        "shopify_token",
        r"shp(?:at|ca|pa|ss|tka|ua)_[0-9a-fA-F]{32}",
        *("shpat_", "shpca_", "shppa_", "shpss_", "shptka_"),
    ),
    _token("supabase_key", rf"sb(?:p_{_HEX}{{40}}|_secret_{_SAFE}{{24,64}})", "sbp_", "sb_secret_"),
    _token("planetscale_token", r"pscale_(?:tkn|pw|oauth|sid)_[A-Za-z0-9_\-.=]{30,64}", "pscale_"),
    _token("vault_token", rf"hv[sbr]\.{_SAFE}{{24,300}}", "hvs.", "hvb.", "hvr."),
    # The fourteen characters before the dot are the number of the token.
    Rule(
        kind="terraform_token",
        pattern=r"\.(?<=[A-Za-z0-9]{14}\.)atlasv1\.[A-Za-z0-9_\-=]{60,70}",
        literals=(".atlasv1.",),
        accepts=random_looking,
    ),
    _token("databricks_token", rf"d(?:api|ose|sapi|kea){_HEX}{{32}}(?:-[0-9])?{_END}", "dapi", "dose", "dkea"),
    _token("snowflake_token", r"ver:[0-9]-hint:[0-9]{1,20}-ETMs[A-Za-z0-9+/=\-]{40,300}", "-ETMs"),
    _token("doppler_token", rf"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_\-]{{1,35}}\.)?{_WORD}{{40,44}}", "dp."),
    _token("pulumi_token", rf"pul-{_HEX}{{40}}", "pul-"),
    _token("postman_key", rf"PM(?:AK-{_HEX}{{24}}-{_HEX}{{34}}|AT-{_WORD}{{26}})", "PMAK-", "PMAT-"),
    _token("groq_key", rf"gsk_{_WORD}{{40,64}}", "gsk_"),
    _token("xai_key", rf"xai-{_WORD}{{70,90}}", "xai-"),
    _token("replicate_token", rf"r8_{_WORD}{{37,40}}", "r8_"),
    _token("perplexity_key", rf"pplx-{_WORD}{{40,64}}", "pplx-"),
    _token("langsmith_key", rf"ls(?:v2_(?:pt|sk)_{_HEX}{{32}}_{_HEX}{{10}}|__{_HEX}{{32}})", "lsv2_", "ls__"),
    _token("wandb_key", r"wandb_v1_[A-Za-z0-9_]{60,100}", "wandb_v1_"),
    _token("pinecone_key", rf"pcsk_{_WORD}{{4,8}}_{_WORD}{{50,70}}", "pcsk_"),
    _token("nvidia_key", rf"nvapi-{_SAFE}{{50,80}}", "nvapi-"),
    _token("tailscale_key", rf"tskey-[a-z]{{2,10}}-{_WORD}{{8,20}}-{_WORD}{{20,40}}", "tskey-"),
    _token("dynatrace_token", r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}", "dt0"),
    _token("contentful_token", rf"CFPAT-{_SAFE}{{43}}", "CFPAT-"),
    _token("prefect_key", rf"pn[ub]_{_WORD}{{36}}", "pnu_", "pnb_"),
    _token("sonar_token", rf"sq[upa]_{_HEX}{{40}}", "squ_", "sqp_", "sqa_"),
    _token("resend_key", rf"re_{_WORD}{{8}}_{_WORD}{{24}}", "re_", checked=True),
    _token("neon_key", rf"napi_{_WORD}{{60,70}}", "napi_"),
    _token("netlify_token", rf"nf[pcu]_{_WORD}{{36,40}}", "nfp_", "nfc_", "nfu_"),
    _token("typeform_token", r"tfp_[A-Za-z0-9_\-.]{40,64}", "tfp_"),
    _token("fireworks_key", rf"fw_{_WORD}{{22,26}}{_END}", "fw_", checked=True),
    _token("together_key", rf"tgp_v1_{_SAFE}{{43}}", "tgp_v1_"),
    _token("tavily_key", rf"tvly-(?:dev-|prod-)?{_WORD}{{28,40}}", "tvly-"),
    _token("readme_key", rf"rdme_{_WORD}{{70}}", "rdme_"),
    _token("shippo_token", rf"shippo_(?:live|test)_{_HEX}{{40}}", "shippo_"),
    _token("easypost_key", rf"EZ[AT]K{_WORD}{{54}}", "EZAK", "EZTK"),
    _token("duffel_token", rf"duffel_(?:live|test)_{_SAFE}{{43}}", "duffel_"),
    _token("lob_key", rf"[lt](?:ive|est)_(?:pub_)?{_HEX}{{35}}{_END}", "live_", "test_"),
    _token("alibaba_key_id", rf"LTAI{_WORD}{{16,24}}{_END}", "LTAI"),
    _token("flutterwave_key", r"FLWSECK(?:_TEST)?-[0-9a-h]{12,32}(?:-X)?", "FLWSECK"),
    _token("artifactory_key", rf"AKCp{_WORD}{{60,75}}", "AKCp"),
    _token("age_key", r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", "AGE-SECRET-KEY-1"),
    _token("onepassword_token", r"ops_eyJ[A-Za-z0-9+/]{200,1500}={0,3}", "ops_eyJ"),
    Rule(
        kind="jwt",
        # RFC 7519: three parts in base64url; a JSON object begins with `{"`, which is `eyJ`.
        pattern=r"e(?:(?<![A-Za-z0-9_\-].)|(?<=\\[nrt].))"
        r"yJ[A-Za-z0-9_\-]{8,1000}\.[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{0,1000}",
        literals=("eyJ",),
        accepts=random_looking,
    ),
    Rule(
        kind="private_key",
        # RFC 7468; in JSON and in source code the line breaks are written `\n`. A key without its last line counts.
        pattern=r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]){0,8}"
        r"(?:(?:Proc-Type|DEK-Info|Comment|Version|Charset): [^\n\\]{1,100}(?:\s|\\[nr]){1,8}){0,4}"
        r"""([A-Za-z0-9+/=\s\\"',#>|]{32,8000})(?:-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?""",
        literals=("PRIVATE KEY",),
        accepts=holds_a_key,
    ),
    Rule(
        kind="private_key",
        pattern=r"Private-Lines: [0-9]{1,3}(?:\s|\\[nr]){1,4}([A-Za-z0-9+/=\s\\]{32,4000})",
        literals=("Private-Lines: ",),
        accepts=holds_a_key,
    ),
)


def _folded(words: str) -> str:
    """The pattern in any case; classes are faster here than `(?i:...)`, since `re` skips to them."""
    return re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", words)


# What stands between a name and its value: `= "`, `": "`, ` => `, `:** `, `"] = "`, `<password>`, ` is `.
_CLOSED = r"""(?:\\?["'`]|\*\*)?\]?"""
_ASSIGNED = rf"(?:{_CLOSED}\s{{0,4}}(?:=>|:=|[!=]==?|[=:|\uff1a])\s{{0,4}}|>)(?:\*\*\s?)?@?"
_SAID = rf"\s{{1,3}}(?:{_folded('is|ist|lautet|est|es|jest')}|è|é):?\s{{1,3}}(?:\*\*)?"
_QUOTE = r"""(?:\\?["'`])?"""
# Also inside of a name in camel case: `dbPassword`.
_FIRST_OF_NAME = rf"(?:{_FIRST}|(?<=[a-z][A-Z]))"
# The same behind a second letter, which rules most places out before anything has to be looked back at.
_TWO_OF_NAME = r"(?:(?<![A-Za-z0-9]..)|(?<=\\[nrt]..)|(?<=[a-z][A-Z].))"
_PASSWORDS = (
    rf"(?:[pP](?:{_FIRST_OF_NAME}{_folded('(?:ass(?:w(?:or(?:ds?|t)|d)|phrase|code)?|wd|w')}))"
    rf"|[kK][eE]{_TWO_OF_NAME}{_folded('nnwort')}"
    rf"|[mM][oO]{_TWO_OF_NAME}{_folded('t de passe')}"
    rf"|[cC][oO]{_TWO_OF_NAME}{_folded('ntrase')}[ñÑn][aA]"
    rf"|[sS][eE]{_TWO_OF_NAME}{_folded('nha')}"
    rf"|[wW][aA]{_TWO_OF_NAME}{_folded('chtwoord')}"
    r"|[hH]asło|[пП]ароль|密[码碼]|パスワード|비밀번호)[0-9]{0,2}"
)
_PASSWORD_WORDS = (
    *("pass", "pwd", "pw", "kennwort", "contrase", "senha", "wachtwoord"),
    *("hasło", "пароль", "密", "パスワード", "비밀번호"),
)
# A bare "key" is a word of prose, and these compounds name no secret.
_NO_KEYS = (
    *("public", "primary", "foreign", "sort", "cache", "partition", "object", "idempotency", "row", "hash", "dedup"),
    *("range", "lookup", "group", "routing", "document"),
)
_NO_TOKENS = ("page", "next", "continuation", "pad", "eos", "bos", "unk", "mask", "max", "cursor")


def _not_after(words: tuple[str, ...], size: int) -> str:
    skipped = "." * size
    return "".join(rf"(?<!{_folded(word)}[_\-. ]{skipped})(?<!{_folded(word)}{skipped})" for word in words)


_KEYS = (
    r"(?:"
    + _folded("key")
    + r"(?:(?<=[A-Za-z0-9][_\-. ]...)|(?<=[a-z0-9]K..)|(?<=[aA][pP][iI]...))"
    + _not_after(_NO_KEYS, 3)
    + "|"
    + _folded("token")
    + _not_after(_NO_TOKENS, 5)
    + "|"
    + _folded("secret|credential|authorization")
    + r")[sS]?"
)
_KEY_WORDS = ("key", "token", "secret", "credential", "authorization")

_BY_NAME = (
    Rule(
        kind="aws_secret_access_key",
        pattern=_folded("secret") + r"[_\-. ]?(?:" + _folded("access") + r"[_\-. ]?)?(?:" + _folded("key") + ")?"
        rf"(?:{_ASSIGNED}|{_SAID}|\s{{1,3}}){_QUOTE}"
        r"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        literals=("secret",),
        folded=True,
        accepts=random_looking,
        group=1,
    ),
    Rule(
        kind="url_password",
        pattern=r"""://[^\s/:@"'<>`]{0,100}:([^\s/"'<>`]{1,200})@[A-Za-z0-9\[_\-][A-Za-z0-9.\-]{0,40}""",
        literals=("://",),
        accepts=url_password,
        group=1,
    ),
    Rule(
        kind="authorization",
        pattern=rf"[aA]{_FIRST}{_folded('uthorization')}(?:{_ASSIGNED})(?:\\?[\"'`])?"
        rf"(?:{_folded('bearer|token|basic|apikey|api-key')})\s{{1,4}}([A-Za-z0-9._~+/=\-]{{8,2000}})",
        literals=("authorization",),
        folded=True,
        accepts=meant,
        group=1,
    ),
    Rule(
        kind="bearer_token",
        pattern=rf"[bB]{_FIRST}{_folded('earer')}" + r"\s{1,4}([A-Za-z0-9._~+/=\-]{16,2000})",
        literals=("bearer",),
        folded=True,
        accepts=random_with_digit,
        group=1,
    ),
    Rule(
        kind="azure_key",
        pattern=rf"[aAsS]{_FIRST}{_folded('(?:ccount|haredaccess)key')}"
        r"\s{0,2}=\s{0,2}([A-Za-z0-9+/]{32,100}={0,2})",
        literals=("accountkey", "sharedaccesskey"),
        folded=True,
        accepts=random_looking,
        group=1,
    ),
    Rule(
        kind="azure_signature",
        pattern=rf"s{_FIRST}ig=([A-Za-z0-9%+/]{{40,120}}={{0,2}})",
        literals=("sig=",),
        accepts=random_looking,
        group=1,
    ),
    Rule(
        kind="password",
        pattern=_PASSWORDS + rf"(?:{_ASSIGNED}|{_SAID}|(?<=[a-z])\s)"
        r"(?:\\\"([^\"\\\n]{4,120})\\\""
        r"|\"((?:[^\"\\\n]|\\[^\n]){4,120})\""
        r"|'((?:[^'\\\n]|\\[^\n]){4,120})'"
        r"|`([^`\n]{4,120})`)",
        literals=_PASSWORD_WORDS,
        folded=True,
        accepts=meant,
        group=-1,
    ),
    Rule(
        kind="password",
        pattern=_PASSWORDS + rf"(?:{_ASSIGNED}|{_SAID}){_QUOTE}"
        r"""([^\s"'`,;<>\\][^\s"'`;<>\\]{4,118}[^\s"'`,;<>\\.:)\]}])""",
        literals=_PASSWORD_WORDS,
        folded=True,
        accepts=password_like,
        group=1,
    ),
    Rule(
        kind="password",
        pattern=rf"[pP]{_FIRST}{_folded('ass(?:word|wort|phrase|code)')}\s{{1,3}}"
        r"""([^\s"'`,;<>\\][^\s"'`;<>\\]{6,118}[^\s"'`,;<>\\.:)\]}])""",
        literals=("pass",),
        folded=True,
        accepts=strong,
        group=1,
    ),
    Rule(
        kind="command_line_secret",
        pattern=r"""-(?<![A-Za-z0-9\-].)(?:u|-user)[ =]?["']?[^\s:"'`]{1,64}:([^\s"'`]{4,100})""",
        literals=("-u", "--user"),
        accepts=of_a_command,
        group=1,
    ),
    Rule(
        kind="command_line_secret",
        pattern=r"(?:mysql(?:dump|admin)?|mariadb|sshpass|redis-cli|(?:docker|podman|az) login)"
        r"""[^\n|;&]{0,60}? -[pa] ?["']?([^\s"'`;|&]{4,100})""",
        literals=("mysql", "mariadb", "sshpass", "redis-cli", " login"),
        accepts=of_a_command,
        group=1,
    ),
    Rule(
        kind="command_line_secret",
        pattern=r"--(?:[a-z0-9]{1,15}-){0,3}(?:password|passwd|pass|token|secret|key)[ =]"
        r"""["']?([^\s"'`;|<>\\]{6,200})""",
        literals=("--",),
        accepts=of_a_command,
        group=1,
    ),
    Rule(
        kind="session",
        pattern=_folded("s(?:ess(?:ion)?(?:[_-]?(?:id|token|key))?|id)") + r"=([A-Za-z0-9%._\-]{16,200})",
        literals=("sess", "sid="),
        folded=True,
        accepts=unpredictable,
        group=1,
    ),
    Rule(
        kind="api_key",
        pattern=_folded(r"(?:api|auth|access|client|secret)[_\-. ]?(?:key|token|secret)")
        + rf"(?:{_ASSIGNED}|{_SAID}){_QUOTE}({_UUID})",
        literals=("key", "token", "secret"),
        folded=True,
        accepts=random_looking,
        group=1,
    ),
    Rule(
        kind="api_key",
        pattern=_KEYS + rf"(?:{_ASSIGNED}|{_SAID}){_QUOTE}" + r"([A-Za-z0-9_\-./+~]{16,400}={0,2})",
        literals=_KEY_WORDS,
        folded=True,
        accepts=unpredictable,
        group=1,
    ),
    Rule(
        kind="api_key",
        pattern=_KEYS + rf"(?:{_ASSIGNED})" + r"""(?:"([^"\s\\]{10,120})"|'([^'\s\\]{10,120})'|`([^`\s\\]{10,120})`)""",
        literals=_KEY_WORDS,
        folded=True,
        accepts=odd,
        group=-1,
    ),
)

SECRET_RULES: tuple[Rule, ...] = (*_TOKENS, *_BY_NAME)
"""What `Secrets` looks for, the most specific first: where two rules find the same stretch, the first names it."""
