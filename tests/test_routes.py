"""Walking a tree: every value once for each reference, containers once, and a route that a person can read."""

from __future__ import annotations

from typing import Any

import pytest
from hostile import forge

from optinspect.containers import Limits, open_source
from optinspect.containers.source import Source
from optinspect.errors import LimitExceeded
from optinspect.opaque import Opaque
from optinspect.routes import format_route, walk
from optinspect.tensors import MemoryBytes


def test_routes_read_like_python() -> None:
    tree = {
        "optimizer": {"state": {3: {"exp_avg": "m"}}},
        "model": {"a.b": 1, "x": [2, (3,)]},
        b"k": 4,
        None: 5,
        (1, 2): 6,
    }
    routes = [format_route(route) for route, value in walk(tree) if not isinstance(value, dict | list | tuple)]
    assert routes == [
        "optimizer.state[3].exp_avg",
        'model["a.b"]',
        "model.x[0]",
        "model.x[1][0]",
        "[b'k']",
        "[None]",
        "[tuple]",
    ]
    assert format_route(()) == "" and format_route(("0", "a")) == '["0"].a'


def test_opaques_are_entered() -> None:
    made = Opaque("m.C", (7,))
    made.state = ({"_parameters": {"w": 1}}, {"slot": 2})
    made.items["k"] = 3
    made.entries.append(4)
    found = {format_route(route): value for route, value in walk({"o": made}) if isinstance(value, int)}
    assert found == {"o._parameters.w": 1, "o.slot": 2, "o.k": 3, "o[0]": 4, "o.args[0]": 7}


def test_cycles_and_shared_containers_end() -> None:
    cyclic: dict[str, Any] = {"leaf": 1}
    cyclic["self"] = cyclic
    assert sum(1 for _ in walk(cyclic)) == 3
    laughs: Any = [1]
    for _ in range(50):
        laughs = [laughs] * 10
    assert sum(1 for _ in walk(laughs)) == 50 * 10 + 2


@pytest.mark.parametrize("opcode", [b"\x85", b"\x8f", b"]"], ids=["tuple", "set", "list"])
def test_trees_too_deep_for_recursion_are_refused(opcode: bytes) -> None:
    nested = {b"\x85": b"N" + b"\x85" * 300, b"]": b"]" * 300 + b"a" * 299, b"\x8f": b"]" * 250 + b"a" * 249}[opcode]
    with pytest.raises(LimitExceeded, match="levels of nesting"):
        open_source(Source("x", MemoryBytes(forge.torch_zip(forge.pickled(nested)))))
    flat = open_source(Source("x", MemoryBytes(forge.torch_zip(forge.pickled(b"N" + b"\x85" * 150)))), Limits())
    assert flat.root[0][0]
