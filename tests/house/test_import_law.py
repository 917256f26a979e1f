"""What import-linter does not say: which modules may import a third-party library at all, and where."""

import ast
import sys
from pathlib import PurePath

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def imports_of(tree):
    """(node, top-level name of the imported module) of all imports that run when the module is loaded or used."""
    checked_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in checked_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node, node.module.partition(".")[0]


def sources(files):
    paths = {PurePath(name): text for name, text in files.items()}
    return {path: ast.parse(text) for path, text in paths.items() if path.parts[0] == "src" and path.suffix == ".py"}


def test_only_public_modules_of_a_room_import_third_party_libraries_when_they_are_loaded(files):
    free = {*sys.stdlib_module_names, "llmops_sdk"}
    for path, tree in sources(files).items():
        inside = path.parts[3:]  # of a room; below a public name that is a package, everything belongs to that name
        owns_library = inside and not inside[0].startswith("_")
        late = {id(inner) for node in ast.walk(tree) if isinstance(node, FUNCTIONS) for inner in ast.walk(node)}
        for node, name in imports_of(tree):
            assert name in free or owns_library or id(node) in late, f"{path}:{node.lineno} imports {name}"


def test_the_own_package_is_never_imported_inside_a_function(files):
    for path, tree in sources(files).items():
        top = {id(node) for node in tree.body}
        for node, name in imports_of(tree):
            if name == "llmops_sdk" and path.name != "stations.py":
                assert id(node) in top, f"{path}:{node.lineno}"


def test_no_module_is_a_drawer(files):
    drawers = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "misc", "types"}
    for path in sources(files):
        assert path.stem.strip("_") not in drawers, path
        assert path.parent.name not in drawers, path


def test_environment_variables_are_read_in_one_place(files):
    for path, tree in sources(files).items():
        # `_vllm_start` reads nothing for the SDK: it sets what vLLM wants while vLLM starts, and puts it back.
        if path.name in {"environment.py", "_vllm_start.py"}:
            continue
        for node in ast.walk(tree):
            reads = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            assert not reads, f"{path}:{node.lineno} reads the environment: add a function to environment.py"
