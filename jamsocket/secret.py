"""A string that is never shown by accident."""

from __future__ import annotations


class Secret:
    """Holds a secret so that no repr, log line or traceback with local variables shows it.

    Code that needs the string takes it with `reveal()` at the last moment and does not keep it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    def __reduce__(self) -> str:
        raise TypeError("A secret is not pickled.")


def conceal(value: object) -> object:
    """A string as a secret; a secret, or anything that cannot be one, as it is."""
    return Secret(value) if isinstance(value, str) else value
