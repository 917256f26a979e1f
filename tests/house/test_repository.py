import os
import posixpath
import re
import runpy
import sys
import tomllib
import types
from pathlib import PurePosixPath

import pytest

REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "download." + "pytorch.org")
PLACES = tuple(f"/{folder}/" for folder in ("ro" + "ot", "ho" + "me", "wo" + "rk", "op" + "t", "Us" + "ers"))
SECRETS = re.compile(
    r"""gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | sk-[A-Za-z0-9_-]{20,} | (?:AKIA|ASIA)[0-9A-Z]{16}
    | xox[abprs]-[A-Za-z0-9-]{10,} | AIza[0-9A-Za-z_-]{30,} | hf_[A-Za-z]{20,} | glpat-[A-Za-z0-9_-]{15,}
    | eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,} | -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY""",
    re.VERBOSE,
)


def lines(files):
    return ((name, number, line) for name, text in files.items() for number, line in enumerate(text.splitlines(), 1))


def test_no_file_names_a_package_registry_or_a_place_on_one_machine(files):
    named = [
        f"{name}:{number}: {word}"
        for name, number, line in lines(files)
        for word in (*REGISTRIES, *PLACES)
        if re.search(rf"(?<![\w.-]){re.escape(word)}", line)
    ]
    assert named == []


def test_no_file_holds_what_looks_like_a_secret(files):
    found = [f"{name}:{number}" for name, number, line in lines(files) if SECRETS.search(line)]
    assert found == []


def test_the_search_for_secrets_finds_one():
    assert SECRETS.search("key = " + "gh" + "p_" + "a1" * 18)


def test_the_changelog_begins_with_the_version_of_the_project(files):
    version = re.search(r'^version = "(.+)"$', files["pyproject.toml"], re.MULTILINE)[1]
    newest = re.search(r"^## (\S+)", files["CHANGELOG.md"], re.MULTILINE)[1]
    assert newest == version


def test_ci_runs_the_test_command_of_the_readme(files):
    commands = re.findall(r"^(pip install nox && nox.*)$", files["README.md"], re.MULTILINE)
    assert commands[0] == "pip install nox && nox -s demo"
    assert commands[1] == "pip install nox && nox"
    assert re.search(r"^pip install nox .*&& nox$", files[".ci/run"], re.MULTILINE)


def test_the_readme_names_every_session(files):
    named = set(re.findall(r"nox -s (\w+)", files["README.md"]))
    defined = set(re.findall(r"^@nox\.session\ndef (\w+)", files["noxfile.py"], re.MULTILINE))
    assert named == defined >= {"demo", "tests", "tests_backends"}


def test_a_session_runs_a_command_shows_it_and_fails_with_it(root, monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    stub = types.SimpleNamespace(session=lambda function: function, options=types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "nox", stub)  # nox itself is not in the environment of the tests
    run = runpy.run_path(str(root / "noxfile.py"))["run"]
    session = types.SimpleNamespace(error=pytest.fail)
    assert run(session, sys.executable, "-c", "print('first'); print('hide me'); print('last')", hide="hide") == "last"
    assert capsys.readouterr().out == "first\nlast\n"
    with pytest.raises(pytest.fail.Exception, match="ended with 3"):
        run(session, sys.executable, "-c", "raise SystemExit(3)")


def test_the_page_on_installing_names_every_extra(files):
    extras = tomllib.loads(files["pyproject.toml"])["project"]["optional-dependencies"]
    table = re.findall(r"^\| (`.+`) \|", files["docs/installing.md"], re.MULTILINE)
    assert sorted(name for row in table for name in re.findall(r"`([\w-]+)`", row)) == sorted(extras)


def test_every_link_of_the_pages_leads_somewhere(files, root):
    def anchors(text):
        heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}

    folders = {folder for name in files for folder in PurePosixPath(name).parents}
    dead = []
    for page, text in files.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text) if page.endswith(".md") else ():
            place, _, anchor = link.partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(page), place)) if place else page
            known = target in files or PurePosixPath(target) in folders or (root / target).is_file()
            if ":" not in link and not (known and (not anchor or anchor in anchors(files[target]))):
                dead.append(f"{page}: {link}")
    assert dead == []
