"""What `MaliciousCode` looks for: patterns for any language, and names for Python."""

# ruff: noqa: E501  (a pattern is one line)

from __future__ import annotations

import re

from llmops_sdk.guards._patterns.guard import Rule

__all__ = ["CODE_KINDS", "CODE_RULES", "DECODERS", "FETCHERS", "RUNNERS", "SECRET_PLACES", "SENDERS", "UNPICKLERS"]

_I = int(re.IGNORECASE | re.ASCII)
_SPACE = r"[ \t]{1,8}"
_GAP = r"[ \t]{0,8}"
_SHELL = r"(?:ba|z|k|da|fi)?sh|python[23]?|perl|ruby|node|php"


def _tautology(match: re.Match[str]) -> bool:
    """Both sides of the comparison are the same."""
    sides = re.search(r"(?:or|and|\|\|)\s+['\"(]*(\w+)['\")]*\s*(?:=|like)\s*['\"(]*(\w+)", match[0], re.IGNORECASE)
    return sides is not None and sides[1].lower() == sides[2].lower()


def _no_badge(match: re.Match[str]) -> bool:
    return "shields.io/" not in match[0]


CODE_RULES: tuple[Rule, ...] = (
    # Shell.
    Rule(
        kind="shell_download",
        pattern=rf"\b(?:curl|wget|fetch){_SPACE}[^\n|;]{{1,200}}+\|{_GAP}(?:sudo{_SPACE})?(?:/bin/|/usr/bin/(?:env )?)?(?:{_SHELL})\b",
        literals=("curl", "wget", "fetch"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="shell_download",
        pattern=rf"\b(?:(?:ba|z|k|da)?sh|eval|source|\.){_SPACE}(?:-c{_SPACE})?[\"']?(?:<\(|\$\(|`){_GAP}(?:curl|wget)\b",
        literals=("curl", "wget"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="shell_decode",
        pattern=rf"\bbase64{_SPACE}(?:-d|-D|--decode)[^\n|;]{{0,100}}\|{_GAP}(?:sudo{_SPACE})?(?:{_SHELL})\b",
        literals=("base64",),
    ),
    Rule(
        kind="shell_destroy",
        pattern=rf"\brm{_SPACE}(?:-{{1,2}}[a-zA-Z\-]{{1,20}}{_SPACE}){{1,4}}[\"']?(?:/(?:\*|[ \t\n;&|\"'`]|\Z|(?:bin|boot|dev|etc|home|lib|root|sbin|usr|var)\b(?:/?\*|/?[ \t\n;&|\"'`]|/?\Z))|~/?(?:\*|[ \t\n;&|\"'`]|\Z)|\$HOME/?(?:\*|[ \t\n;&|\"'`]|\Z))",
        literals=("rm ", "rm\t"),
    ),
    Rule(
        kind="shell_destroy",
        pattern=r":\(\)[ \t]{0,4}\{[ \t]{0,4}:[ \t]{0,4}\|[ \t]{0,4}:[ \t]{0,4}&",
        literals=(":()",),
    ),
    Rule(
        kind="shell_destroy",
        pattern=r"\b(?:mkfs(?:\.[a-z0-9]{2,8})?[ \t]{1,4}[^\n]{0,60}/dev/[a-z]|dd[ \t]{1,4}[^\n]{0,80}of=/dev/(?:sd|nvme|hd|vd|mmcblk)|>[ \t]{0,4}/dev/(?:sd|nvme|hd)[a-z0-9])",
        literals=("mkfs", "of=/dev/", "/dev/sd", "/dev/nvme", "/dev/hd"),
    ),
    Rule(
        kind="reverse_shell", pattern=r"/dev/(?:tcp|udp)/[^\s/]{1,100}/[0-9$]{1,6}", literals=("/dev/tcp/", "/dev/udp/")
    ),
    Rule(
        kind="reverse_shell",
        pattern=rf"\b(?:nc|ncat|netcat)(?:\.traditional|\.exe)?{_SPACE}[^\n]{{0,100}}(?:-[a-z]{{0,4}}e|-[a-z]{{0,4}}c|--exec){_SPACE}[\"']?(?:/bin/|/usr/bin/)?(?:(?:ba|z|k|da)?sh|cmd(?:\.exe)?|powershell)\b",
        literals=("nc ", "ncat", "netcat", "nc."),
    ),
    Rule(
        kind="reverse_shell",
        pattern=r"\bmkfifo[ \t]{1,4}[^\n]{1,200}\|[ \t]{0,4}(?:nc|ncat|netcat|openssl|telnet)\b",
        literals=("mkfifo",),
    ),
    Rule(
        kind="reverse_shell", pattern=r"\bsocat[ \t]{1,4}[^\n]{0,200}exec:", literals=("socat",), folded=True, flags=_I
    ),
    Rule(
        kind="powershell",
        pattern=rf"\b(?:powershell|pwsh)(?:\.exe)?{_SPACE}[^\n]{{0,200}}-e(?:nc?|nco|ncodedcommand)?{_SPACE}[A-Za-z0-9+/=]{{16}}",
        literals=("powershell", "pwsh"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="powershell",
        pattern=r"\b(?:iex|invoke-expression)\b[^\n]{0,120}(?:downloadstring|invoke-webrequest|iwr|irm|invoke-restmethod|frombase64string)\b",
        literals=("iex", "invoke-expression"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="powershell",
        pattern=r"(?:downloadstring|\b(?:iwr|irm)\b|invoke-webrequest)[^\n|]{0,200}\|[ \t]{0,4}(?:iex|invoke-expression)\b",
        literals=("downloadstring", "iwr", "irm", "invoke-webrequest"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="persistence",
        pattern=r"(?:\(?crontab[ \t]{1,4}-l[^\n]{0,300}\|[ \t]{0,4}crontab[ \t]{1,4}-|>>?[ \t]{0,4}(?:/etc/cron|/var/spool/cron|/etc/systemd/system/|~/\.config/systemd/|/etc/rc\.local|/etc/ld\.so\.preload)|>>[ \t]{0,4}[\"']?(?:~|\$HOME|/root)/\.ssh/authorized_keys)",
        literals=("crontab", "/cron", "systemd", "rc.local", "ld.so.preload", "authorized_keys"),
    ),
    Rule(
        kind="persistence",
        pattern=r"\breg[ \t]{1,4}add[ \t]{1,4}[^\n]{0,100}\\currentversion\\run",
        literals=("currentversion\\run",),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="permissions",
        pattern=rf"\bchmod{_SPACE}(?:-[a-zA-Z]{{1,4}}{_SPACE}){{0,3}}(?:0?777|a\+rwx|[ugo]{{0,3}}\+s|[2467][0-7]{{3}}){_SPACE}[\"']?(?:/[ \t\n;&|]|/\Z|/(?:bin|etc|usr|var|tmp|root)\b|\*)",
        literals=("chmod",),
    ),
    Rule(
        kind="shell_exfiltration",
        pattern=r"\b(?:curl|wget|nc)\b[^\n]{0,200}(?:@|<[ \t]{0,2}|\$\(cat[ \t]{1,4})[^\n\s]{0,60}(?:\.ssh/id_|\.aws/credentials|/etc/shadow|/etc/passwd|\.netrc|\.kube/config)",
        literals=(".ssh/id_", ".aws/cred", "/etc/shadow", "/etc/passwd", ".netrc", ".kube/config"),
    ),
    # SQL.
    Rule(
        kind="sql_injection",
        pattern=r"['\")][ \t]{0,4}(?:or|and|\|\|)[ \t]{1,4}['\"(]{0,2}([0-9a-z_]{1,20})['\")]{0,2}[ \t]{0,4}(?:=|like)[ \t]{0,4}['\"(]{0,2}[0-9a-z_]{1,20}[ \t]{0,4}(?:['\")]|--|#|/\*|;|\Z|\n)",
        literals=(" or ", " and ", "'or", "||"),
        folded=True,
        flags=_I,
        accepts=_tautology,
    ),
    Rule(
        kind="sql_injection",
        pattern=r"['\"0-9)][ \t]{0,4}(?:union(?:[ \t]{1,4}|/\*[^*\n]{0,20}\*/)(?:all[ \t]{1,4})?select)\b[^\n;]{0,200}(?:--|#|\bfrom[ \t]{1,4}(?:information_schema|mysql\.|pg_|sqlite_master|users?\b))",
        literals=("union",),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="sql_injection",
        pattern=r"['\"][ \t)]{0,6};[ \t]{0,4}(?:drop|delete|update|insert|alter|exec|shutdown|truncate)\b[^\n]{0,200}(?:--|#|/\*)",
        literals=("drop", "delete", "update", "insert", "alter", "exec", "shutdown", "truncate"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="sql_injection",
        pattern=r"\b(?:sleep\([0-9]{1,4}\)|benchmark\([0-9]{3,9},|pg_sleep\([0-9]{1,4}\)|waitfor[ \t]{1,4}delay[ \t]{1,4}['\"]|xp_cmdshell\b|into[ \t]{1,4}(?:out|dump)file[ \t]{1,4}['\"]|load_file\(['\"])",
        literals=("benchmark(", "pg_sleep(", "waitfor", "xp_cmdshell", "outfile", "dumpfile", "load_file("),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="sql_destroy",
        pattern=r"\b(?:drop[ \t]{1,4}(?:database|schema)[ \t]{1,4}[a-z_`\"\[]|drop[ \t]{1,4}table[ \t]{1,4}(?:if[ \t]{1,4}exists[ \t]{1,4})?[a-z_`\"\[]|truncate[ \t]{1,4}table[ \t]{1,4}[a-z_`\"\[])",
        literals=("drop", "truncate"),
        folded=True,
        flags=_I,
        score=0.7,
    ),
    Rule(
        kind="sql_destroy",
        pattern=r"\bdelete[ \t]{1,4}from[ \t]{1,4}[a-z_.`\"\[\]]{1,80}[ \t]{0,4};",
        literals=("delete",),
        folded=True,
        flags=_I,
        score=0.7,
    ),
    # Web.
    Rule(
        kind="xss",
        pattern=r"<script\b[^<>\n]{0,300}>[^<]{0,500}(?:document\.cookie|localstorage|sessionstorage|eval\(|atob\(|alert\(|prompt\(|fetch\([ \t]{0,4}['\"`]https?:|new image\b|string\.fromcharcode|\.location[ \t]{0,4}=)",
        literals=("<script",),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="xss",
        pattern=r"<script\b[^<>\n]{0,100}\bsrc[ \t]{0,2}=[ \t]{0,2}[\"']?data:",
        literals=("<script",),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="xss",
        pattern=r"<[a-z][a-z0-9]{0,20}\b[^<>\n]{0,300}[ \t/\"'\n]on(?:error|load|mouseover|focus|toggle|begin|start|pointer[a-z]{2,8}|animation[a-z]{3,10})[ \t\n]{0,4}=[ \t\n]{0,4}[\"']?[^<>\n]{0,100}(?:alert|prompt|confirm|eval|fetch|document|location|atob|import|window|self|top|javascript|xmlhttprequest|function)\b",
        literals=(
            "onerror",
            "onload",
            "onmouseover",
            "onfocus",
            "ontoggle",
            "onbegin",
            "onstart",
            "onpointer",
            "onanimation",
        ),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="xss",
        pattern=r"(?:href|src|action|formaction|data|xlink:href)[ \t]{0,4}=[ \t]{0,4}[\"']?[ \t\n]{0,4}(?:javascript|vbscript)[ \t]{0,2}:[^v;\"' ]",
        literals=("javascript", "vbscript"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="xss",
        pattern=r"\]\([ \t]{0,4}<?(?:javascript|vbscript):",
        literals=("](javascript", "](vbscript", "]( javascript", "](<javascript"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="template_injection",
        pattern=r"(?:\{\{|\$\{|#\{|<%=?|\{%)[^\n{}]{0,200}(?:__class__|__mro__|__subclasses__|__globals__|__builtins__|__import__|getruntime\(|processbuilder|\.exec\(|os\.popen|system\()",
        literals=(
            "__class__",
            "__mro__",
            "__subclasses__",
            "__globals__",
            "__builtins__",
            "__import__",
            "getruntime",
            "processbuilder",
            ".exec(",
            "os.popen",
            "system(",
        ),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="template_injection",
        pattern=r"(?:\{\{|\$\{|#\{)[ \t]{0,4}[0-9]{1,6}[ \t]{0,2}\*[ \t]{0,2}'?[0-9]{1,6}'?[ \t]{0,4}\}",
        literals=("{",),
    ),
    Rule(
        kind="template_injection",
        pattern=r"\$\{(?:jndi|\$\{(?:lower|upper|::-)[^\n{}]{0,40}\}){1,8}[^\n{}]{0,20}:(?:ldap|rmi|dns|iiop|http)",
        literals=("${",),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="path_traversal",
        pattern=r"(?:(?:\.\.|%2e%2e|\.%2e|%2e\.)(?:/|\\|%2f|%5c|%252f)){2,12}(?:etc|proc|root|boot|windows|winnt|win\.ini|var/log|\.ssh|\.env)",
        literals=("../", "..\\", "..%", "%2e"),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="image_exfiltration",
        pattern=r"!\[[^\[\]\n]{0,200}\]\([ \t]{0,4}<?https?://[^\s()<>?]{1,300}\?[^\s()<>=]{0,60}=(?:[^\s()<>]{16,1500}|\{[^\s()<>]{1,100}\}|\$[^\s()<>]{1,100}|<[^\n()<>]{1,100}>|\[[^\n()<>]{1,100}\])",
        literals=("![",),
        flags=_I,
        accepts=_no_badge,
    ),
    Rule(
        kind="image_exfiltration",
        pattern=r"<img\b[^<>\n]{0,200}\bsrc[ \t]{0,2}=[ \t]{0,2}[\"']?https?://[^\s\"'>?]{1,300}\?[^\s\"'>=]{0,60}=(?:[^\s\"'>]{24,1500}|\{\{|\$\{)",
        literals=("<img",),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="link_exfiltration",
        pattern=r"\[[^\[\]\n]{0,200}\]\([ \t]{0,4}<?https?://[^\s()<>?]{1,300}\?[^\s()<>=]{0,60}=(?:[A-Za-z0-9+/_\-%]{80,1500}|\{\{|\$\{)",
        literals=("](http",),
        folded=True,
        flags=_I,
    ),
    # Python on one line, where `ast` sees none of it.
    Rule(
        kind="code_of_data",
        pattern=r"\b(?:exec|eval)[ \t]{0,2}\([ \t]{0,4}(?:compile\([ \t]{0,2})?(?:__import__\([\"'][a-z0-9]{1,20}[\"']\)\.|[a-z0-9_.]{0,20})(?:b64decode|b32decode|b16decode|fromhex|unhexlify|decompress|a85decode|urlopen)\(",
        literals=("exec", "eval"),
        flags=_I,
    ),
    Rule(
        kind="code_of_data",
        pattern=r"\b(?:eval|exec|execscript|function)\([ \t]{0,4}(?:atob|unescape|decodeuricomponent|string\.fromcharcode|gzinflate|base64_decode|str_rot13)\(",
        literals=(
            "atob(",
            "unescape(",
            "decodeuricomponent(",
            "fromcharcode(",
            "gzinflate(",
            "base64_decode(",
            "str_rot13(",
        ),
        folded=True,
        flags=_I,
    ),
    Rule(
        kind="code_execution",
        pattern=r"__import__\([ \t]{0,2}[\"'](?:os|subprocess|pty|socket)[\"'][ \t]{0,2}\)\.(?:system|popen|call|run|check_output|spawn|exec[a-z]{0,3}|socket)\b",
        literals=("__import__",),
    ),
    Rule(
        kind="code_execution",
        pattern=r"\b(?:system|shell_exec|passthru|exec|eval|assert)[ \t]{0,2}\([ \t]{0,2}(?:base64_decode\(|\$_(?:GET|POST|REQUEST|COOKIE)\b)",
        literals=("$_GET", "$_POST", "$_REQUEST", "$_COOKIE", "base64_decode"),
        flags=_I,
    ),
)
"""What is found in any text; in a stream with no more delay than a pattern needs."""


RUNNERS: frozenset[str] = frozenset(
    {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn", "commands.getoutput"}
)
"""Python: they run what they are given in a shell."""

DECODERS: frozenset[str] = frozenset(
    {
        "base64.b64decode",
        "base64.b32decode",
        "base64.b16decode",
        "base64.b85decode",
        "base64.a85decode",
        "base64.urlsafe_b64decode",
        "codecs.decode",
        "bytes.fromhex",
        "binascii.unhexlify",
        "binascii.a2b_base64",
        "zlib.decompress",
        "gzip.decompress",
        "bz2.decompress",
        "lzma.decompress",
        "marshal.loads",
    }
)
"""Python: what they give is not to be read in the code."""

FETCHERS: frozenset[str] = frozenset(
    {
        "requests.get",
        "requests.post",
        "requests.request",
        "urllib.request.urlopen",
        "urlopen",
        "httpx.get",
        "httpx.post",
        "urllib2.urlopen",
        "socket.recv",
        "aiohttp.request",
    }
)
"""Python: what they give comes from the network."""

SENDERS: frozenset[str] = frozenset(
    {
        "requests.post",
        "requests.put",
        "requests.get",
        "requests.request",
        "urllib.request.urlopen",
        "httpx.post",
        "httpx.put",
        "httpx.get",
        "urllib.request.Request",
        "http.client.HTTPSConnection",
        "http.client.HTTPConnection",
        "smtplib.SMTP",
        "ftplib.FTP",
        "socket.socket",
        "socket.create_connection",
    }
)
"""Python: they send something out."""

UNPICKLERS: frozenset[str] = frozenset(
    {
        "pickle.loads",
        "pickle.load",
        "marshal.loads",
        "dill.loads",
        "cloudpickle.loads",
        "yaml.unsafe_load",
        "joblib.load",
    }
)
"""Python: they run code that is in the data."""

SECRET_PLACES: tuple[str, ...] = (
    ".ssh/id_",
    ".ssh/",
    ".aws/credentials",
    "/etc/shadow",
    ".netrc",
    ".kube/config",
    ".git-credentials",
    "Login Data",
    ".gnupg",
    "wallet.dat",
)
"""Python: parts of paths at which secrets are kept."""

CODE_KINDS: frozenset[str] = frozenset(
    {rule.kind for rule in CODE_RULES}
    | {"code_execution", "code_of_data", "reverse_shell", "shellcode", "exfiltration", "unpickling"}
)
"""All kinds that `MaliciousCode` knows."""
