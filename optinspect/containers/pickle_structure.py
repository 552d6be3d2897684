"""Opcodes that build containers and move things between stack and memo."""

from __future__ import annotations

from struct import Struct

from optinspect.containers.pickle_machine import Machine
from optinspect.containers.pickle_opcodes import Handler, constant, read_line

_U32 = Struct("<I").unpack_from


class Stop(Exception):
    """The STOP opcode; `value` is what the pickle holds, `end` the position after it."""

    def __init__(self, end: int) -> None:
        self.end = end


def stop(_m: Machine, pos: int) -> int:
    raise Stop(pos)


def mark(m: Machine, pos: int) -> int:
    m.marks.append(m.stack)
    m.stack = []
    return pos


def pop_mark(m: Machine) -> list[object]:
    """Everything above the last MARK, which becomes the stack's top again."""
    items = m.stack
    m.stack = m.marks.pop()
    return items


def pop(m: Machine, pos: int) -> int:
    if m.stack:
        del m.stack[-1]
    else:
        pop_mark(m)
    return pos


def discard_to_mark(m: Machine, pos: int) -> int:
    pop_mark(m)
    return pos


def dup(m: Machine, pos: int) -> int:
    m.stack.append(m.stack[-1])
    return pos


def empty_list(m: Machine, pos: int) -> int:
    m.spent += 72
    m.stack.append([])
    return pos


def empty_dict(m: Machine, pos: int) -> int:
    m.spent += 72
    m.stack.append({})
    return pos


def empty_set(m: Machine, pos: int) -> int:
    m.spent += 224
    m.stack.append(set())
    return pos


def tuple_to_mark(m: Machine, pos: int) -> int:
    items = m.stack
    m.stack = m.marks.pop()
    m.stack.append(tuple(items))
    m.spent += 64 + 8 * len(items)
    return pos


def tuple1(m: Machine, pos: int) -> int:
    m.stack[-1] = (m.stack[-1],)
    m.spent += 64
    return pos


def tuple2(m: Machine, pos: int) -> int:
    stack = m.stack
    last = stack.pop()
    stack[-1] = (stack[-1], last)
    m.spent += 64
    return pos


def tuple3(m: Machine, pos: int) -> int:
    stack = m.stack
    last, middle = stack.pop(), stack.pop()
    stack[-1] = (stack[-1], middle, last)
    m.spent += 72
    return pos


def list_to_mark(m: Machine, pos: int) -> int:
    items = pop_mark(m)
    m.spent += 64 + 8 * len(items)
    m.stack.append(items)
    return pos


def dict_to_mark(m: Machine, pos: int) -> int:
    items = pop_mark(m)
    target: dict[object, object] = {}
    m.spent += 72
    m.store(target, items)
    m.stack.append(target)
    return pos


def frozenset_to_mark(m: Machine, pos: int) -> int:
    items = pop_mark(m)
    members: set[object] = set()
    m.add(members, items)
    m.spent += 224
    m.stack.append(frozenset(members))
    return pos


def append(m: Machine, pos: int) -> int:
    value = m.stack.pop()
    m.extend(m.stack[-1], (value,), 1)
    return pos


def appends(m: Machine, pos: int) -> int:
    items = pop_mark(m)
    m.extend(m.stack[-1], items, len(items))
    return pos


def setitem(m: Machine, pos: int) -> int:
    value, key = m.stack.pop(), m.stack.pop()
    m.store(m.stack[-1], [key, value])
    return pos


def setitems(m: Machine, pos: int) -> int:
    items = m.stack
    m.stack = m.marks.pop()
    m.store(m.stack[-1], items)
    return pos


def additems(m: Machine, pos: int) -> int:
    items = pop_mark(m)
    m.add(m.stack[-1], items)
    return pos


def put_line(m: Machine, pos: int) -> int:
    index, after = _index_line(m, pos)
    m.put(index)
    return after


def _index_line(m: Machine, pos: int) -> tuple[int, int]:
    text, after = read_line(m, pos)
    if not text.isdigit() or len(text) > 10:
        raise m.malformed("a memo number that is no number", pos)
    return int(text), after


def binput(m: Machine, pos: int) -> int:
    m.put(m.data[pos])
    return pos + 1


def long_binput(m: Machine, pos: int) -> int:
    index = _U32(m.data, pos)[0]
    if index == len(m.memo) and not m.sparse:
        m.memo.append(m.stack[-1])
    else:
        m.put(index)
    return pos + 4


def memoize(m: Machine, pos: int) -> int:
    if m.sparse:
        m.put(len(m.memo) + len(m.sparse))
    else:
        m.memo.append(m.stack[-1])
    return pos


def get_line(m: Machine, pos: int) -> int:
    index, after = _index_line(m, pos)
    m.stack.append(m.memo[index] if index < len(m.memo) else m.sparse[index])
    return after


def binget(m: Machine, pos: int) -> int:
    index = m.data[pos]
    m.stack.append(m.memo[index] if index < len(m.memo) else m.sparse[index])
    return pos + 1


def long_binget(m: Machine, pos: int) -> int:
    index = _U32(m.data, pos)[0]
    m.stack.append(m.memo[index] if index < len(m.memo) else m.sparse[index])
    return pos + 4


STRUCTURE: tuple[tuple[int, str, Handler], ...] = (
    (0x2E, "STOP", stop),
    (0x28, "MARK", mark),
    (0x30, "POP", pop),
    (0x31, "POP_MARK", discard_to_mark),
    (0x32, "DUP", dup),
    (0x29, "EMPTY_TUPLE", constant(())),
    (0x74, "TUPLE", tuple_to_mark),
    (0x85, "TUPLE1", tuple1),
    (0x86, "TUPLE2", tuple2),
    (0x87, "TUPLE3", tuple3),
    (0x5D, "EMPTY_LIST", empty_list),
    (0x6C, "LIST", list_to_mark),
    (0x61, "APPEND", append),
    (0x65, "APPENDS", appends),
    (0x7D, "EMPTY_DICT", empty_dict),
    (0x64, "DICT", dict_to_mark),
    (0x73, "SETITEM", setitem),
    (0x75, "SETITEMS", setitems),
    (0x8F, "EMPTY_SET", empty_set),
    (0x90, "ADDITEMS", additems),
    (0x91, "FROZENSET", frozenset_to_mark),
    (0x70, "PUT", put_line),
    (0x71, "BINPUT", binput),
    (0x72, "LONG_BINPUT", long_binput),
    (0x94, "MEMOIZE", memoize),
    (0x67, "GET", get_line),
    (0x68, "BINGET", binget),
    (0x6A, "LONG_BINGET", long_binget),
)
