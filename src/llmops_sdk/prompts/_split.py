"""A rollout: several versions of a prompt, each for a share of the callers, who keep the version that they got."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.messages import PromptRef, Request
from llmops_sdk.prompts._outputs import Output
from llmops_sdk.prompts._variables import Variable, did_you_mean
from llmops_sdk.stations import Station

if TYPE_CHECKING:
    from llmops_sdk.prompts._prompt import Prompt
    from llmops_sdk.prompts.repository import PromptRepository

__all__ = ["Arm", "Split", "arms_of"]

_BITS = 53
"""Bits of a hash that a float holds."""
_ROUNDING = 1e-9


class Arm(NamedTuple):
    """One version in a split.

    Attributes:
        name: Its name in the split, and in traces.
        share: Which part of all keys gets it, `0 <= share <= 1`.
        spec: What is read from the repository at each render, so that a label which has moved counts at once; `None`
            for a prompt that was given as an object.
        prompt: The prompt that was given as an object.
    """

    name: str
    share: float
    spec: str | None
    prompt: Prompt | None


class Split(Station):
    r"""Several versions of a prompt, each for a share of the keys; it stands where a prompt does. See `Prompt.split`.

    Which arm a key gets depends on the key, the salt, and the names and shares of the arms; on nothing else, so it is
    the same in every process and every version of this library. For each arm, the first 53 bits of
    BLAKE2b(`"<salt>\0<arm>\0<key>"` as UTF-8, 8 bytes, big-endian), plus a half, over 2**53 are a number `u` between 0
    and 1; the arm with the largest `share / -ln(u)` is taken (weighted rendezvous hashing,
    https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf).
    A key leaves an arm only for one whose share has grown against its own: who is in an arm that alone grows stays
    there, whatever the order of the arms.

    Attributes:
        name: The common name of its prompts, else their names with `|` between.
        key: The variable, or the tag of the run, by which callers are told apart.
        salt: Text that makes this split independent of others.
        arms: The arms.
        variables: Names of the variables of all arms, and the key.
        ref: Its name, and the hash of all that it renders from.

    Example:
        >>> from llmops_sdk import Prompt
        >>> short, long = Prompt.from_string("Hi {{ name }}"), Prompt.from_string("Hello, dear {{ name }}")
        >>> split = Prompt.split([(short, 0.5, "short"), (long, 0.5, "long")], key="customer_id")
        >>> split.arm_of("customer-7") == split.arm_of("customer-7")
        True
    """

    def __init__(
        self,
        arms: Iterable[Arm],
        /,
        *,
        key: str,
        salt: str | None = None,
        repository: PromptRepository | None = None,
    ) -> None:
        """Read all arms once.

        Raises:
            ConfigurationError: The shares or names make no sense.
            PromptError: An arm cannot be read, or two take the same variable as different types.
        """
        self.arms = tuple(arms)
        self._repository = repository
        _check(self.arms, key)
        self.key = key
        prompts = {arm.name: self._first(arm) for arm in self.arms}
        self.name = "|".join(dict.fromkeys(prompt.name for prompt in prompts.values()))
        self.salt = self.name if salt is None else salt
        self._declared = _joined(prompts, self.name)
        self._needed = tuple(name for name, one in self._declared.items() if not one.optional)
        self._weights = tuple((arm, f"{self.salt}\0{arm.name}\0".encode()) for arm in self.arms if arm.share > 0)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables of all arms, and the key."""
        return tuple(dict.fromkeys((*self._declared, self.key)))

    @property
    def hash(self) -> str:
        """SHA-256 of what it renders from: shares, key, salt, and the hashes of all arms as they are now."""
        arms = [[arm.name, arm.share, self._prompt(arm).hash] for arm in self.arms]
        text = json.dumps([self.key, self.salt, sorted(arms)], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def ref(self) -> PromptRef:
        """What stands for all of it; requests carry that of their arm."""
        return PromptRef(name=self.name, hash=self.hash)

    @property
    def output(self) -> Any:
        """That of the arms, where it is the same for all; `None` otherwise."""
        first, *others = [self._prompt(arm).output for arm in self.arms]
        return first if all(one == first for one in others) else None

    def output_for(self, ref: PromptRef | None, /) -> Output | None:
        """What the answer to a request of the arm in `ref` has to be."""
        arm = next((one for one in self.arms if ref is not None and one.name == ref.arm), None)
        return None if arm is None else self._prompt(arm).output_for(ref)

    def pinned(self) -> Split:
        """The same split of its prompts as they are now, wherever their labels point later."""
        arms = [arm._replace(spec=None, prompt=self._prompt(arm)) for arm in self.arms]
        return Split(arms, key=self.key, salt=self.salt)

    def arm_of(self, key: object, /) -> str:
        """The name of the arm that a value of the key gets.

        Raises:
            PromptError: It is no text, whole number or UUID, or it is empty.
        """
        return self._arm_of(key).name

    def render(self, /, **variables: object) -> Request:
        """The request of the arm for these variables, which tell the key. See `render_from`."""
        return self.render_from(variables)

    def render_from(self, variables: Mapping[str, object], tags: Mapping[str, object] | None = None, /) -> Request:
        """The request of the arm that the key gets.

        Args:
            variables: Those of all arms: each arm takes what it has.
            tags: Those of the run; they tell the key where the variables do not.

        Raises:
            PromptError: The key is missing or makes no sense, a variable is missing for one of the arms (whichever is
                taken), unknown to all of them, or of the wrong type.
        """
        found = variables.get(self.key, tags.get(self.key) if tags else None)
        if found is None:
            raise PromptError(
                f"the split {self.name!r} needs {self.key!r}, by which it tells callers apart: give it with the "
                f"variables, or as a tag of the run, `tags={{{self.key!r}: ...}}`",
                prompt=self.name,
                variable=self.key,
            )
        arm = self._arm_of(found)
        prompt = self._prompt(arm)
        own = prompt.content.variables
        strange = [name for name in variables if name not in own and name not in self._declared and name != self.key]
        missing = [name for name in self._needed if name not in variables]
        if strange or missing:
            self._refuse(strange, missing)
        request = prompt.render_from({name: value for name, value in variables.items() if name in own})
        ref = replace(prompt.ref, arm=arm.name, split=self.name)
        return replace(request, prompt=ref)

    def _refuse(self, strange: list[str], missing: list[str]) -> None:
        """Raise, unless an arm has moved since the split was made and these are right by now.

        A variable that any arm needs is asked for always, so that it fails for everybody at once and is seen, and not
        for the callers of one arm.
        """
        now = _joined({arm.name: self._prompt(arm) for arm in self.arms}, self.name)
        for name in strange:
            if name not in now:
                hint = did_you_mean(str(name), (*now, self.key))
                problem = f"no arm of the split {self.name!r} has the variable {name!r}.{hint}"
                raise PromptError(problem, prompt=self.name, variable=str(name))
        for name in missing:
            if name in now and not now[name].optional:
                problem = f"the split {self.name!r} misses the variable {name!r}, which one of its arms needs"
                raise PromptError(problem, prompt=self.name, variable=name)

    def _first(self, arm: Arm) -> Prompt:
        try:
            return self._prompt(arm)
        except PromptError as exc:
            if arm.spec is not None and "@" not in arm.spec:
                exc.add_note("For versions of one prompt name it: `Prompt.split({...}, of='folder/name', key=...)`.")
            raise

    def _prompt(self, arm: Arm) -> Prompt:
        if arm.prompt is not None:
            return arm.prompt
        assert arm.spec is not None
        return _repository(self._repository).get(arm.spec)

    def _arm_of(self, value: object) -> Arm:
        key = _text_of(value, self.name, self.key).encode("utf-8", "surrogatepass")
        taken, most = self._weights[0][0], -1.0
        for arm, prefix in self._weights:
            drawn = int.from_bytes(hashlib.blake2b(prefix + key, digest_size=8).digest(), "big") >> (64 - _BITS)
            weight = arm.share / -math.log((drawn + 0.5) / 2**_BITS)
            if weight > most:
                taken, most = arm, weight
        return taken

    def __repr__(self) -> str:
        arms = ", ".join(f"{arm.name} {arm.share:g}" for arm in self.arms)
        return f"<Split {self.name} by {self.key}: {arms}>"


def arms_of(given: Mapping[Any, Any] | Iterable[Any], of: str | None) -> list[Arm]:
    """The arms that a mapping of specs to shares declares, or a list of `(prompt or spec, share)` with a name or not.

    Args:
        given: What was given.
        of: Name of the prompt of which the specs are versions; `None`: the specs are whole.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(given, Mapping):
        return [_arm(spec, share, None, of) for spec, share in given.items()]
    arms = []
    for one in [given] if isinstance(given, str) or not isinstance(given, Iterable) else given:
        if not isinstance(one, tuple) or len(one) not in (2, 3):
            raise ConfigurationError(
                "the arms of a split are a mapping, `{'prod': 0.9, 'candidate': 0.1}`, or a list of pairs "
                f"`(prompt, share)`, with a name behind if you like; not {one!r}"
            )
        arms.append(_arm(one[0], one[1], one[2] if len(one) == 3 else None, of))
    return arms


def _arm(what: Any, share: Any, name: Any, of: str | None) -> Arm:
    if name is not None and (not isinstance(name, str) or not name or "\0" in name):
        raise ConfigurationError(f"the name of an arm is a text, not {name!r}")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ConfigurationError(f"the share of an arm is a number from 0 to 1, not {share!r}")
    if isinstance(what, str) and what:
        spec = what if of is None else f"{of}@{what.removeprefix('@')}"
        return Arm(name or what.removeprefix("@"), float(share), spec, None)
    if not hasattr(what, "content"):  # another split, or a prompt with a budget
        raise ConfigurationError(f"an arm of a split is a prompt (a `Prompt`), or the name of one, not {what!r}")
    return Arm(name or what.version or what.name, float(share), None, what)


def _check(arms: tuple[Arm, ...], key: str) -> None:
    if not isinstance(key, str) or not key:
        raise ConfigurationError(f"`key` is the name of a variable or a tag, such as 'customer_id', not {key!r}")
    names = [arm.name for arm in arms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(
            f"two arms of the split have the name {twice!r}: give them names, as in `[(prompt, 0.9, 'a'), ...]`"
        )
    total = math.fsum(arm.share for arm in arms)
    if abs(total - 1) > _ROUNDING:
        shares = {arm.name: arm.share for arm in arms}
        raise ConfigurationError(f"the shares of a split sum to 1, and these to {total:g}: {shares}")


def _joined(prompts: Mapping[str, Prompt], split: str) -> dict[str, Variable]:
    """The variables of all arms: one that any of them needs is needed."""
    joined: dict[str, Variable] = {}
    arm_of: dict[str, str] = {}
    for arm, prompt in prompts.items():
        for name, one in prompt.content.variables.items():
            known = joined.get(name)
            if known is not None and known.type != one.type and "any" not in (known.type, one.type):
                raise PromptError(
                    f"the arms of the split {split!r} take {name!r} as different types, {arm_of[name]!r} as "
                    f"{known.type} and {arm!r} as {one.type}, so that no value suits both",
                    prompt=split,
                    variable=name,
                )
            if known is None or known.optional:
                joined[name], arm_of[name] = one, arm
    return joined


def _text_of(value: object, split: str, key: str) -> str:
    if isinstance(value, int | uuid.UUID) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    raise PromptError(
        f"the split {split!r} takes {key!r} as a text, a whole number or a UUID, not {type(value).__name__}"
        + (" without a letter" if value == "" else ""),
        prompt=split,
        variable=key,
    )


def _repository(given: PromptRepository | None) -> PromptRepository:
    if given is not None:
        return given
    # By name: `repository` imports third-party libraries.
    found: PromptRepository = importlib.import_module("llmops_sdk.prompts.repository").repository_here()
    return found
