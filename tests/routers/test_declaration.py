"""Routers in files: everything that is wrong is told with its line and what to write, and no key is ever shown."""

import inspect
import json
import pickle
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops_sdk import Router
from llmops_sdk.costs import Price
from llmops_sdk.errors import BadRequestError, ConfigurationError, RateLimitError
from llmops_sdk.messages import Usage
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Adaptive, Breaker, Hedge, Leg, Limit, Retries, RoundRobin
from llmops_sdk.routers._declaring.places import MAX_BYTES
from llmops_sdk.routers.declaration import EngineSpec, LimitStoreSpec, RetriesSpec, RouterSpec

ROOT = Path(__file__).parents[2]
KEY = "gh" + "p_" + "0123456789abcdefghijABCDEFGHIJ567890"
PLAIN = "one-for-tests"

GOOD = """\
name: support
strategy: {name: round_robin}
retries: 3
attempt_timeout_s: 20
on_stream_break: restart
engines:
  - open: openai:gpt-5-mini
    name: mini
    api_key_env: MY_KEY
    weight: 3
    tags: {region: [eu, us], tier: 1}
    options: {max_connections: 100, headers: {x-team: {env: MY_TEAM}}}
  - open: http://gpu-1:8000/v1
    model: my-model
    capabilities: {tools: true, context_window: 8192}
  - router:
      name: spare
      engines: [{open: "http://gpu-2:8000/v1", model: my-model}]
prices: {my-model: {input: "0.10", output: 0.4}}
"""


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    monkeypatch.setenv("MY_KEY", PLAIN)
    monkeypatch.setenv("MY_TEAM", "the-team-for-tests")


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "r.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        return path

    return write


def problems(path):
    """What is said of a file, without the folder."""
    with pytest.raises(ConfigurationError) as caught:
        Router.from_yaml(path)
    return str(caught.value).replace(str(path), "r.yaml")


# What a file says


def test_a_file_makes_the_router_that_it_says(written):
    router = Router.from_yaml(written(GOOD))

    assert (router.name, [leg.name for leg in router.legs]) == ("support", ["mini", "my-model@gpu-1:8000", "spare"])
    table = router._table
    assert isinstance(table.strategy, RoundRobin)
    assert (table.retries.times, table.attempt_timeout_s, table.on_stream_break) == (3, 20.0, "restart")
    mini, own, spare = router.legs
    assert (mini.weight, mini.tags) == (3.0, {"region": ["eu", "us"], "tier": 1})
    assert mini.engine._made_with[1]["api_key"] == PLAIN
    assert mini.engine._made_with[1]["headers"] == {"x-team": "the-team-for-tests"}
    assert own.capabilities == Capabilities(tools=True, context_window=8192)
    assert [engine.model for engine in spare.engine.engines] == ["my-model"]
    assert router._prices.price("my-model") == Price(input=Decimal("0.10"), output=Decimal("0.4"))
    assert router._prices.cost("gpt-5-mini", Usage(input_tokens=1)) is not None


def test_a_file_states_limits_and_where_they_are_counted(written, monkeypatch):
    redis = pytest.importorskip("llmops_sdk.routers.redis")
    monkeypatch.setenv("MY_REDIS", f"redis://:{PLAIN}@localhost:6379/1")
    router = Router.from_yaml(
        written(
            "engines:\n"
            "  - open: http://a/v1\n    model: m\n    name: a\n"
            '    limits: {requests_per_minute: 500, usd_per_day: "20.00"}\n'
            "  - {open: 'http://b/v1', model: m, name: b, limits: [{concurrent: 3}, {initial: 8, most: 64}]}\n"
            "limits: {usd_per_day: 100.5, per: router}\n"
            "limit_store: {redis_env: MY_REDIS, policy: fail_closed, share: 0.5}\n"
            "limit_wait_s: 5\n"
        )
    )
    assert router.legs[0].limits == (Limit(requests_per_minute=500, usd_per_day=Decimal(20)),)
    assert router.legs[1].limits == (Limit(concurrent=3), Adaptive(initial=8, most=64))
    assert router._table.gate is not None
    assert router._table.counted.wait_s == 5.0
    assert isinstance(router._table.counted.store, redis.RedisLimits)
    assert router._table.counted.store._policy == "fail_closed"
    assert not router.reload(pickle.loads(pickle.dumps(router))).anything
    options = set(inspect.signature(redis.RedisLimits).parameters) - {"url_or_client"}
    assert options == set(LimitStoreSpec.model_fields) - {"redis", "redis_env"}


def test_a_file_states_what_is_done_when_an_engine_fails(written):
    router = Router.from_yaml(
        written(
            "strategy: {name: cascade, escalate_on: [length], judge: {open: 'http://j/v1', model: m, name: judge}}\n"
            "retries: {times: 3, on: {RateLimitError: 5, BadRequestError: never}, first_s: 0.2, most_s: 20}\n"
            "breaker: {failures: 3, slow_factor: null}\n"
            "hedge: {quantile: 0.9, share: 0.05}\n"
            "fallbacks: {a: [b]}\n"
            "engines:\n"
            "  - {open: 'http://a/v1', model: m, name: a, breaker: {open_s: 1}}\n"
            "  - {open: 'http://b/v1', model: m, name: b}\n"
        )
    )
    table = router._table
    on = {RateLimitError: 5, BadRequestError: "never"}
    assert table.retries == Retries(times=3, on=on, first_s=0.2, most_s=20)
    assert [leg.breaker.policy for leg in router.legs] == [Breaker(open_s=1), Breaker(failures=3, slow_factor=None)]
    assert table.hedge == Hedge(quantile=0.9, share=0.05)
    assert table.fallbacks == {"a": (router.legs[1],)}
    assert [leg.name for leg in table.strategy.legs] == ["judge"]
    assert table.strategy._escalate_on == {"length"}


def test_the_example_is_a_router_and_stands_on_its_page_as_it_is(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", PLAIN)
    example, page = ROOT / "examples" / "router.yaml", ROOT / "docs" / "concepts" / "routers-in-files.md"
    router = Router.from_yaml(example)
    assert [leg.tags["region"] for leg in router.legs] == ["eu", "eu", ["eu", "us"]]
    assert yaml.safe_load(page.read_text().split("```yaml\n")[1].split("```")[0]) == yaml.safe_load(example.read_text())


def test_what_is_not_said_keeps_the_defaults_of_the_router(written):
    router = Router.from_yaml(written("engines: [{open: 'http://a/v1', model: m}]"))
    other = Router([Leg(router.engines[0])])
    for name in ("retries", "on_stream_break", "hedge", "attempt_timeout_s"):
        assert getattr(router._table, name) == getattr(other._table, name)
    assert type(router._table.strategy) is type(other._table.strategy)
    assert router._prices is other._prices


def test_a_subclass_of_router_is_made(written):
    class Own(Router):
        pass

    assert type(Own.from_yaml(written(GOOD))) is Own


@pytest.mark.parametrize(("kind", "spec"), [(Router, RouterSpec), (Leg, EngineSpec), (Retries, RetriesSpec)])
def test_every_option_can_be_declared_and_means_what_it_means_in_python(kind, spec):
    options = {
        name for name, one in inspect.signature(kind).parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert options <= set(spec.model_fields), "give the spec a field for the new option"


def test_anchors_and_merge_keys_are_followed(written):
    router = Router.from_yaml(
        written(
            "x-all: &all {model: m, weight: 2, tags: &tags {a: b}}\n"
            "x-more: &more {weight: 5, options: {max_connections: 3}}\n"
            "engines:\n"
            "  - {<<: [*all, *more], open: 'http://a/v1', name: one}\n"
            "  - {<<: *all, open: 'http://b/v1', name: two, weight: 4, tags: *tags}\n"
        )
    )
    assert [(leg.weight, leg.tags) for leg in router.legs] == [(2.0, {"a": "b"}), (4.0, {"a": "b"})]


def test_data_from_elsewhere_makes_the_same_router():
    data = yaml.safe_load(GOOD)
    data["prices"]["my-model"]["output"] = Decimal("0.4")
    spec = RouterSpec.model_validate(data)
    assert repr(spec.router()) == "<Router 'support' of 'mini', 'my-model@gpu-1:8000', 'spare'>"
    assert RouterSpec.model_validate(spec) is spec
    assert RouterSpec.model_validate(json.loads(spec.model_dump_json(exclude_unset=True))).engines == spec.engines


def test_a_schema_tells_editors_what_may_stand_there():
    schema = RouterSpec.model_json_schema()["$defs"]
    strategies = schema["RouterSpec"]["properties"]["strategy"]["anyOf"]
    assert "round_robin" in next(one["enum"] for one in strategies if "enum" in one)
    assert schema["EngineSpec"]["properties"]["weight"]["exclusiveMinimum"] == 0
    assert "environment variable" in schema["EngineSpec"]["properties"]["api_key_env"]["description"]
    assert schema["RouterSpec"]["additionalProperties"] is False


def test_only_declarations_load_pydantic_and_yaml():
    code = "import sys; from llmops_sdk import Router, Scripted; Router([Scripted('a')]); print({*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'llmops_sdk.routers._router'" in loaded
    assert "'pydantic'" not in loaded
    assert "'yaml'" not in loaded


# What is wrong


WRONG = [
    ("enignes: 1", ["r.yaml:1:1: `enignes`: is not known here; did you mean 'engines'?", "`engines` is missing"]),
    ("engines: []", ["r.yaml:1:10: `engines`: has to hold at least 1, not 0"]),
    ("engines: 3", ["r.yaml:1:10: `engines`: has to be a list, not 3"]),
    ("engines:\n  - a", ["r.yaml:2:5: `engines[0]`: has to be a mapping: write `open: 'a'`"]),
    ("", ["r.yaml:1:1: has to be a mapping, not nothing"]),
    (GOOD.replace("weight: 3", "weight: -3"), ["r.yaml:10:13: `engines[0].weight`: has to be greater than 0, not"]),
    (GOOD.replace("weight: 3", "weight: .nan"), ["r.yaml:10:13: `engines[0].weight`: has to be a finite number"]),
    (GOOD.replace("weight: 3", "weight: '3'"), ["r.yaml:10:13: `engines[0].weight`: has to be a number, not '3'"]),
    (GOOD.replace("weight: 3", "wieght: 3"), ["r.yaml:10:5: `engines[0].wieght`:", "did you mean 'weight'?"]),
    (
        GOOD.replace("retries: 3", "retries: 2.5"),
        ["r.yaml:3:10: `retries`: has to be a whole number or a mapping, not 2.5"],
    ),
    (
        GOOD.replace("retries: 3", "retries: yes"),
        ["r.yaml:3:10: `retries`: has to be a whole number or a mapping, not true"],
    ),
    (GOOD.replace("support", "no"), ["r.yaml:1:7: `name`: has to be text, not false; write it in quotes"]),
    (GOOD.replace("restart", "restrat"), ["r.yaml:5:18: `on_stream_break`:", "did you mean 'restart'?"]),
    (GOOD.replace("round_robin", "round_robbin"), ["r.yaml:2:11: `strategy`:", "did you mean 'round_robin'?"]),
    (GOOD.replace("round_robin", "round_robin, seed: 3"), ["r.yaml:2:31: `strategy.seed`: is not known here"]),
    (
        GOOD.replace("{name: round_robin}", "[3]"),
        ["r.yaml:2:11: `strategy`: has to be 'cascade', 'cost',", "or a mapping, not a list"],
    ),
    (GOOD.replace("tools: true", "toolz: true"), ["r.yaml:15:20: `engines[1].capabilities.toolz`:", "'tools'?"]),
    (GOOD.replace("[eu, us]", "{}"), ["r.yaml:11:20: `engines[0].tags.region`: has to be text or a number or"]),
    (GOOD.replace("0.4}", "-0.4}"), ["r.yaml:19:44: `prices.my-model.output`: `output` has to be a number >= 0"]),
    (GOOD.replace("0.4}", "x}"), ["r.yaml:19:44: `prices.my-model.output`: has to be an amount such as"]),
    (GOOD.replace(", output: 0.4", ""), ["r.yaml:19:20: `prices.my-model`: `output` is missing"]),
    (
        GOOD + "hedge: p90",
        ["r.yaml:20:8: `hedge`: has to be a mapping or 'p95' or a number, not 'p90'", "mean 'p95'"],
    ),
    (GOOD + "hedge: {aftr_s: 1}", ["r.yaml:20:9: `hedge.aftr_s`: is not known here; did you mean 'after_s'?"]),
    (
        GOOD + "hedge: {quantile: 95}",
        ["r.yaml:20:19: `hedge.quantile`: `quantile` of a hedge is between 0 and 1, 0.95"],
    ),
    (GOOD + "hedge: {share: 5%}", ["r.yaml:20:16: `hedge.share`: has to be a number, not '5%'"]),
    (GOOD + "breaker: off", ["r.yaml:20:10: `breaker`: has to be a mapping, not false"]),
    (GOOD + "breaker: {failure: 3}", ["r.yaml:20:11: `breaker.failure`: is not known here; did you mean 'failures'?"]),
    (GOOD + "breaker: {failures: 0}", ["r.yaml:20:21: `breaker.failures`: `failures` of a breaker is a whole number"]),
    (GOOD + "breaker: {open_s: 100}", ["r.yaml:20:19: `breaker.open_s`: `most_open_s` of a breaker is at least its"]),
    (GOOD.replace("weight: 3", "breaker: {window_s: -1}"), ["r.yaml:10:25: `engines[0].breaker.window_s`: `window_s`"]),
    (GOOD.replace("retries: 3", "retries: -1"), ["r.yaml:3:10: `retries`: has to be greater than or equal to 0"]),
    (GOOD.replace("retries: 3", "retries: {time: 3}"), ["r.yaml:3:11: `retries.time`:", "did you mean 'times'?"]),
    (GOOD.replace("retries: 3", "retries: {times: -1}"), ["r.yaml:3:18: `retries.times`: has to be greater than or"]),
    (GOOD.replace("retries: 3", "retries: {first_s: 5, most_s: 1}"), ["r.yaml:3:20: `retries.first_s`: `first_s` and"]),
    (
        GOOD.replace("retries: 3", "retries:\n  on:\n    RateLimitErorr: 5"),
        ["r.yaml:5:21: `retries.on.RateLimitErorr`: no error is called 'RateLimitErorr'; did you mean"],
    ),
    (
        GOOD.replace("retries: 3", "retries: {on: {ServerError: sometimes}}"),
        ["r.yaml:3:29: `retries.on.ServerError`: has to be a whole number or 'never', not 'sometimes'"],
    ),
    (GOOD + "fallbacks: {mini: [spar]}", ["r.yaml:20:20: `fallbacks.mini[0]`: `fallbacks` names 'spar'", "'spare'?"]),
    (GOOD + "fallbacks: {min: [spare]}", ["r.yaml:20:18: `fallbacks.min`: `fallbacks` names 'min'", "mean 'mini'?"]),
    (
        GOOD + "fallbacks:\n  mini: [spare]\n  spare:\n    - mini",
        ["r.yaml:23:7: `fallbacks.spare[0]`: `fallbacks` go in a circle: 'mini' -> 'spare' -> 'mini'"],
    ),
    (
        GOOD.replace("name: round_robin", "name: cascade, judge: {open: 'opnai:x'}"),
        ["r.yaml:2:41: `strategy.judge.open`: no engine opens 'opnai:x'", "'openai:'?"],
    ),
    (
        GOOD.replace("name: round_robin", "name: cascade, judge: 'openai:x'"),
        ["r.yaml:2:34: `strategy.judge`: has to be a mapping: write `open: 'openai:x'`"],
    ),
    (
        GOOD.replace("name: round_robin", "name: cascade, judge: {open: 'http://a/v1', limits: {concurrent: 0}}"),
        ["r.yaml:2:77: `strategy.judge.limits.concurrent`: `concurrent` is a whole number"],
    ),
    (
        GOOD.replace("name: round_robin", "name: cascade, escalate_on: [lenght]"),
        ["r.yaml:2:41: `strategy.escalate_on[0]`: `escalate_on` holds some of stop, length,"],
    ),
    (
        GOOD.replace("weight: 3", "max_connections: 3"),
        ["r.yaml:10:5: `engines[0].max_connections`:", "under `options`"],
    ),
    (
        "engines: {a: {open: x}}",
        ["r.yaml:1:10: `engines`: has to be a list, not a mapping; begin each entry with `- `"],
    ),
    (GOOD + "limits: 3", ["r.yaml:20:9: `limits`: has to be a mapping or a list, not 3"]),
    (GOOD + "limits: [{concurent: 3}]", ["r.yaml:20:11: `limits[0].concurent`: is not", "mean 'concurrent'?"]),
    (GOOD + "limits: {concurrent: '3'}", ["r.yaml:20:22: `limits.concurrent`: has to be a"]),
    (GOOD + "fallbacks: {mini: spare}", ["r.yaml:20:19: `fallbacks.mini`: has to be a list, not 'spare'"]),
    (GOOD + "limits: {concurrent: 0}", ["r.yaml:20:22: `limits.concurrent`: `concurrent` is a whole number of 1 or"]),
    (GOOD + "limits: {usd_per_day: x}", ["r.yaml:20:23: `limits.usd_per_day`: "]),
    (GOOD + "limits: {concurrent: 1, per: enigne}", ["r.yaml:20:30: `limits.per`: `per` is 'engine', 'key',"]),
    (GOOD + "limits: {initial: 3}", ["r.yaml:20:1", "`limits"]),
    (GOOD + "limit_store: {policy: fail_open}", ["r.yaml:20:14: `limit_store`: write one of `redis:"]),
    (GOOD + "limit_store: {redis_env: NO_SUCH}", ["r.yaml:20:26: `limit_store.redis_env`:", "`NO_SUCH` is not set"]),
    (
        GOOD + "limit_store: {redis: 'redis://a', policy: fail}",
        ["r.yaml:20:43: `limit_store.policy`: has to be 'fail_op"],
    ),
    # What only shows when the router is made
    (
        GOOD.replace("openai:g", "opnai:g"),
        ["r.yaml:7:11: `engines[0].open`: no engine opens 'opnai:", "'openai:'?"],
    ),
    (
        GOOD.replace("max_connections", "max_conections"),
        ["r.yaml:12:31: `engines[0].options.max_conections`:", "does not take"],
    ),
    (GOOD.replace("name: spare", "name: mini"), ["r.yaml:", "two engines of the router are called 'mini'"]),
    (
        GOOD.replace("http://gpu-2:", "http://gpu-2:x"),
        ["r.yaml:18:", "`engines[2].router.engines[0].open`:", "port"],
    ),
    (GOOD.replace("    model: my-model\n", ""), ["r.yaml:13:11: `engines[1].open`: which model?"]),
    (
        GOOD.replace("MY_KEY", "NO_SUCH"),
        ["r.yaml:9:18: `engines[0].api_key_env`:", "variable `NO_SUCH` is not set"],
    ),
    (GOOD.replace("MY_TEAM", "NO_TEAM"), ["r.yaml:12:61: `engines[0].options.headers.x-team.env`:", "`NO_TEAM`"]),
    (GOOD.replace("open: http:", "opens: http:"), ["r.yaml:13:5: `engines[1].opens`: is not known"]),
    (
        GOOD.replace("- router:", "- name: x\n    router:"),
        ["r.yaml:16:11: `engines[2].name`: `name` belongs to an engine"],
    ),
    ("engines: [{}]", ["r.yaml:1:11: `engines[0]", "write one of `open: scheme:model` and `router:"]),
    ("engines: [{open: 'vllm:x'}, {open: 'nonsense'}]", ["r.yaml:1:36: `engines[1].open`: no engine opens"]),
    # YAML
    ("a: [1, 2", ["r.yaml:1:9: this is not YAML: while parsing a flow sequence"]),
    ("a: b: c", ["r.yaml:1:5: this is not YAML"]),
    ("a: 1\n---\nb: 2", ["r.yaml:2:1: this is not YAML: expected a single document"]),
    ("a: *b", ["r.yaml:1:4: this is not YAML: found undefined alias 'b'"]),
    ("a: 1\na: 2", ["r.yaml:2:1: `a` stands here twice, the first time on line 1"]),
    ("a: !!python/object/apply:os.system [x]", ["r.yaml:1:4: the tag 'tag:yaml.org,2002:python/object/apply:os.s"]),
    ("a: !own x", ["r.yaml:1:4: the tag '!own' is not known"]),
    ("a: !!int x", ["r.yaml:1:4: this is no int"]),
    ("a: !!bool x", ["r.yaml:1:4: this is no bool"]),
    ("a: " + "9" * 5000, ["r.yaml:1:4: this is no int"]),
    ("? [a]\n: b", ["r.yaml:1:3: keys are plain names"]),
    ("<<: 3", ["r.yaml:1:5: `<<` takes a mapping"]),
    ("a: &a [*a]", ["r.yaml:1:4: this alias stands inside of what it stands for"]),
    ("&a\n<<: *a", ["r.yaml:1:1: this alias stands inside of what it stands for"]),
    ('a: "\\ud800"', ["r.yaml:1:4: half of a character"]),
    (b"a: 1\nb: \xff", ["r.yaml:2:4: the byte 0xff is not UTF-8"]),
    ("a: 1\nb: \x07", ["r.yaml:2:4: the character '\\x07' is not allowed"]),
    ("[" * 100, ["r.yaml:1:101: this is not YAML"]),
    ("[" * 1000, ["r.yaml:1:1: this is nested too deeply"]),
    ("[" * 100 + "]" * 100, ["r.yaml:1:42: this is nested too deeply"]),
    ("a: " + "x" * MAX_BYTES, ["r.yaml:1:1: the file has more than the 250,000 bytes"]),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_told_with_its_line_and_what_to_write(written, text, said):
    message = problems(written(text))
    for part in said:
        assert part in message


def test_a_few_aliases_that_stand_for_millions_are_refused_in_no_time(written):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "the file stands for more than 50,000 values" in problems(written("\n".join(lines)))
    lines = ["a: &a {k: v}"]
    lines += [f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "the file stands for more than 50,000 values" in problems(written("\n".join(lines)))


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_file(written):
    text = GOOD.replace("retries: 3", "retries: x").replace("weight: 3", "weight: x").replace("0.4", "x")
    told = problems(written(text)).splitlines()
    assert [line.split("`")[1] for line in told] == ["retries", "engines[0].weight", "prices.my-model.output"]
    text = GOOD.replace("MY_KEY", "NO_SUCH").replace("gpu-1:8000", "gpu-1:x").replace("gpu-2:8000", "gpu-2:x")
    assert len(problems(written(text)).splitlines()) == 3


def test_of_very_many_problems_the_first_are_told(written):
    told = problems(written("engines:\n" + "  - {}\n" * 500)).splitlines()
    assert len(told) == 21
    assert told[-1] == "... and 480 more"


def test_without_a_file_the_same_is_told_without_lines():
    with pytest.raises(ConfigurationError) as caught:
        RouterSpec.model_validate({"engines": [{"open": "x", "weight": "3", "opne": 1}], "retries": -1})
    first, *others = str(caught.value).splitlines()
    assert first.startswith("`engines[0].opne`: is not known here; did you mean 'open'? (there are api_key_env, ")
    assert others == [
        "`engines[0].weight`: has to be a number, not '3'",
        "`retries`: has to be greater than or equal to 0, not -1",
    ]
    with pytest.raises(ConfigurationError, match="declared by plain data"):
        RouterSpec.model_validate({"engines": [{"open": object()}]})
    with pytest.raises(ConfigurationError, match="finite number"):
        RouterSpec.model_validate({"engines": [{"open": "x", "weight": float("inf")}]})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.yaml' cannot be read: No such file"):
        Router.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Router.from_yaml(str(tmp_path))


# Keys


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD.replace("api_key_env: MY_KEY", f"api_key: {PLAIN}"),
        GOOD.replace("MY_KEY", KEY),
        GOOD.replace("MY_KEY", "sk" + "-" + PLAIN),
        GOOD.replace("{env: MY_TEAM}", KEY),
        GOOD.replace("x-team: {env: MY_TEAM}", f"authorization: {PLAIN}"),
        GOOD.replace("x-team: {env: MY_TEAM}", f"x-api-key: {PLAIN}"),
        GOOD.replace("http://gpu-1:8000", f"http://me:{KEY}@gpu-1:8000"),
        GOOD.replace("retries: 3", f"retries: {KEY}"),
        GOOD + f"limit_store: {{redis: 'redis://:{KEY}@localhost:6379'}}",
        GOOD.replace("name: support", f"name: [{KEY}]"),
        GOOD.replace("my-model:", f"'{KEY}':").replace("0.4", KEY),
    ],
)
def test_a_key_in_a_file_is_refused_and_not_shown(written, wrong):
    path = written(wrong)
    with pytest.raises(ConfigurationError) as caught:
        Router.from_yaml(path)
    error = caught.value
    while error is not None:
        assert KEY not in str(error)
        assert PLAIN not in str(error)
        error = error.__cause__


def test_the_value_of_a_variable_is_shown_nowhere(written, monkeypatch, caplog):
    spec = RouterSpec.from_yaml(written(GOOD))
    router = spec.router()
    for shown in (repr(spec), spec.model_dump_json(), repr(router), repr(router.legs), repr(router.engines)):
        assert PLAIN not in shown
    monkeypatch.setenv("MY_TEAM", "line\nbreak-" + PLAIN)
    with pytest.raises(ConfigurationError, match="x-team") as caught:
        spec.router()
    assert PLAIN not in str(caught.value)
    said = problems(written("engines: [{open: 'openai:a', options: {base_url: {env: MY_KEY}}}]"))
    assert said.startswith("r.yaml:1:18: `engines[0].open`: '[scrubbed]' is no URL of an endpoint")


def test_what_may_be_a_key_in_the_place_of_a_variables_name_is_not_shown(written):
    said = problems(written(GOOD.replace("MY_KEY", "abcdef0123456789abcdef")))
    assert said == "r.yaml:9:18: `engines[0].api_key_env`: the environment variable that is named here is not set"


def test_a_declaration_travels_without_keys(written):
    spec = pickle.loads(pickle.dumps(RouterSpec.from_yaml(written(GOOD))))
    assert PLAIN.encode() not in pickle.dumps(spec)
    assert repr(spec.router()) == "<Router 'support' of 'mini', 'my-model@gpu-1:8000', 'spare'>"


# Whatever is in the file


def made_or_refused(path):
    """A router, or an error that names the file, a line and a column; never anything else."""
    try:
        Router.from_yaml(path)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            where = line.removeprefix(f"{path}:")
            assert line.startswith("... and ") or where != line, line
            assert line.startswith("... and ") or where.split(":")[0].isdigit(), line


_PIECES = [
    "",
    " ",
    "\n",
    "  ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "&a ",
    "*a",
    "<<: *a",
    "!!",
    "|",
    ".nan",
    "-1",
]
_PIECES += [
    "null",
    "~",
    "true",
    "1e400",
    "0x",
    "engines",
    "router",
    "open",
    "\t",
    "#",
    "%",
    "@",
    "---\n",
    "?",
    "1:2",
    "=",
    "\u2028",
]


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), st.sampled_from(_PIECES)), max_size=4))
@example([(GOOD.index("open"), 4, "router")])
def test_a_file_with_any_mistake_makes_a_router_or_an_error_with_a_line(tmp_path_factory, edits):
    text = GOOD
    for at, drop, put in edits:
        text = text[:at] + put + text[at + drop :]
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_text(text)
    made_or_refused(path)


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
_NAMES = st.sampled_from([*RouterSpec.model_fields, *EngineSpec.model_fields, "env", "after_s", "input"]) | st.text(
    max_size=3
)
_DATA = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=12
)


@settings(max_examples=50)
@given(st.dictionaries(_NAMES, _DATA, max_size=5), st.dictionaries(_NAMES, _DATA, max_size=5))
def test_any_data_makes_a_router_or_an_error_with_a_line(tmp_path_factory, data, engine):
    path = tmp_path_factory.getbasetemp() / "drawn.yaml"
    given = {"engines": [{"open": "http://a/v1", "model": "m", **engine}], **data}
    path.write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
    made_or_refused(path)


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.text(st.sampled_from(":-[]{}&*!|>'\"%@`,?#ab \n<=.~"), max_size=40).map(str.encode))
def test_any_bytes_make_an_error_with_a_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"bytes\.yaml:\d+:\d+: "):
        Router.from_yaml(path)
