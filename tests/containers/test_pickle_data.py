"""The interpreter, opcode by opcode: what it builds, what it keeps inert, what it refuses."""

from __future__ import annotations

import collections
import pickle
import struct
from typing import Any

import pytest
from hostile import forge

from optinspect.containers.base import Limits
from optinspect.containers.pickle_calls import CALLS
from optinspect.containers.pickle_data import interpret
from optinspect.containers.pickle_opcodes import SCALARS
from optinspect.containers.pickle_structure import STRUCTURE
from optinspect.errors import LimitExceeded, MalformedCheckpoint, TruncatedCheckpoint
from optinspect.opaque import Opaque


def value_of(data: bytes, limits: Limits | None = None) -> Any:
    return interpret(data, "x", limits or Limits()).value


def refused(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(MalformedCheckpoint) as caught:
        value_of(data, limits)
    return caught.value.message


PLAIN: list[Any] = [
    None, True, False, 0, 255, 256, 65535, 65536, -1, 1 << 31, -(1 << 31), 1 << 63, -(1 << 255), 1.5, float("inf"),
    "", "a", "é" * 300, "\ud800", "x" * 60000, b"", b"ab" * 200, b"y" * 60000, bytearray(b"z"), (), (1,), (1, 2),
    (1, 2, 3), (1, 2, 3, 4), [], [1], list(range(1500)), {}, {"a": 1}, {n: n for n in range(1500)}, set(), {1, 2},
    frozenset(("a",)), {"a": {"b": [{"c": (1, [2, {}])}]}}, 2 - 3j, {b"k": 1, None: 2, 1.5: 3, (1, "a"): 4, True: 5},
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:20])
def test_plain_values_of_every_protocol(value: Any, protocol: int) -> None:
    got = value_of(pickle.dumps(value, protocol))
    assert got == value and type(got) is type(value)


def test_strings_of_python_2() -> None:
    assert value_of(b"S'a\\x41\\n\\'\\101\\q'\n.") == "aA\n'A\\q"
    assert value_of(b'S"it\'s"\n.') == "it's"
    assert value_of(b"U\x02\xc3\xa9.") == "é" and value_of(b"U\x01\xe9.") == "é"
    assert value_of(b"T\x01\0\0\0a.") == "a"
    assert value_of(b"V\\u20ac\\\n.") == "€\\"
    assert value_of(b"I01\n.") is True and value_of(b"I00\n.") is False and value_of(b"L-5L\n.") == -5


def test_every_opcode_is_handled_once_or_refused() -> None:
    codes = [code for code, _, _ in (*SCALARS, *STRUCTURE, *CALLS)]
    assert len(set(codes)) == len(codes)
    names = {name for _, name, _ in (*SCALARS, *STRUCTURE, *CALLS)}
    import pickletools  # noqa: PLC0415 - the independent list

    missing = {opcode.name for opcode in pickletools.opcodes} - names
    assert missing == {"PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
    for opcode in pickletools.opcodes:
        if opcode.name in missing:
            assert opcode.name in refused(b"N" + opcode.code.encode("latin-1") + bytes(8) + b".")
    assert "is no pickle opcode" in refused(b"N\xff.")


@pytest.mark.parametrize(
    "opcodes",
    [
        forge.name("os.system") + forge.text("x") + b"\x85R",
        forge.text("os") + forge.text("system") + b"\x93" + forge.text("x") + b"\x85R",
        forge.name("os.system") + forge.text("x") + b"\x85\x81",
        forge.name("os.system") + forge.text("x") + b"\x85}\x92",
        b"(" + forge.name("os.system") + forge.text("x") + b"o",
        b"(" + forge.text("x") + b"ios\nsystem\n",
    ],
    ids=["reduce", "stack_global", "newobj", "newobj_ex", "obj", "inst"],
)
def test_a_call_becomes_an_inert_record_of_it(opcodes: bytes) -> None:
    read = interpret(opcodes + b".", "x", Limits())
    assert isinstance(read.value, Opaque) and (read.value.name, read.value.args) == ("os.system", ("x",))
    assert read.opaque == {"os.system": 1} and read.called == ("os.system",)


def test_names_that_are_only_mentioned_or_passed_on() -> None:
    read = interpret(b"]" + forge.name("os.system") + b"a.", "x", Limits())
    assert read.value[0].is_reference and read.opaque == {"os.system": 1} and read.called == ()
    read = interpret(forge.call("builtins.map", forge.name("os.system"), b"]") + b".", "x", Limits())
    assert set(read.called) == {"builtins.map", "os.system"}
    through = forge.call("torch._tensor._rebuild_from_type_v2", forge.name("os.system"), forge.name("a.B"), b")", b"}")
    assert "os.system" in interpret(through + b".", "x", Limits()).called


def test_what_a_call_returned_may_be_called_again_and_stays_inert() -> None:
    inner = forge.call("builtins.getattr", forge.name("os.path"), forge.text("join"))
    read = interpret(inner + forge.text("x") + b"\x85R" + b")R" + b".", "x", Limits())
    assert read.value.name == "result of builtins.getattr"
    assert read.value.args[0].args[0].name == "builtins.getattr"
    assert "builtins.getattr" in read.called


def test_states_items_and_entries_of_unknown_objects() -> None:
    made = forge.call("a.B") + forge.mapping(lr=b"K\x01") + b"b" + b"(" + forge.text("k") + b"Nu" + b"(K\x05e"
    value = value_of(made + b".")
    assert value.attribute("lr") == 1 and value.items == {"k": None} and value.entries == [5]
    slots = forge.call("a.B") + b"}" + forge.mapping(x=b"K\x07") + b"\x86b"
    assert value_of(slots + b".").attribute("x") == 7


def test_protocols_0_and_1_name_the_class_through_copyreg() -> None:
    made = forge.call(
        "copy_reg._reconstructor", forge.name("argparse.Namespace"), forge.name("__builtin__.object"), b"N"
    )
    value = value_of(made + forge.mapping(lr=b"K\x02") + b"b.")
    assert value.name == "argparse.Namespace" and value.attribute("lr") == 2
    assert value_of(forge.call("copyreg.__newobj__", forge.name("collections.OrderedDict")) + b".") == {}


@pytest.mark.parametrize(
    ("opcodes", "words"),
    [
        (b"NN\x85NNs.", "items are set on a"),
        (b")K\x01a.", "appended to a tuple"),
        (b"](K\x01\x90.", "members are added to a list"),
        (b"N}b.", "state is set on a NoneType"),
        (b"}}b.", "state is set on a dict"),
        (b"K\x01)R.", "a int is called"),
        (forge.name("a.b") + b"]R.", "called with a list"),
        (b"}(K\x01u.", "a key without a value"),
        (b"}]Ns.", "a list cannot be a key"),
        (b"}" + b"(" * 1 + b"N" * 17 + b"t" + b"Ns.", "a tuple cannot be a key"),
        (b"}" + b")\x85\x85\x85\x85" + b"Ns.", "a tuple cannot be a key"),
        (b"}" + forge.integer(1 << 70) + b"Ns.", "a int cannot be a key"),
        (b"K\x01K\x02\x93.", "a name that is no text"),
        (b"h\x05.", "memo number that was never stored"),
        (b"\x85.", "the stack is empty"),
        (b"K\x01(\x86NNNNNNNNNN.", "the stack is empty"),
        (b"\x80\x06N.", "pickle protocol 6"),
        (b"IxNNNNNNNNN\n.", "an integer that is no integer"),
        (b"L" + b"9" * 90 + b"L\n.", "an integer that is no integer"),
        (b"\x8a\x21" + bytes(33) + b".", "an integer of 33 bytes"),
        (b"\x8b\xff\xff\xff\xffNNNNNNNN.", "an integer of -1 bytes"),
        (b"F1.2.3NNNNNN\n.", "a number that is no number"),
        (b"X\x01\0\0\0\xffNNNNNNNNN.", "text that is no UTF-8"),
        (b"c\xff\nb\nNNNNNNNNNN.", "text that is no UTF-8"),
        (b"SabcNNNNNNNNNNN\n.", "a string without quotes"),
        (b"T\xff\xff\xff\xffNNNNNNNNNNN.", "a string of -1 bytes"),
        (b"pxNNNNNNNNNNN\n.", "a memo number that is no number"),
        (forge.storage() + b".", "a persistent id outside"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_place(opcodes: bytes, words: str) -> None:
    message = refused(opcodes)
    assert words in message and len(message) <= 200


@pytest.mark.parametrize("value", PLAIN[20:36], ids=lambda value: repr(value)[:20])
def test_every_cut_of_a_pickle_is_truncated_or_malformed(value: Any) -> None:
    data = pickle.dumps([value, value], 4)[:400]
    for length in range(len(data) - 1):
        with pytest.raises(TruncatedCheckpoint):
            value_of(data[:length])


ENCODE = b"h\x01h\x00" + forge.text("latin1") + b"\x86R"

BOMBS = {
    "lists": b"(" + b"]" * 4_000_000 + b"l.",
    "dicts": b"(" + b"}" * 4_000_000 + b"l.",
    "sets": b"(" + b"\x8f" * 2_000_000 + b"l.",
    "marks": b"(" * 4_000_000 + b".",
    "memo": b"N" + b"".join(b"r" + struct.pack("<I", n * 7 + 9) for n in range(700_000)) + b".",
    "copies": forge.text("x" * 100_000) + b"q\0" + forge.name("_codecs.encode") + b"q\1" + ENCODE * 3000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_bounded_by_accounting(name: str) -> None:
    with pytest.raises(LimitExceeded, match="bytes of objects"):
        value_of(BOMBS[name], Limits(objects=64 << 20))


def test_other_limits() -> None:
    with pytest.raises(LimitExceeded, match="pickle opcodes"):
        value_of(b"N0" * 20_000 + b"N.", Limits(opcodes=8192))
    with pytest.raises(LimitExceeded, match="bytes of pickle"):
        value_of(b"N." * 100, Limits(pickle=100))
    assert "a line without an end" in refused(b"c" + b"a" * 200 + b"\nb\n.", Limits(line=100))


def test_colliding_keys_are_refused_before_they_cost_anything() -> None:
    """Tuples of −1 and −2 have one hash: 65,536 of them would take minutes to store."""
    colliding = b"".join(
        b"(" + b"".join(forge.integer(-1 - (number >> bit & 1)) for bit in range(16)) + b"tN" for number in range(4096)
    )
    assert "share one hash" in refused(b"}(" + colliding + b"u.")
    honest = {(number, "a"): number for number in range(5000)}
    assert value_of(pickle.dumps(honest, 2)) == honest
    many = [frozenset((1.5, (1, 2))) for _ in range(300)]
    assert value_of(pickle.dumps(many, 4)) == many


def test_rehashing_one_long_key_again_and_again_is_accounted() -> None:
    key = b"(" + b"(" + b"K\x01" * 16 + b"tq\0" + b"h\0" * 15 + b"tq\x01" + b"0(" + b"h\x01" * 16 + b"tq\x020"
    with pytest.raises(LimitExceeded, match="bytes of objects"):  # the key: 16 × 16 × 16 numbers
        value_of(key + b"}h\x02Ns0" * 20_000 + b"N.", Limits(objects=64 << 20))


def test_the_standard_library_reads_our_builders_arguments_alike() -> None:
    values = [collections.OrderedDict(a=1), collections.Counter("aab"), collections.defaultdict(int, {"x": 2})]
    for value in values:
        for protocol in range(6):
            assert value_of(pickle.dumps(value, protocol)) == dict(value)


def test_bytearray_of_a_number_allocates_nothing() -> None:
    value = value_of(forge.call("builtins.bytearray", forge.integer(1 << 36)) + b".")
    assert isinstance(value, Opaque) and value.args == (1 << 36,)
