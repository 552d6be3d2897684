"""What a checkpoint is, whatever wrote it: frozen descriptions without I/O.

Checkpoint ── inputs      the files, with container and layout
           ├─ models      ModelState: named tensors in the order the file gives them
           ├─ optimizers  OptimizerState: groups, and per parameter its slots
           └─ companions  schedulers, scalers, random states, averaged copies, counters, the rest
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from optinspect.tensors import AnyTensor, ByteOrder, CompositeRef, TensorRef

Key = int | str
"""How an optimizer's state_dict refers to a parameter: a position, an id() (torch ≤ 1.4) or a name (FQN)."""

Family = str
"""An optimizer by its class name in the field: "AdamW", "SGD", "Lion"."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that is not as it should be, but does not stop the reading."""

    kind: Literal["geometry", "truncated", "missing", "integrity", "structure", "refused"]
    """"refused": torch.load reads nothing of such a file."""
    route: str
    """Where: "optimizer.state[3].exp_avg", or a record's name."""
    message: str


@dataclass(frozen=True, slots=True)
class Input:
    """A file or directory that was read."""

    role: str
    """"checkpoint", "model_state", "a", "b", "previous"."""
    path: str
    container: str
    layout: str
    bytes: int
    byteorder: ByteOrder = "little"
    files: tuple[str, ...] = ()
    """Of a directory: the files that were read, relative to `path`."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One tensor of a model, once, however many names it has."""

    name: str
    """Without wrapper prefixes ("module.", "_orig_mod.")."""
    key: str
    """As stored."""
    tensor: AnyTensor
    kind: Literal["parameter", "parameter?", "buffer", "buffer?"]
    """Without "?" where the file itself says so (a pickled module)."""
    aliases: tuple[str, ...] = ()
    """Other names of the same elements (tied weights), in order."""
    beside: bool = False
    """Of no model's state_dict: it lies beside the models and fits a parameter that none has (a criterion's)."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def is_buffer(self) -> bool:
        return self.kind.startswith("buffer")


@dataclass(frozen=True, slots=True)
class Filling:
    """How a framework fills `param_groups` from a model: for each group the names and shapes, in order."""

    title: str
    groups: tuple[tuple[tuple[str, tuple[int, ...]], ...], ...]


@dataclass(frozen=True)
class ModelState:
    """A model's named tensors.

    ordered  the file keeps `named_parameters()` order (a pickled dict does, a safetensors header does not)
    role     "model"; "ema" for an averaged copy that no optimizer steps; "copy" for other weights that none steps:
             the best so far, a target or teacher network, a twin that was not taken as the trained one
    """

    route: str
    entries: tuple[ModelEntry, ...]
    ordered: bool
    role: Literal["model", "ema", "copy"] = "model"
    prefix: str = ""
    """What was taken off the stored keys, for the report."""
    input: int = 0
    """Which of Checkpoint.inputs it lies in."""
    order_from: str = ""
    """Where the order of `entries` was learnt when the file keeps none: the architecture, and what told it."""
    modules: frozenset[str] = frozenset()
    """Paths of the modules that wrote it, as stored keys begin; empty where the file has no torch `_metadata`."""
    fillings: tuple[Filling, ...] = ()
    """Ways in which the model's own class has its parameters grouped, where the caller let that class be asked."""

    @cached_property
    def by_name(self) -> Mapping[str, ModelEntry]:
        return {name: entry for entry in self.entries for name in (entry.name, *entry.aliases)}

    @property
    def parameters(self) -> tuple[ModelEntry, ...]:
        return tuple(entry for entry in self.entries if not entry.is_buffer)

    @property
    def elements(self) -> int:
        return sum(entry.tensor.numel for entry in self.parameters)


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """One of `param_groups`: `params` as stored, `names` of them where the file has names.

    Names are param_names, the params themselves where they are names (FQN), or those of the very tensors that a
    pickled optimizer lists; wrapper prefixes that all of them share are taken off. None where there are none, or where
    their number does not fit.
    """

    number: int
    params: tuple[Key, ...]
    names: tuple[str, ...] | None
    hyperparameters: Mapping[str, Any]
    """Every other key as stored; a 0-d tensor lr is already a number here."""

    def number_of(self, key: str) -> float | None:
        """A hyperparameter as a float; None when it is absent or no number."""
        value = self.hyperparameters.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class ParameterState:
    """What an optimizer keeps for one parameter.

    index  position over all groups, counted from 0; key: as stored in the file
    slots  the state by slot name ("exp_avg", "step", …): tensors and plain values; nested ones are flat ("Q.0")
    shape  of the parameter as its slots show it; None where no slot has the parameter's shape
    step   completed updates; None where the file has none
    """

    index: int
    key: Key
    group: int
    slots: Mapping[str, Any]
    shape: tuple[int, ...] | None
    step: float | None
    present: Literal["present", "missing", "partial"]

    @property
    def tensors(self) -> Iterator[tuple[str, AnyTensor]]:
        """Slots that hold a tensor, the step counter left out."""
        for slot, value in self.slots.items():
            if slot != "step" and isinstance(value, TensorRef | CompositeRef):
                yield slot, value

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.slots.values() if isinstance(value, TensorRef | CompositeRef))


@dataclass(frozen=True)
class OptimizerState:
    """An optimizer's state_dict. `families` holds one name where the file decides, several where it cannot."""

    route: str
    groups: tuple[ParamGroup, ...]
    parameters: tuple[ParameterState, ...]
    families: tuple[Family, ...]
    orphans: tuple[Key, ...] = ()
    """Keys of `state` that no group lists."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other keys beside `state` and `param_groups`."""
    input: int = 0

    @property
    def family(self) -> Family | None:
        return self.families[0] if len(self.families) == 1 else None

    @property
    def steps(self) -> tuple[float, ...]:
        return tuple(p.step for p in self.parameters if p.step is not None)

    @property
    def nbytes(self) -> int:
        return sum(p.nbytes for p in self.parameters)


@dataclass(frozen=True, slots=True)
class Companion:
    """A scheduler, GradScaler or random state as the file holds it: plain data under its route."""

    route: str
    kind: str
    """"scheduler", "scaler", "rng"."""
    value: Any
    name: str | None = None
    """The class, where its keys or the file tell it ("CosineAnnealingLR")."""
    input: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """Everything a layout found. `owner` is the open container(s): keep it while tensors are to be read."""

    inputs: tuple[Input, ...]
    models: tuple[ModelState, ...]
    optimizers: tuple[OptimizerState, ...]
    schedulers: tuple[Companion, ...] = ()
    scalers: tuple[Companion, ...] = ()
    rng: tuple[Companion, ...] = ()
    counters: Mapping[str, int | float] = field(default_factory=dict)
    """route → value of what counts steps, epochs or iterations."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else is at the top: route → value."""
    opaque: Mapping[str, int] = field(default_factory=dict)
    """Names of classes and functions that were kept inert → how often."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """Said in the report: choices made, ambiguous keys, prefixes taken off."""
    trees: tuple[Any, ...] = ()
    """The open containers (containers.base.Tree), one an input."""
    part: str = ""
    """Whose part of the tensors was read ("rank 0 of 2"), where the other ranks' parts are not there."""
    outside: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Route and shape of floating tensors in no model, optimizer or companion: any may be a parameter all the same."""

    @property
    def averaged(self) -> tuple[ModelState, ...]:
        return tuple(model for model in self.models if model.role == "ema")

    def close(self) -> None:
        for tree in self.trees:
            tree.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
