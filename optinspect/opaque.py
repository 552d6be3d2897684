"""What a pickle names and we do not build: an inert record of it, never imported, never called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Device:
    """A torch.device as text: where a tensor lay when it was saved."""

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


class Opaque:
    """An object of a class that is not plain data, kept as what the file says about it.

    name   "argparse.Namespace": module and qualified name, as text
    args   what it would have been called with (a tuple), or None for a bare reference to the name
    state  what BUILD would have given it: a dict of attributes as a rule, else whatever the file holds
    items  entries that SETITEMS would have stored; entries: what APPENDS/ADDITEMS would have added

    Mutable while a pickle is being interpreted, read-only by convention afterwards. Compared by identity.
    """

    __slots__ = ("args", "entries", "items", "name", "state")

    def __init__(self, name: str, args: Any = None) -> None:
        self.name = name
        self.args = args
        self.state: Any = None
        self.items: dict[Any, Any] = {}
        self.entries: list[Any] = []

    @property
    def is_reference(self) -> bool:
        """Only the name of a class or function: nothing would have been called."""
        return self.args is None and self.state is None and not self.items and not self.entries

    def attribute(self, key: str, default: Any = None) -> Any:
        """`obj.key` as its state has it; slots states (dict, slots) are looked through."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        for part in parts:
            if isinstance(part, dict) and key in part:
                return part[key]
        return default

    def __repr__(self) -> str:
        return f"Opaque({self.name!r})"
