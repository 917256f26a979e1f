"""Routers in files: `RouterSpec` is what a file may say, and makes the router. Reads with pydantic and PyYAML."""

from __future__ import annotations

import functools
import inspect
import operator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, from_json, to_json

from llmops_sdk import errors
from llmops_sdk.costs import Price
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers._asking.retries import Retries
from llmops_sdk.routers._declaring.making import made
from llmops_sdk.routers._declaring.places import MAX_BYTES, read_yaml
from llmops_sdk.routers._declaring.problems import Problems, did_you_mean
from llmops_sdk.routers._declaring.secrecy import refuse_keys
from llmops_sdk.routers._declaring.wording import tell
from llmops_sdk.routers._hedging.hedge import Hedge
from llmops_sdk.routers._legs.breaker import Breaker
from llmops_sdk.routers._limits import Adaptive, Limit
from llmops_sdk.routers._router import Router
from llmops_sdk.routers._strategies import STRATEGIES
from llmops_sdk.routers._table import OnStreamBreak

__all__ = ["EngineSpec", "LimitStoreSpec", "RetriesSpec", "RouterSpec"]

_R = TypeVar("_R", bound=Router)
_ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.EngineError | errors.AllEnginesFailed)
}
"""What an engine may raise, by name."""
_Count = Annotated[int, Field(ge=0)]
_Scalar = str | int | float | bool


class _Declared(BaseModel):
    # Strict, as JSON is: no text counts as a number. The records within (`Limit`, `Hedge`) are read by the same rules.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


def _environment_name(name: str) -> str:
    if not name.isascii() or not name.isidentifier() or len(name) > 128:
        raise ValueError(
            "the name of an environment variable has to stand here, such as OPENAI_API_KEY, and never a key"
        )
    return name


_EnvironmentName = Annotated[str, AfterValidator(_environment_name)]


class EngineSpec(_Declared):
    """An engine of a router: what `Engine.open` and `Leg` take; or another router."""

    open: str | None = None
    """Scheme and model, or the URL of an endpoint; see `Engine.open`."""
    router: RouterSpec | None = None
    """A router, in place of `open`."""
    name: str | None = None
    """Name of the engine; unique in its router."""
    model: str | None = None
    """The model to ask for, where `open` does not name it."""
    api_key_env: _EnvironmentName | None = None
    """Name of the environment variable that holds the key; never the key itself."""
    options: dict[str, JsonValue] = {}
    """What the kind of engine takes besides. `{env: NAME}` stands for the value of an environment variable."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Its share of the requests beside the others' weights, over 0."""
    tags: dict[str, _Scalar | list[_Scalar]] = {}
    """What it is for: it takes no run whose tag of the same name has another value."""
    limits: Limit | Adaptive | tuple[Limit | Adaptive, ...] = ()
    """How much it may be asked: one limit, or several; see `Limit` and `Adaptive`."""
    capabilities: Capabilities | None = None
    """What it can do, in place of what it says of itself."""
    breaker: Breaker | None = None
    """When it is taken out, in place of what its router says; see `Breaker`."""

    @model_validator(mode="after")
    def _opens_one_thing(self) -> Self:
        if (self.open is None) == (self.router is None):
            raise ValueError("write one of `open: scheme:model` and `router: {engines: [...]}`")
        own = sorted(self.model_fields_set & {"name", "model", "api_key_env", "options"})
        if self.router is not None and own:
            raise ValueError(
                f"`{own[0]}` belongs to an engine that is opened; a router has its `name` inside of `router`"
            )
        return self


_STANDS_FOR: Any = {"escalate_on": tuple[str, ...], "judge": EngineSpec | None}
_model: Any = create_model  # its types know no fields that are not written down


def _is_data(hint: Any) -> bool:
    try:
        TypeAdapter(hint).json_schema()
    except PydanticUserError:
        return False
    return True


def _strategy_spec(name: str, kind: type[Any]) -> type[BaseModel]:
    """What a file may say of a strategy: the arguments of its constructor that are data, or that data can stand for."""
    hints = get_type_hints(kind.__init__)
    options = {
        option.name: (
            _STANDS_FOR.get(option.name, hints[option.name]),
            ... if option.default is option.empty else option.default,
        )
        for option in inspect.signature(kind).parameters.values()
        if option.name in hints and (option.name in _STANDS_FOR or _is_data(hints[option.name]))
    }
    made: type[BaseModel] = _model(
        kind.__name__, __base__=_Declared, __doc__=kind.__doc__, name=(Literal[name], ...), **options
    )
    return made


def _as_written(strategy: str | BaseModel) -> dict[str, Any]:
    if isinstance(strategy, str):
        return {"name": strategy}
    return {name: getattr(strategy, name) for name in type(strategy).model_fields if name in strategy.model_fields_set}


if TYPE_CHECKING:
    _Strategy: TypeAlias = dict[str, Any]
else:
    _any = functools.reduce(operator.or_, [_strategy_spec(name, kind) for name, kind in STRATEGIES.items()])
    _Strategy = Annotated[
        Literal[tuple(STRATEGIES)] | Annotated[_any, Field(discriminator="name")],
        AfterValidator(_as_written),
        PlainSerializer(dict),
    ]


class RetriesSpec(_Declared):
    """Which errors are asked again, and where: `Retries`, with the names of errors in place of their classes."""

    times: _Count = 2
    """How many attempts may follow the first one, if there are fewer engines than attempts."""
    on: dict[str, _Count | Literal["never"]] = {}
    """Name of an error -> the same number for it; 0: only other engines are asked; `never`: it is raised at once."""
    first_s: float = 0.1
    """Most seconds of the first wait, over 0."""
    most_s: float = 10.0
    """Most seconds of any wait."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self.retries()
        return self

    def retries(self) -> Retries:
        """The same with classes.

        Raises:
            ConfigurationError: An error is not known, or a number makes no sense.
        """
        for name in self.on:
            if name not in _ERRORS:
                raise ConfigurationError(
                    f"no error is called {name!r}{did_you_mean(name, _ERRORS)} (there are {', '.join(sorted(_ERRORS))})"
                )
        given = {name: getattr(self, name) for name in self.model_fields_set - {"on"}}
        return Retries(on={_ERRORS[name]: rule for name, rule in self.on.items()}, **given)


class LimitStoreSpec(_Declared):
    """Where limits are counted for many processes together; see `llmops_sdk.routers.redis.RedisLimits`."""

    redis: str | None = None
    """URL of Redis or Valkey, `redis://host:6379/0`; without a password, which only a variable may hold."""
    redis_env: _EnvironmentName | None = None
    """Name of the environment variable that holds the URL, in place of `redis`."""
    prefix: str = "llmops"
    """What is counted together has the same."""
    policy: Literal["fail_open", "fail_closed"] = "fail_open"
    """What to do while it cannot be reached."""
    share: float | None = None
    """This process's share of each limit then, over 0 and at most 1."""
    lease_s: float = 10.0
    """Seconds after which a silent process counts as dead."""
    timeout_s: float = 0.05
    """Longest wait for it, in seconds."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.redis is None) == (self.redis_env is None):
            raise ValueError("write one of `redis: redis://host:6379` and `redis_env: NAME`")
        return self


class RouterSpec(_Declared):
    """A router as data: what a file may say, and what `RouterSpec.model_validate` takes from anywhere else.

    The fields mean what the arguments of `Router`, `Leg` and `Engine.open` of the same name mean. Keys are named by
    environment variables, which are read when the router is made; no declaration holds one.

    Example:
        >>> spec = RouterSpec.model_validate(
        ...     {"engines": [{"open": "http://gpu-1:8000/v1", "model": "small", "name": "one"}], "strategy": "priority"}
        ... )
        >>> spec.router()
        <Router 'router' of 'one'>
        >>> RouterSpec.model_validate({"strategy": "least_busi", "engines": []})
        Traceback (most recent call last):
        llmops_sdk.errors.ConfigurationError: `engines`: ...
        `strategy`: has to be 'cascade', ..., not 'least_busi'; did you mean 'least_busy'?
    """

    engines: Annotated[tuple[EngineSpec, ...], Field(min_length=1)]
    """The engines, with different names."""
    name: str = "router"
    """Name of the router in the record."""
    strategy: _Strategy | None = None
    """Name of the strategy, or a mapping of its `name` and options."""
    retries: _Count | RetriesSpec = 2
    """How many attempts may follow the first one, if there are fewer engines than attempts; or a mapping."""
    attempt_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds for one attempt (in a stream: to its first chunk), besides the deadline."""
    first_chunk_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """In a stream: seconds to its first chunk, in place of `attempt_timeout_s`."""
    chunk_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """In a stream: seconds from one chunk to the next."""
    on_stream_break: OnStreamBreak = "resume"
    """What to do when a stream breaks in the middle."""
    hedge: Hedge | Literal["p95"] | float | None = None
    """Ask a second engine beside a slow one: `p95`, after a number of seconds, or a mapping; see `Hedge`."""
    breaker: Breaker | None = None
    """When an engine is taken out for a while, and when it is tried again; see `Breaker`."""
    fallbacks: dict[str, list[str]] = {}
    """Engine -> engines to go to when it fails, in that order, before any other."""
    limits: Limit | tuple[Limit, ...] = ()
    """How much may be asked of the router, or through it of its engines: one limit, or several."""
    limit_store: LimitStoreSpec | None = None
    """Where limits are counted: in this process, unless given."""
    limit_wait_s: Annotated[float, Field(ge=0)] = 120.0
    """Longest wait for room, in seconds."""
    prices: dict[str, Price] = {}
    """Prices of models that the built-in table does not have, or has otherwise; in US dollars per million tokens."""

    _problems: Problems = PrivateAttr(default_factory=Problems)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__  # wherever the two may stand

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def from_yaml(cls, path: str | PathLike[str], /) -> Self:
        """Read a file. What stands at its top under names that begin with `x-` is passed over.

        Raises:
            ConfigurationError: It cannot be read, or something in it is wrong: all of it is listed, each with file,
                line and column, and what to write.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as exc:
            raise ConfigurationError(f"the file {str(path)!r} cannot be read: {exc.strerror or exc}") from exc
        problems = Problems(str(path))
        given = read_yaml(data, problems)
        if isinstance(given, dict):  # a place for anchors, as in the files of Docker Compose
            given = {name: value for name, value in given.items() if not name.startswith("x-")}
        return cls._of(given, problems)

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """Check data that came from anywhere: plain values, as in JSON; `Decimal`s and the like are welcome.

        Raises:
            ConfigurationError: Something is wrong; all of it is listed, with what to write.
        """
        return obj if isinstance(obj, cls) else cls._of(obj, Problems())

    @classmethod
    def _of(cls, given: Any, problems: Problems) -> Self:
        try:
            text = to_json(given, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError, RecursionError) as exc:
            raise ConfigurationError(f"a router is declared by plain data: {exc}") from exc
        data = from_json(text)
        refuse_keys(data, problems)
        spec = None
        try:
            spec = cls.model_validate_json(text)
        except ValidationError as exc:
            tell(problems, exc.errors(include_url=False, include_input=False), data, _schema())
        problems.check()
        assert spec is not None
        spec._problems = problems
        return spec

    def router(self) -> Router:
        """Make the router. Nothing is started or connected before its first request.

        Raises:
            ConfigurationError: A variable of the environment is missing, an engine cannot be opened, or they do not go
                together.
        """
        return self.router_of(Router)

    def router_of(self, kind: type[_R], /) -> _R:
        """The same, for a subclass of `Router`."""
        problems = self._problems.again()
        router = made(self, kind, problems, ())
        problems.check()
        assert router is not None
        return router


@functools.cache
def _schema() -> dict[str, Any]:
    return RouterSpec.model_json_schema()


RouterSpec.model_rebuild()
