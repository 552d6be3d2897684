"""Nothing that a file names is run, and no file crashes the reader. 50,000 mutants: `make hostile`."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hostile import forge, fuzz, generated
from hostile.examine import examine
from hostile.guard import Executed, watching

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "doing",
    [
        lambda: exec("1"),
        lambda: compile("1", "", "eval"),
        lambda: __import__("this_module_is_not_there"),
        lambda: pickle.loads(forge.pickled(forge.call("os.getenv", forge.text("x")))),
        lambda: os.system("true"),
        lambda: subprocess.run(["true"], check=False),
        lambda: Path(os.devnull).write_bytes(b""),
        lambda: os.open(os.devnull, os.O_RDWR),
    ],
    ids=["exec", "compile", "import", "pickle", "system", "subprocess", "open", "os.open"],
)
def test_the_guard_sees_what_it_should(doing: Callable[[], object]) -> None:
    with pytest.raises(Executed), watching():
        doing()


def test_the_guard_lets_reading_pass() -> None:
    with watching():
        assert Path(__file__).read_bytes()


def test_generated_pickles_run_nothing() -> None:
    """Every name of the list × every way of calling it, in all three kinds of file (a third of the protocols here)."""
    seen = set()
    for number, data in enumerate(generated.matrix()):
        if number % 3 == (number // 9) % 3:
            with watching():
                seen.add(examine(data))
    assert seen <= {"read", "MalformedCheckpoint", "TruncatedCheckpoint", "NotACheckpoint"} and "read" in seen
    assert not list(Path.cwd().glob("OPTINSPECT_MARKER_*"))


def test_the_names_that_would_be_called_are_reported() -> None:
    from containers.helpers import opened  # noqa: PLC0415

    dangerous = [name for name in generated.NAMES if name.partition(".")[0] in ("os", "posix", "subprocess", "runpy")]
    for name in dangerous:
        for way in ("reduce", "newobj", "obj", "inst", "stack_global"):
            data = forge.pickled(forge.mapping(x=generated.call(name, way, forge.text("y"))))
            assert opened(forge.torch_zip(data)).dangerous == (name,)


@pytest.mark.parametrize("seed", [11])
def test_mutants_break_no_promise(seed: int) -> None:
    from hostile.seeds import seeds  # noqa: PLC0415

    outcomes, broken = fuzz.batch((seeds(), 1500, seed))
    assert not broken, broken[0][0]
    assert sum(outcomes.values()) == 1500 and outcomes["read"] > 200 and outcomes["MalformedCheckpoint"] > 200


@pytest.mark.slow
def test_fifty_thousand_mutants_break_no_promise() -> None:
    outcomes, broken, growth = fuzz.run(50_000, 1, 2)
    assert not broken, broken[0][0]
    assert sum(outcomes.values()) > 50_000 and growth < fuzz.GROWTH


CHILD = """
import os, sys
from optinspect.containers import open_tree
from optinspect.routes import walk
from optinspect.tensors import TensorRef
allowed_open = set(sys.argv[1:])
def hook(event, arguments):
    if event == "open":
        assert not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), arguments
        assert arguments[0] in allowed_open, arguments
    else:
        assert not event.startswith(("exec", "compile", "import", "pickle", "subprocess", "socket", "ctypes")), event
sys.addaudithook(hook)
for path in sys.argv[1:]:
    with open_tree(path) as tree:
        for _, value in walk(tree.root):
            if isinstance(value, TensorRef) and value.storage.data is not None:
                value.storage.data.read_into(0, memoryview(bytearray(value.storage.nbytes)))
        tree.verify_unchanged()
print("torch" in sys.modules, "pickle" in sys.modules, "numpy" in sys.modules)
"""


def test_a_fresh_process_opens_its_files_and_does_nothing_else(tmp_path: Path) -> None:
    value = {"w": torch.ones(3), "p": torch.nn.Linear(2, 2), "s": "é", "o": Path("a")}
    paths = [tmp_path / name for name in ("zip.pt", "legacy.pt", "plain.pkl", "evil.pt")]
    torch.save(value, paths[0], pickle_protocol=4)
    torch.save(value, paths[1], _use_new_zipfile_serialization=False)
    paths[2].write_bytes(pickle.dumps({"w": torch.ones(2), "text": "a\\u20ac"}, 0))
    paths[3].write_bytes(forge.torch_zip(forge.pickled(forge.call("os.system", forge.text("touch x")))))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False", "False"], "neither torch, pickle nor numpy is needed to list"
    assert not (ROOT / "x").exists()


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "found").glob("*.bin")), ids=lambda path: path.stem)
def test_what_was_once_found_stays_found(path: Path) -> None:
    """Files that broke a promise once; each is kept under the name of what was wrong."""
    with watching():
        assert examine(path.read_bytes()) in {"read", "MalformedCheckpoint", "TruncatedCheckpoint"}
