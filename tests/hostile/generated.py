"""Hostile pickles, generated: every dangerous name × the ways to call it × protocols × the files it can lie in."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from hostile import forge

NAMES = (
    "os.system", "posix.system", "nt.system", "os.popen", "os.execv", "os.remove", "os.spawnlp", "subprocess.Popen",
    "subprocess.call", "subprocess.check_output", "commands.getoutput", "builtins.eval", "builtins.exec",
    "builtins.compile", "builtins.__import__", "builtins.open", "builtins.getattr", "builtins.setattr", "builtins.map",
    "builtins.breakpoint", "builtins.globals", "__builtin__.eval", "__builtin__.execfile", "importlib.import_module",
    "runpy._run_code", "runpy.run_path", "pickle.loads", "_pickle.loads", "cloudpickle.loads", "dill.loads",
    "torch.load", "torch.jit.load", "torch.storage._load_from_bytes", "torch.hub.load", "marshal.loads",
    "types.CodeType", "types.FunctionType", "operator.attrgetter", "operator.methodcaller", "_operator.call",
    "functools.partial", "functools.reduce", "socket.create_connection", "socket.socket", "urllib.request.urlopen",
    "requests.api.get", "shutil.rmtree", "shutil.copy", "tempfile.mktemp", "webbrowser.open", "pty.spawn",
    "platform.popen", "timeit.timeit", "cProfile.run", "profile.run", "bdb.Bdb.run", "pdb.run", "trace.Trace.run",
    "code.InteractiveInterpreter.runcode", "ctypes.CDLL", "multiprocessing.util.spawnv_passfds", "asyncio.run",
    "numpy.testing._private.utils.runstring", "numpy.load", "numpy.f2py.crackfortran.getlincoef", "pandas.read_pickle",
    "joblib.load", "torch._inductor.codecache.compile_file", "torch.jit.unsupported_tensor_ops.execWrapper",
    "torch.utils.collect_env.run", "torch.serialization.os.system", "copyreg.add_extension", "copyreg._reconstructor",
    "copyreg.__newobj__", "collections.namedtuple", "idlelib.run.Executive.runcode", "lib2to3.pgen2.pgen.generate",
    "logging.config.listen", "signal.signal", "sys.setrecursionlimit", "site.main", "smtplib.SMTP", "zipfile.ZipFile",
    "collections.OrderedDict", "collections.defaultdict", "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter", "torch._tensor._rebuild_from_type_v2", "torch.Size", "torch.device",
    "builtins.bytearray", "builtins.set", "numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct",
    "numpy.dtype", "datetime.datetime", "pathlib.PosixPath", "_codecs.encode", "torch.FloatStorage",
)  # fmt: skip
CALLS = ("reduce", "newobj", "newobj_ex", "obj", "inst", "build", "stack_global", "setitem", "append", "twice")


def call(full: str, way: str, argument: bytes) -> bytes:
    """Opcodes that would call `full` with `argument`."""
    module, _, attribute = full.rpartition(".")
    named = forge.name(full)
    ways = {
        "reduce": named + argument + b"\x85R",
        "newobj": named + argument + b"\x85\x81",
        "newobj_ex": named + argument + b"\x85}\x92",
        "obj": b"(" + named + argument + b"o",
        "inst": b"(" + argument + b"i" + module.encode() + b"\n" + attribute.encode() + b"\n",
        "build": named + b")R}" + forge.text("__setstate__") + named + b"s" + b"b",
        "stack_global": forge.text(module) + forge.text(attribute) + b"\x93" + argument + b"\x85R",
        "setitem": named + b")R" + argument + argument + b"s",
        "append": named + b")R" + argument + b"a",
        "twice": named + argument + b"\x85R" + argument + b"\x85R",
    }
    return ways[way]


def matrix() -> Iterator[bytes]:
    """All of them."""
    argument = forge.text("touch OPTINSPECT_MARKER_fuzz")
    for full, way, protocol in itertools.product(NAMES, CALLS, (0, 2, 4)):
        pickle = forge.pickled(forge.mapping(model=call(full, way, argument)), protocol)
        yield forge.torch_zip(pickle)
        yield forge.torch_legacy(pickle)
        yield pickle


def arguments(rng: random.Random) -> bytes:
    """A random value that a builder may choke on."""
    choices = (
        lambda: forge.integer(rng.choice((0, -1, 1, 5, 1 << 31, 1 << 61, 1 << 62, 1 << 63, -(1 << 63), 1 << 200))),
        lambda: forge.text(rng.choice(("", "latin1", "cpu", "cuda:0", "f8", "U5", "\ud800", "../x", "torch.strided"))),
        lambda: rng.choice((b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f", b"G\x7f\xf8\0\0\0\0\0\0", b"C\x03abc")),
        lambda: forge.name(rng.choice(NAMES)),
        lambda: forge.name(rng.choice(("torch.float32", "torch.int64", "numpy.ndarray", "builtins.list"))),
        lambda: forge.storage(rng.choice(("0", "1", "x")), rng.choice((0, 1, 4, 1 << 40))),
        lambda: forge.tensor(forge.storage()),
        lambda: forge.tuple_of(*(arguments(rng) for _ in range(rng.randrange(4)))),
        lambda: b"](" + b"".join(arguments(rng) for _ in range(rng.randrange(3))) + b"e",
        lambda: call(rng.choice(NAMES), rng.choice(CALLS), arguments(rng)),
        lambda: b"q\0" + b"h\0" if rng.random() < 0.5 else b"Nq\0h\0\x86",
    )
    return rng.choice(choices)()


_BUILT = tuple(NAMES[NAMES.index("collections.OrderedDict") :])


def wild(rng: random.Random) -> bytes:
    """Names that we do build, with arguments that make no sense."""
    full = rng.choice(_BUILT) if rng.random() < 0.8 else rng.choice(NAMES)
    made = call_with(full, [arguments(rng) for _ in range(rng.randrange(8))])
    if rng.random() < 0.3:
        made += arguments(rng) + b"b"
    pickle = forge.pickled(forge.mapping(model=made, more=arguments(rng)), rng.randrange(6))
    return rng.choice((forge.torch_zip(pickle, [bytes(16)]), forge.torch_legacy(pickle, [(4, bytes(16))]), pickle))


def call_with(full: str, values: list[bytes]) -> bytes:
    return forge.name(full) + forge.tuple_of(*values) + b"R"
