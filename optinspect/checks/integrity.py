"""Are the bytes those that were written: the checksum of every record, taken while the values are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optinspect.checksums import Passing, whole
from optinspect.containers.base import Record, Tree
from optinspect.containers.held_file import HeldFile
from optinspect.containers.source import ByteRange
from optinspect.errors import FileChanged, OptinspectError


@dataclass(frozen=True, slots=True)
class Broken:
    """A record whose bytes are not those that were written. `input`: number of its file."""

    input: int
    record: str
    message: str


@dataclass(frozen=True)
class Integrity:
    """What the checksums say. `records` were compared; `silent` files have none to compare."""

    broken: tuple[Broken, ...] = ()
    records: int = 0
    unsigned: int = 0
    """Records whose writer left their checksum out."""
    silent: tuple[int, ...] = ()


class Watch:
    """Sums what is read of the trees' files while it is open."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._trees = trees
        self._passing: dict[int, Passing] = {}

    def __enter__(self) -> Watch:
        for tree in self._trees:
            for held in tree.held if tree.integrity == "crc32" else ():
                if isinstance(held, HeldFile):
                    held.observer = self._passing[id(held)] = Passing()
        return self

    def __exit__(self, *exc: object) -> None:
        for tree in self._trees:
            for held in tree.held:
                if isinstance(held, HeldFile):
                    held.observer = None

    def compare(self) -> Integrity:
        """The records against what their writer noted. Raises FileChanged."""
        broken: list[Broken] = []
        compared = unsigned = 0
        for number, tree in enumerate(self._trees):
            for record in tree.records if tree.integrity == "crc32" else ():
                if record.crc32 is None or record.data is None:
                    unsigned += 1
                    continue
                compared += 1
                message = self._problem(record)
                if message is not None:
                    broken.append(Broken(number, record.name, message))
        silent = tuple(number for number, tree in enumerate(self._trees) if tree.integrity != "crc32")
        return Integrity(tuple(broken), compared, unsigned, silent)

    def _problem(self, record: Record) -> str | None:
        try:
            crc32 = self._crc32(record)
        except FileChanged:
            raise
        except OptinspectError as error:
            return f"{record.name}: {error.message}"
        if crc32 == record.crc32:
            return None
        return f"{record.name} fails its checksum ({crc32:08x}, {record.crc32:08x} recorded)"

    def _crc32(self, record: Record) -> int:
        data = record.data
        if data is None:
            return 0
        if isinstance(data, ByteRange):
            parent, offset = data.place
            passing = self._passing.get(id(parent))
            if passing is not None:
                return passing.crc32(data, offset, data.size)
        return whole(data)


def storages(broken: Sequence[Broken], number: int) -> Iterator[str]:
    """Keys of the storages of an input that cannot be trusted."""
    return (each.record for each in broken if each.input == number)
