"""Every name that we build, and how: our own functions on plain data, never the functions that the file names.

A builder gets the machine and the call's arguments. NotPlain from it keeps the call as an Opaque.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from optinspect.containers.numpy_data import NUMPY
from optinspect.containers.pickle_machine import DICTS, AttributedDict, Builder, Global, Machine, NotPlain
from optinspect.containers.tensor_builders import TENSORS
from optinspect.opaque import Device, Opaque
from optinspect.tensors import DTYPES


def mapping(m: Machine, arguments: tuple[Any, ...]) -> AttributedDict:
    """OrderedDict(), OrderedDict(pairs), Counter(dict)."""
    made = AttributedDict()
    m.spent += 120
    if arguments:
        source = arguments[0]
        if type(source) in DICTS:
            m.charge(100 * len(source))
            made.update(source)
        elif type(source) in (list, tuple) and all(type(pair) in (list, tuple) and len(pair) == 2 for pair in source):
            m.store(made, [part for pair in source for part in pair])
            m.charge(0)
        else:
            raise NotPlain
    return made


def default_mapping(m: Machine, arguments: tuple[Any, ...]) -> AttributedDict:
    """defaultdict(factory, …): the factory is dropped."""
    return mapping(m, arguments[1:])


def sequence(m: Machine, arguments: tuple[Any, ...]) -> list[Any]:
    """list(items) and deque(items, length)."""
    return list(_items(m, arguments))


def set_(m: Machine, arguments: tuple[Any, ...]) -> set[Any]:
    made: set[Any] = set()
    m.spent += 224
    m.add(made, list(_items(m, arguments)))
    return made


def frozen_set(m: Machine, arguments: tuple[Any, ...]) -> frozenset[Any]:
    return frozenset(set_(m, arguments))


def tuple_(m: Machine, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """tuple(items) and torch.Size(items)."""
    return tuple(_items(m, arguments))


def _items(m: Machine, arguments: tuple[Any, ...]) -> list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]:
    items = arguments[0] if arguments else ()
    if type(items) not in (list, tuple, set, frozenset):
        raise NotPlain
    m.charge(64 + 8 * len(items))
    return items


def octets(m: Machine, arguments: tuple[Any, ...]) -> bytes:
    """bytes(content). An int would ask for that many bytes: not plain."""
    content = arguments[0] if arguments else b""
    if type(content) is str and arguments[1:] == ("latin1",):
        m.charge(64 + len(content))
        return content.encode("latin-1")
    if type(content) not in (bytes, bytearray, list, tuple):
        raise NotPlain
    m.charge(64 + len(content))
    if type(content) in (list, tuple) and not all(type(item) is int and 0 <= item < 256 for item in content):
        raise NotPlain
    return bytes(content)


def octet_array(m: Machine, arguments: tuple[Any, ...]) -> bytearray:
    return bytearray(octets(m, tuple("latin1" if item == "latin-1" else item for item in arguments)))


def encoded(m: Machine, arguments: tuple[Any, ...]) -> bytes:
    """_codecs.encode(text, 'latin1'): how protocol 2 writes bytes."""
    if not arguments or type(arguments[0]) is not str or arguments[1:] not in (("latin1",), ("latin-1",)):
        raise NotPlain
    m.charge(64 + len(arguments[0]))
    try:
        return arguments[0].encode("latin-1")
    except UnicodeEncodeError:
        raise NotPlain from None


def complex_(_m: Machine, arguments: tuple[Any, ...]) -> complex:
    if len(arguments) != 2 or not all(type(part) in (int, float) for part in arguments):
        raise NotPlain
    try:
        return complex(*arguments)
    except OverflowError:
        raise NotPlain from None


def device(_m: Machine, arguments: tuple[Any, ...]) -> Device:
    kind, *index = arguments or (None,)
    if type(kind) is not str or len(index) > 1 or not all(type(number) is int for number in index):
        raise NotPlain
    name, _, number = kind.partition(":")
    return Device(name, index[0] if index else int(number) if number.isdecimal() and len(number) < 6 else None)


def named(m: Machine, arguments: tuple[Any, ...]) -> Opaque:
    """torch.serialization._get_layout("torch.strided"): a reference by text."""
    if len(arguments) != 1 or type(arguments[0]) is not str:
        raise NotPlain
    m.charge(400)
    return Global(arguments[0], None)


def text(_m: Machine, arguments: tuple[Any, ...]) -> str:
    """str(text) and its subclasses (TorchVersion)."""
    if len(arguments) != 1 or type(arguments[0]) is not str:
        raise NotPlain
    return arguments[0]


def path(separator: str) -> Builder:
    """A pathlib path is the text of it: its parts, the first of which may be the root."""

    def join(m: Machine, arguments: tuple[Any, ...]) -> str:
        if not all(type(part) is str for part in arguments):
            raise NotPlain
        m.charge(64 + 4 * sum(map(len, arguments)))
        root = arguments[0] if arguments and arguments[0].endswith(separator) else ""
        return root + separator.join(arguments[1:] if root else arguments) or "."

    return join


def reconstructed(m: Machine, arguments: tuple[Any, ...]) -> Any:
    """copyreg._reconstructor(class, base, state): an object of that class, by protocols 0 and 1."""
    if len(arguments) != 3 or not isinstance(arguments[0], Opaque):
        raise NotPlain
    made = m.opaque(arguments[0].name, ())
    if arguments[2] is not None:
        made.args = (arguments[2],)
    return made


def new_object(m: Machine, arguments: tuple[Any, ...]) -> Any:
    """copyreg.__newobj__(class, *arguments)."""
    if not arguments or type(arguments[0]) is not Global:
        raise NotPlain
    builder = arguments[0].builder
    return (
        builder(m, arguments[1:]) if builder not in (None, new_object) else m.opaque(arguments[0].name, arguments[1:])
    )


def moment(kind: type[Any]) -> Builder:
    """datetime's classes check their own arguments; what they refuse stays opaque."""

    def make(_m: Machine, arguments: tuple[Any, ...]) -> Any:
        if not all(type(part) in (int, float, bytes, datetime.timedelta, datetime.timezone) for part in arguments):
            raise NotPlain
        try:
            return kind(*arguments)
        except (TypeError, ValueError, OverflowError):
            raise NotPlain from None

    return make


BUILDERS: Mapping[str, Builder] = {
    "collections.OrderedDict": mapping,
    "collections.Counter": mapping,
    "collections.defaultdict": default_mapping,
    "collections.deque": sequence,
    "builtins.dict": mapping,
    "builtins.list": sequence,
    "builtins.tuple": tuple_,
    "builtins.set": set_,
    "builtins.frozenset": frozen_set,
    "builtins.bytes": octets,
    "builtins.bytearray": octet_array,
    "builtins.complex": complex_,
    "builtins.str": text,
    "_codecs.encode": encoded,
    "copyreg._reconstructor": reconstructed,
    "copyreg.__newobj__": new_object,
    "torch.Size": tuple_,
    "torch.device": device,
    "torch.serialization._get_layout": named,
    "torch.torch_version.TorchVersion": text,
    "pathlib.PosixPath": path("/"),
    "pathlib.PurePosixPath": path("/"),
    "pathlib.WindowsPath": path("\\"),
    "pathlib.PureWindowsPath": path("\\"),
    "pathlib._local.PosixPath": path("/"),
    "pathlib._local.WindowsPath": path("\\"),
    "datetime.datetime": moment(datetime.datetime),
    "datetime.date": moment(datetime.date),
    "datetime.time": moment(datetime.time),
    "datetime.timedelta": moment(datetime.timedelta),
    "datetime.timezone": moment(datetime.timezone),
    **TENSORS,
    **NUMPY,
}

INERT = frozenset(
    (
        *(f"torch.{name}" for name in DTYPES),
        *(
            f"torch.{layout}"
            for layout in ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
        ),
        "builtins.object",
        "builtins.int",
        "builtins.float",
        "builtins.bool",
        "numpy.ndarray",
        "torch.Tensor",
        "torch.nn.parameter.Parameter",
    )
)
"""Names whose mere mention says nothing: dtypes, layouts, plain classes."""
