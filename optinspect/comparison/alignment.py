"""The optimizers' parameters of two checkpoints, paired: by name, by equal content, by index where names are missing.

A name that rests on an order alone may be wrong on one side, so there the content goes first: state that begins with
the same bytes on both sides, and on no other parameter, is the same state wherever it stands now.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from optinspect.checkpoint import Checkpoint, OptimizerState
from optinspect.comparison.weights import Models
from optinspect.errors import FileChanged, OptinspectError
from optinspect.subjects import Subject
from optinspect.tensors import TensorRef, obstacle

By = Literal["name", "content", "index"]

HEAD = 4096
"""Bytes of a state tensor that are looked at to know it again."""
LARGE = 20_000
"""Parameters beyond which content is not looked at: two reads each would take longer than they are worth."""
GUESSED = ("order", "none")


@dataclass(frozen=True, slots=True)
class Pair:
    """One parameter in both checkpoints' optimizers, or in one of them. `by`: how the two were brought together."""

    a: Subject | None
    b: Subject | None
    by: By | None = None

    @property
    def best(self) -> Subject:
        """The side whose name is better known."""
        if self.a is None or self.b is None:
            found = self.a or self.b
            assert found is not None
            return found
        known = self.b.named.name is not None and self.b.named.evidence not in GUESSED
        return self.b if self.a.named.name is None or (self.a.named.evidence in GUESSED and known) else self.a


def align(
    a: Sequence[Subject], b: Sequence[Subject], optimizers: Mapping[int, int], models: Models
) -> tuple[Pair, ...]:
    """Every parameter once, in the order of `a`, then what only `b` has.

    optimizers  number in a → number in b, of those that belong together
    """
    matcher = _Matcher(a, b)
    if len(a) + len(b) <= LARGE:
        matcher.match("content", _fingerprint, _fingerprint)
    matcher.match("name", _full_name(models.numbers_a), _full_name(models.numbers_b))
    matcher.match("name", lambda each: each.named.name, lambda each: each.named.name)
    matcher.match(
        "index",
        lambda each: (optimizers.get(each.optimizer), each.state.index),
        lambda each: (each.optimizer, each.state.index),
        _may_be_one,
    )
    return tuple(matcher.pairs())


def pair_optimizers(a: Checkpoint, b: Checkpoint) -> dict[int, int]:
    """Number in a → number in b: by route, the others in their order."""
    left = dict(enumerate(b.optimizers))
    found: dict[int, int] = {}
    for same in (_same_route, _any):
        for number, one in enumerate(a.optimizers):
            partner = next((n for n, two in left.items() if same(one, two)), None)
            if number not in found and partner is not None:
                found[number] = partner
                del left[partner]
    return found


def _same_route(one: OptimizerState, two: OptimizerState) -> bool:
    return one.route == two.route


def _any(_: OptimizerState, __: OptimizerState) -> bool:
    return True


Key = Callable[[Subject], Hashable]
Allowed = Callable[[Subject, Subject], bool]


class _Matcher:
    """Pairs what is left on both sides, key by key."""

    def __init__(self, a: Sequence[Subject], b: Sequence[Subject]) -> None:
        self._a, self._b = a, b
        self._left_a, self._left_b = dict(enumerate(a)), dict(enumerate(b))
        self._found: dict[int, tuple[int, By]] = {}

    def match(self, by: By, key_a: Key, key_b: Key, allowed: Allowed = lambda _a, _b: True) -> None:
        """Pair those whose key is no None and occurs once on each side."""
        every_a, every_b = _unique(self._left_a, key_a), _unique(self._left_b, key_b)
        for key, at_a in every_a.items():
            at_b = every_b.get(key)
            if at_b is not None and allowed(self._a[at_a], self._b[at_b]):
                self._found[at_a] = (at_b, by)
                del self._left_a[at_a], self._left_b[at_b]

    def pairs(self) -> Iterator[Pair]:
        for at_a, one in enumerate(self._a):
            at_b, by = self._found.get(at_a, (None, None))
            yield Pair(one, self._b[at_b] if at_b is not None else None, by)
        for two in self._left_b.values():
            yield Pair(None, two)


def _unique(left: Mapping[int, Subject], key: Key) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    repeated: set[Hashable] = {None}
    for at, subject in left.items():
        value = key(subject)
        if value in found:
            repeated.add(value)
        found[value] = at
    return {value: at for value, at in found.items() if value not in repeated}


def _full_name(numbers: Mapping[int, int]) -> Key:
    """Name and model: two models may have the same names. A name without a model is of the first."""

    def key(subject: Subject) -> Hashable:
        named = subject.named
        return None if named.name is None else (numbers.get(named.model or 0), named.name)

    return key


def _may_be_one(one: Subject, two: Subject) -> bool:
    """Two different names are two parameters; so are two different shapes where nothing but the index is known."""
    if one.named.name is not None and two.named.name is not None:
        return False
    return one.state.shape is None or two.state.shape is None or one.state.shape == two.state.shape


def _fingerprint(subject: Subject) -> Hashable:
    """The first bytes of the first state tensor that is not one value repeated; None where names are not guessed."""
    if subject.named.evidence not in GUESSED:
        return None
    return next(filter(None, map(_head, _full_tensors(subject))), None)


def _full_tensors(subject: Subject) -> Iterable[tuple[str, TensorRef]]:
    return ((slot, tensor) for slot, tensor in subject.tensors.items() if tensor.shape == subject.state.shape)


def _head(named: tuple[str, TensorRef]) -> Hashable:
    slot, tensor = named
    size = min(tensor.nbytes, HEAD)
    if obstacle(tensor) is not None or tensor.storage.data is None or not tensor.is_contiguous or size < 16:
        return None
    buffer = bytearray(size)
    try:
        tensor.storage.data.read_into(tensor.offset * tensor.dtype.itemsize, memoryview(buffer))
    except FileChanged:
        raise
    except OptinspectError:
        return None
    item = tensor.dtype.itemsize
    if buffer == buffer[:item] * (size // item):
        return None
    return slot, tensor.dtype.name, tensor.shape, tensor.storage.byteorder, bytes(buffer)
