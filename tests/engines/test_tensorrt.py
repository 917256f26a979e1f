"""TensorRT-LLM without a GPU: the names that are used of it, our control flow on a stand-in, and its server's fields.

The real one runs on NVIDIA GPUs only, so nothing here proves that a model answers. The names were read in its source of
November 2025 (1.2.0rc2), see `tensorrt_llm_api.json`; 1.2.1 itself was not at hand.
"""

import ast
import copy
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Engine, _tensorrt_request
from llmops_sdk.engines._tensorrt_answer import unsure
from llmops_sdk.engines._tensorrt_request import sampling_params
from llmops_sdk.engines.tensorrt import TensorRT
from llmops_sdk.messages import Message, Request
from llmops_sdk.testing import FaultServer

HERE = Path(__file__).parent
API = json.loads((HERE / "tensorrt_llm_api.json").read_text())
CLASSES = API["classes"]
SOURCES = [
    Path(_tensorrt_request.__file__).with_name(name)
    for name in ("tensorrt.py", "_tensorrt_request.py", "_tensorrt_answer.py")
]
installed = importlib.util.find_spec("tensorrt_llm")


# The names of TensorRT-LLM that we use


def calls_of(source):
    """Method name -> the names of the arguments of its calls."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, {keyword.arg for keyword in node.keywords if keyword.arg}


def test_our_calls_use_parameters_that_the_source_has():
    known = {
        name: set(parameters)
        for one in CLASSES.values()
        for name, parameters in one.get("functions", {}).items()
        if name in {"generate_async", "get_stats_async", "get_kv_cache_events_async", "shutdown", "abort"}
    }
    seen = set()
    for source in SOURCES:
        for name, arguments in calls_of(source):
            if name in known:
                seen.add(name)
                assert arguments <= known[name], name
    assert seen == known.keys()


def test_our_module_takes_nothing_of_the_package_but_its_exports():
    taken = set()
    for node in ast.walk(ast.parse(SOURCES[1].read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "api":
            taken.add(node.attr)
    assert taken == set(API["exports"])


def recording(name, seen):
    def record(**values):
        assert values.keys() <= set(CLASSES[name]["members"]), name
        seen.setdefault(name, set()).update(values)
        return values

    return record


def test_every_parameter_that_extra_takes_is_one_of_sampling_params():
    seen = {}
    parts = SimpleNamespace(**{name: recording(name, seen) for name in ("SamplingParams", "GuidedDecodingParams")})
    sampling = dict.fromkeys(_tensorrt_request._SAMPLING, 1)
    for name in _tensorrt_request._STRUCTURES:
        sampling_params(parts, Request(messages=(Message.user("x"),), extra={**sampling, name: "x"}))
    asked = {"temperature": 1.0, "top_p": 0.5, "seed": 1, "stop": ("x",), "logprobs": 1, "max_tokens": 1}
    sampling_params(parts, Request(messages=(Message.user("x"),), response_schema={}, **asked))
    assert seen["SamplingParams"] == set(CLASSES["SamplingParams"]["members"])
    assert seen["GuidedDecodingParams"] == set(CLASSES["GuidedDecodingParams"]["members"])


def test_every_option_that_is_passed_on_is_an_argument_of_the_model():
    source = ast.parse(SOURCES[0].read_text())
    (named,) = [
        node.value
        for node in ast.walk(source)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "named"
    ]
    passed = {key.value for key in named.keys}
    assert len(passed) > 10
    assert passed | {"lora_config", "model"} == set(CLASSES["BaseLlmArgs"]["members"])


def differences(package, api):
    """What `api` says and the source in the folder `package` does not have."""
    missing = []
    for name, one in api["classes"].items():
        body = _class_body(package, name, one["file"])
        if body is None:
            missing.append(f"class {name}")
            continue
        functions = {node.name: node for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        fields = {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
        for node in body:  # attributes that are set when an object is made
            fields |= {
                inner.attr
                for inner in ast.walk(node)
                if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self"
            }
        missing += [f"{name}.{member}" for member in one.get("members", ()) if member not in fields | functions.keys()]
        for function, parameters in one.get("functions", {}).items():
            if function not in functions:
                missing.append(f"{name}.{function}()")
                continue
            arguments = functions[function].args
            has = {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
            missing += [f"{name}.{function}({parameter})" for parameter in parameters if parameter not in has]
    exports = (package / "llmapi/__init__.py").read_text()
    return missing + [f"llmapi.{name}" for name in api["exports"] if name not in exports]


def _class_body(package, name, file):
    places = [package / file, *(path for path in package.rglob("*.py") if f"class {name}" in path.read_text("utf-8"))]
    for path in places:
        if path.is_file():
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return node.body
    return None


@pytest.mark.skipif(installed is None, reason="TensorRT-LLM is not installed here: it needs an NVIDIA GPU and CUDA")
def test_the_installed_package_has_the_names():
    assert installed.origin is not None
    assert differences(Path(installed.origin).parent, API) == []


def write_package(folder, api):
    """Source with the names that `api` has."""
    for name, one in api["classes"].items():
        lines = [f"class {name}:", *(f"    {member}: int = 0" for member in one.get("members", ()))]
        for function, parameters in one.get("functions", {}).items():
            lines.append(f"    def {function}({', '.join(['self', *parameters])}): pass")
        file = folder / one["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as opened:
            opened.write("\n".join(lines) + "\n")
    (folder / "llmapi/__init__.py").write_text("\n".join(api["exports"]))


def test_the_comparison_with_an_installed_package_finds_what_is_missing(tmp_path):
    write_package(tmp_path / "whole", API)
    assert differences(tmp_path / "whole", API) == []
    less = copy.deepcopy(API)
    less["classes"]["SamplingParams"]["members"].remove("top_k")
    less["classes"]["BaseLLM"]["functions"]["generate_async"].remove("streaming")
    del less["classes"]["GenerationResult"]["functions"]["abort"]
    del less["classes"]["LoraConfig"]
    less["exports"].remove("LoRARequest")
    write_package(tmp_path / "less", less)
    assert differences(tmp_path / "less", API) == [
        "BaseLLM.generate_async(streaming)",
        "class LoraConfig",
        "SamplingParams.top_k",
        "GenerationResult.abort()",
        "llmapi.LoRARequest",
    ]


# Control flow, on a stand-in


@pytest.fixture
def stand_in(tmp_path):
    """A folder for the import path with a package of that name in it, and one for programs with an `nvidia-smi`."""
    package = tmp_path / "path" / "tensorrt_llm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(HERE / "tensorrt_stand_in.py", package / "llmapi.py")
    shutil.copy(HERE / "tensorrt_llm_api.json", package)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nvidia-smi").write_text("#!/bin/sh\n")
    (programs / "nvidia-smi").chmod(0o755)
    return package.parent, programs


def python(*arguments, path, programs=None):
    import_path = os.pathsep.join([str(path), str(Path(_tensorrt_request.__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": import_path}
    if programs is not None:
        environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.skipif(installed is not None, reason="the real TensorRT-LLM is installed, and would be shadowed")
@pytest.mark.timeout(120)
def test_the_engine_on_a_stand_in_which_proves_our_control_flow_only(stand_in):
    path, programs = stand_in
    tests = HERE / "tensorrt_on_stand_in.py"
    ran = python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), path=path, programs=programs)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout
    assert "failed" not in ran.stdout


# Opening


@pytest.mark.skipif(installed is not None, reason="TensorRT-LLM is installed")
def test_without_the_package_it_says_how_it_is_installed():
    with pytest.raises(errors.MissingDependencyError, match=r"pip3 install tensorrt_llm .*NVIDIA GPU.*Python 3\.12"):
        Engine.open("tensorrt:some/model")


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="there is an NVIDIA GPU")
@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is an NVIDIA driver")
def test_without_a_gpu_it_says_what_is_needed_and_imports_nothing(stand_in):
    code = """
import sys
from llmops_sdk import Engine
from llmops_sdk.errors import ConfigurationError
try:
    Engine.open("tensorrt:some/model")
except ConfigurationError as exc:
    assert "needs an NVIDIA GPU of compute capability 8.0" in str(exc), exc
else:
    raise AssertionError
assert "tensorrt_llm" not in sys.modules
"""
    ran = python("-c", code, path=stand_in[0])
    assert ran.returncode == 0, ran.stderr


def test_a_package_that_cannot_be_imported(tmp_path):
    (tmp_path / "tensorrt_llm").mkdir()
    (tmp_path / "tensorrt_llm" / "__init__.py").write_text("raise OSError('libcuda.so.1: cannot open shared object')")
    code = """
from llmops_sdk.engines.tensorrt import TensorRT
TensorRT("some/model", progress=False).generate("hello")
"""
    ran = python("-c", code, path=tmp_path)
    assert "ConfigurationError: TensorRT-LLM is installed but cannot be imported: OSError: libcuda" in ran.stderr


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("tensorrt:", {}, "needs a model"),
        ("tensorrt:a", {"model": "b"}, "names the model already"),
        ("tensorrt:a", {"api_key": "k"}, "takes no api_key"),
        ("tensorrt:a", {"max_seq_length": 5}, "did you mean 'max_seq_len'"),
        ("tensorrt:a", {"zzz": 5}, "no option 'zzz'; It takes"),
        ("tensorrt:a", {"max_seq_len": 0}, "max_seq_len has to be a whole number"),
        ("tensorrt:a", {"backend": "tensorrt"}, "trtllm-serve"),
        ("tensorrt:a", {"guided_decoding_backend": "outlines"}, "guided_decoding_backend"),
        ("tensorrt:a", {"llm_args": {"dtype": "auto"}}, "an option of its own"),
        ("tensorrt:a", {"llm_args": {"model": "b"}}, "cannot name the model"),
        ("tensorrt:a", {"llm_args": {"skip_tokenizer_init": True}}, "leaves no tokenizer"),
        ("tensorrt:a", {"chat_template": "./no/file"}, "neither Jinja text nor a file"),
    ],
)
def test_wrong_options(spec, options, words):
    with pytest.raises(errors.ConfigurationError, match=words):
        Engine.open(spec, **options)


def test_an_adapter_without_a_folder(tmp_path):
    with pytest.raises(errors.NotFoundError, match="'pirate' has no folder"):
        TensorRT("a", adapters={"pirate": tmp_path / "nowhere"})


def test_how_many_requests_are_worth_having_under_way():
    assert TensorRT("a", max_batch_size=100).concurrency == 125
    assert TensorRT("a").concurrency == 64


def test_which_end_of_a_text_may_become_a_stop_text():
    assert unsure("abab", ("ababc", "xx")) == 4
    assert unsure("abax", ("ababc", "xx")) == 1
    assert unsure("ab", ()) == 0


# `trtllm-serve`

SERVED = {
    "best_of": 2,
    "cache_salt": "tenant-7",
    "chat_template_kwargs": {"enable_thinking": False},
    "ignore_eos": True,
    "length_penalty": 1.0,
    "lora_request": {"lora_name": "support", "lora_int_id": 1, "lora_path": "/adapters/support"},
    "min_p": 0.05,
    "min_tokens": 3,
    "repetition_penalty": 1.1,
    "stop_token_ids": [7],
    "top_k": 20,
    "truncate_prompt_tokens": 100,
}


async def test_the_extensions_of_trtllm_serve_go_out_unchanged():
    assert SERVED.keys() <= set(API["serve"]["fields"])
    shape = {"type": "regex", "regex": "[0-9]+"}
    assert shape["type"] in API["serve"]["response_formats"]
    request = Request(messages=(Message.user("hello"),), max_tokens=5, extra={**SERVED, "response_format": shape})
    async with FaultServer("42") as server, Engine.open(server.url, model="llama") as engine:
        assert (await engine.agenerate(request)).text == "42"
        assert "".join([chunk.text async for chunk in engine.astream(request)]) == "42"
        for sent in (one.json for one in server.requests):
            assert {name: sent[name] for name in SERVED} == SERVED
            assert sent["response_format"] == shape
            openai = {"messages", "model", "max_tokens", "response_format", "stream", "stream_options"}
            assert sent.keys() <= openai | set(API["serve"]["fields"])  # it refuses all other fields
