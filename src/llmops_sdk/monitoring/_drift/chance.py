"""Draws that continue exactly where a stored state ends."""

from __future__ import annotations

__all__ = ["Chance"]

_MASK = (1 << 64) - 1


class Chance:
    """SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): its state is a number.

    Python's own generator has a state of 625 numbers, which every detector would have to store.
    """

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def draw(self) -> float:
        """Uniform on (0, 1), neither end included."""
        self.state = state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return (((state ^ (state >> 31)) >> 11) + 0.5) * 2.0**-53
