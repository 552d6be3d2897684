"""Opcodes that name things and would call them. Here nothing is called: a name is looked up in our own table of
builders as text, and every other name becomes an Opaque.
"""

from __future__ import annotations

from typing import Any

from optinspect.containers.numpy_data import finish_array
from optinspect.containers.pickle_builders import INERT
from optinspect.containers.pickle_machine import AttributedDict, Global, Machine, NotPlain
from optinspect.containers.pickle_opcodes import Handler, read_line
from optinspect.containers.pickle_structure import pop_mark
from optinspect.containers.wording import printable
from optinspect.opaque import Opaque
from optinspect.tensors import TensorRef

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins", "commands": "subprocess"}
"""Modules of Python 2 that its pickles, and all of protocol 2, still name."""
_MOVED = {
    "builtins.unicode": "builtins.str",
    "builtins.long": "builtins.int",
    "builtins.xrange": "builtins.range",
    "builtins.reduce": "functools.reduce",
    "itertools.imap": "builtins.map",
    "itertools.ifilter": "builtins.filter",
    "itertools.izip": "builtins.zip",
}
_RESULT = "result of "
_RECENT = 64


def global_lines(m: Machine, pos: int) -> int:
    module, pos = read_line(m, pos)
    name, pos = read_line(m, pos)
    m.stack.append(_named(m, module.decode(), name.decode()))
    return pos


def stack_global(m: Machine, pos: int) -> int:
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise m.malformed("a name that is no text", pos - 1)
    m.stack.append(_named(m, module, name))
    return pos


def _named(m: Machine, module: str, name: str) -> Global:
    full = f"{_RENAMED.get(module, module)}.{name}"
    full = _MOVED.get(full, full)
    known = m.globals.get(full)
    if known is None:
        m.charge(400 + 4 * len(full))
        known = m.globals[full] = Global(full, m.table.get(full))
    return known


def reduce(m: Machine, pos: int) -> int:
    stack = m.stack
    arguments = stack.pop()
    name = stack[-1]
    if type(name) is Global and name.builder is not None and type(arguments) is tuple:
        try:  # the common case, without another call
            stack[-1] = name.builder(m, arguments)
            return pos
        except NotPlain:
            pass
    stack[-1] = call(m, name, arguments, pos)
    return pos


def newobj_ex(m: Machine, pos: int) -> int:
    keywords, arguments = m.stack.pop(), m.stack.pop()
    made = call(m, m.stack[-1], arguments, pos)
    if isinstance(made, Opaque) and isinstance(keywords, dict):
        m.store(made, [part for item in keywords.items() for part in item])
    m.stack[-1] = made
    return pos


def inst(m: Machine, pos: int) -> int:
    after = global_lines(m, pos)
    name = m.stack.pop()
    arguments = tuple(pop_mark(m))
    m.stack.append(call(m, name, arguments, pos))
    return after


def obj(m: Machine, pos: int) -> int:
    name, *arguments = pop_mark(m) or [None]
    m.stack.append(call(m, name, tuple(arguments), pos))
    return pos


def call(m: Machine, name: Any, arguments: Any, pos: int) -> Any:
    """Plain data where we have a builder for the name, else an inert record of the call."""
    if type(arguments) is not tuple:
        raise m.malformed(f"called with a {type(arguments).__name__} (a tuple expected)", pos - 1)
    if type(name) is Global:
        if name.builder is not None:
            try:
                return name.builder(m, arguments)
            except NotPlain:
                pass
        _note_passed(m, arguments)
        return m.opaque(name.name, arguments)
    if not isinstance(name, Opaque):
        raise m.malformed(f"a {type(name).__name__} is called (a name expected)", pos - 1)
    # What a call returned is called in turn: the chain stays reachable as the first argument.
    label = name.name if name.name.startswith(_RESULT) else _RESULT + name.name
    return m.opaque(label, (name, *arguments))


def _note_passed(m: Machine, arguments: tuple[Any, ...]) -> None:
    """Names handed to an inert call: map(os.system, …) would call them too."""
    for argument in arguments[:_RECENT]:
        if type(argument) is Global and argument.builder is None and argument.name not in INERT:
            m.called[argument.name] = None


def build(m: Machine, pos: int) -> int:
    state = m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, Opaque):
        target.state = state
        array = finish_array(m, target)
        if array is not None:  # the memo got the empty array before its contents came
            m.replace(target, array)
    elif type(target) is AttributedDict:
        target.attributes = state
    elif not (isinstance(target, TensorRef) and target.is_parameter):
        raise m.malformed(f"a state is set on a {type(target).__name__} (an object expected)", pos - 1)
    return pos


def binpersid(m: Machine, pos: int) -> int:
    m.stack[-1] = m.storages(m, m.stack[-1])
    return pos


_REFUSED = {
    0x50: "PERSID",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
}


def refuse(m: Machine, pos: int) -> int:
    code = m.data[pos - 1]
    if code in _REFUSED:
        raise m.malformed(f"opcode 0x{code:02x} ({_REFUSED[code]}) is not supported,", pos - 1)
    raise m.malformed(f"0x{code:02x} ({printable(chr(code))}) is no pickle opcode,", pos - 1)


CALLS: tuple[tuple[int, str, Handler], ...] = (
    (0x63, "GLOBAL", global_lines),
    (0x93, "STACK_GLOBAL", stack_global),
    (0x52, "REDUCE", reduce),
    (0x81, "NEWOBJ", reduce),
    (0x92, "NEWOBJ_EX", newobj_ex),
    (0x62, "BUILD", build),
    (0x69, "INST", inst),
    (0x6F, "OBJ", obj),
    (0x51, "BINPERSID", binpersid),
)
