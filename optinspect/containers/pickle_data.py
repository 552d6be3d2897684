"""A pickle as data: an interpreter of protocols 0–5 that has no way to call what the file names.

    data.pkl ──handlers, one an opcode──▶ dicts, lists, numbers, text, TensorRef, Opaque

Handlers lie in a table by opcode: pickle_opcodes (values), pickle_structure (containers, memo), pickle_calls (names).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optinspect.containers.allowlist import torch_allows
from optinspect.containers.base import Limits
from optinspect.containers.pickle_builders import BUILDERS, INERT
from optinspect.containers.pickle_calls import CALLS, refuse
from optinspect.containers.pickle_machine import Builder, Machine, Storages
from optinspect.containers.pickle_opcodes import SCALARS, Handler
from optinspect.containers.pickle_structure import STRUCTURE, Stop
from optinspect.errors import LimitExceeded

_SLICE = 4096  # opcodes between two looks at the bound on memory


def _dispatch() -> tuple[Handler, ...]:
    table: list[Handler] = [refuse] * 256
    for code, _, handler in (*SCALARS, *STRUCTURE, *CALLS):
        table[code] = handler
    return tuple(table)


_TABLE = _dispatch()


@dataclass(frozen=True, slots=True)
class Pickled:
    """What a pickle holds.

    end      position after STOP
    opaque   names kept inert → occurrences
    called   of these, in order, what a full load would have called and torch's own allowlist refuses
    problems (tensor or storage, kind of Problem, message)
    """

    value: Any
    end: int
    opaque: Mapping[str, int]
    called: tuple[str, ...]
    problems: list[tuple[Any, str, str]]


def no_storages(m: Machine, _identity: Any) -> Any:
    """For pickles that are no checkpoint of torch: a persistent id means nothing there."""
    raise m.malformed("a persistent id outside a torch checkpoint")


def interpret(
    data: bytes,
    where: str,
    limits: Limits,
    storages: Storages = no_storages,
    builders: Mapping[str, Builder] = BUILDERS,
) -> Pickled:
    """Interpret the pickle at the beginning of `data`.

    Raises TruncatedCheckpoint when `data` ends before STOP, MalformedCheckpoint with the byte, LimitExceeded.
    """
    if len(data) > limits.pickle:
        raise LimitExceeded("bytes of pickle", limits.pickle, len(data), where=where)
    machine = Machine(data, where, limits, storages, builders)
    end = _run(machine)
    if not machine.stack:
        raise machine.malformed("STOP with nothing on the stack", end - 1)
    return Pickled(machine.stack[-1], end, _inert(machine), _called(machine), machine.problems)


def _run(m: Machine) -> int:
    """Execute until STOP; the position after it."""
    data, table, pos = m.data, _TABLE, 0
    try:
        for _ in range(0, m.limits.opcodes, _SLICE):
            for _ in range(_SLICE):
                pos = table[data[pos]](m, pos + 1)
            m.charge(0)
    except Stop as reached:
        return reached.end
    except struct.error:
        raise m.truncated() from None
    except IndexError:
        if pos >= len(data) - 1:
            raise m.truncated() from None
        raise m.malformed("the stack is empty where a value is needed", pos) from None
    except KeyError:
        raise m.malformed("a memo number that was never stored", pos) from None
    except UnicodeError:
        raise m.malformed("text that is no UTF-8", pos) from None
    except ValueError:
        raise m.malformed("a number that is no number", pos) from None
    raise LimitExceeded("pickle opcodes", m.limits.opcodes, m.limits.opcodes + 1, where=m.where)


def _inert(m: Machine) -> dict[str, int]:
    """Calls that stayed inert, and names that were only referred to."""
    counts = dict(m.inert)
    for name, reference in m.globals.items():
        if reference.builder is None and name not in INERT and name not in counts and not torch_allows(name):
            counts[name] = 1
    return counts


def _called(m: Machine) -> tuple[str, ...]:
    return tuple(name for name in m.called if not torch_allows(name) and not name.startswith("result of "))
