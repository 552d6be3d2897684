"""DeepSpeed's universal checkpoint: zero/<name>/fp32.pt, exp_avg.pt, exp_avg_sq.pt, step.pt, one folder a parameter.

Each file holds {"param": tensor}, the parameter whole. Which group a parameter is in stands in `param_shapes` of the
model states beside; without these, all are listed under the first group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optinspect.containers.geometry import contiguous
from optinspect.containers.raw import elements_of
from optinspect.directories.base import Found, Session, found_in
from optinspect.directories.folder import Folder, read_text
from optinspect.directories.trainer import COMPANIONS, STATE, companions
from optinspect.directories.zero_files import MODEL
from optinspect.errors import LimitExceeded, OptinspectError, UnreadableTensor
from optinspect.layouts.base import mapping, sequence
from optinspect.tensors import Storage, TensorRef

LATEST = "latest_universal"
FOLDER = "zero"
WEIGHT = "fp32"
GROUPS = "optimizer_state.pt"
LEFT_OUT = ("module", "optimizer", "param_shapes", "buffer_names", "ds_config", "shared_params")


class Universal:
    """What `ds_to_universal` writes: given by its tag's folder, or by the folder with `latest_universal`."""

    name = "deepspeed-universal"

    def recognises(self, folder: Folder) -> bool:
        tag = _tag(folder)
        return _is_universal(folder) or (tag in folder.folders and _is_universal(folder.inside(tag)))

    def gather(self, session: Session) -> Found:
        if not _is_universal(session.folder):
            session = session.inside(_tag(session.folder))
        states = next((session.try_open(name) for name in session.folder.files if MODEL.fullmatch(name)), None)
        beside = mapping(states.root) or {} if states is not None else {}
        zero = session.inside(FOLDER)
        common = mapping(tree.root) if GROUPS in zero.folder.files and (tree := zero.try_open(GROUPS)) else {}
        weights: dict[str, Any] = {}
        slots: dict[str, dict[str, Any]] = {}
        for name in zero.folder.folders:
            held = _held(zero.inside(name), len(zero.folder.folders))
            if WEIGHT in held:
                weights[name] = held.pop(WEIGHT)
            if held:
                slots[name] = held
        order = _grouped(beside, list(slots))
        groups = _groups(mapping(common) or {}, order)
        root: dict[str, Any] = {key: value for key, value in beside.items() if key not in LEFT_OUT}
        listed = [name for names in order for name in names]
        ordered = {name: weights[name] for name in _module_order(beside, [*listed, *weights]) if name in weights}
        root |= {"model": ordered, "optimizer": {"state": slots, "param_groups": groups}}
        companions(session, tuple(kind for kind in COMPANIONS if kind[0] != "optimizer"), root)
        if state := session.json(STATE):
            root["trainer_state"] = state
        buffers = frozenset(name for name in sequence(beside.get("buffer_names")) or () if isinstance(name, str))
        return Found(root, buffers=buffers)


def _is_universal(folder: Folder) -> bool:
    return FOLDER in folder.folders and GROUPS in folder.inside(FOLDER).files


def _tag(folder: Folder) -> str:
    try:
        return read_text(folder, LATEST, 4096).strip() if LATEST in folder.files else ""
    except OptinspectError:
        return ""


def _module_order(beside: Mapping[Any, Any], names: list[str]) -> list[str]:
    """As the module's own state_dict lists them, then the others."""
    module = mapping(beside.get("module")) or {}
    return [*dict.fromkeys([*(name for name in module if name in set(names)), *names])]


def _held(session: Session, folders: int) -> dict[str, Any]:
    """Slot → value of one parameter. The files are closed again: there may be more than a process may have open."""
    held: dict[str, Any] = {}
    for name in session.folder.files:
        slot, dot, ending = name.rpartition(".")
        if not dot or ending != "pt":
            continue
        value = _value(session, name)
        if value is not None:
            held[slot] = value
    session.share.add(1000 / folders)
    return held


def _value(session: Session, name: str) -> Any:
    """What the file holds: of a tensor, where it is to be read when it is wanted."""
    try:
        with _opened(session, name) as tree:
            inner = mapping(tree.root)
            value = inner.get("param") if inner is not None else tree.root
            if not isinstance(value, TensorRef):
                return value
            problem = value.problem or (tree.problems[0].message if tree.problems else None)
            data = None if problem else _Reopened(session, name, value.nbytes)
            size = value.nbytes
            storage = Storage(f"{session.prefix}{name}", value.dtype, size, "cpu", data, "little", problem)
            return TensorRef(value.dtype, value.shape, contiguous(value.shape), 0, storage, problem=problem)
    except LimitExceeded:
        raise
    except OptinspectError as error:
        session.problem("missing", name, found_in(error, name))
        return None


def _opened(session: Session, name: str) -> Any:
    from optinspect.containers import open_source  # noqa: PLC0415  as Session.open, but not kept open

    source = session.folder.source(name)
    try:
        return open_source(source, session.limits)
    except BaseException:
        for held in source.held:
            held.close()
        raise


class _Reopened:
    """The elements of the tensor in one file, which is open only while it is read."""

    __slots__ = ("_name", "_session", "size")

    def __init__(self, session: Session, name: str, size: int) -> None:
        self._session, self._name, self.size = session, name, size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Raises what opening raises; UnreadableTensor where the file holds another tensor now."""
        with _opened(self._session, self._name) as tree:
            inner = mapping(tree.root)
            tensor = inner.get("param") if inner is not None else tree.root
            if not isinstance(tensor, TensorRef) or tensor.nbytes != self.size:
                raise UnreadableTensor(f"{self._session.prefix}{self._name}: changed since it was opened")
            elements_of(tensor).read_into(offset, buffer)


def _grouped(beside: Mapping[Any, Any], names: list[str]) -> list[list[str]]:
    """Names by group: as `param_shapes` lists them; what it does not list, last in the first group."""
    listed = sequence(beside.get("param_shapes")) or ([shapes] if (shapes := beside.get("param_shapes")) else [])
    groups = [[name for name in mapping(one) or {} if name in set(names)] for one in listed]
    known = {name for group in groups for name in group}
    rest = [name for name in names if name not in known]
    if not groups:
        return [rest]
    groups[0] += rest
    return groups


def _groups(common: Mapping[Any, Any], order: list[list[str]]) -> list[dict[Any, Any]]:
    """param_groups with names for the numbers of flat buffers; stage 3 may have divided a group in several."""
    groups = [dict(held) for one in sequence(common.get("param_groups")) or () if (held := mapping(one)) is not None]
    if not groups:
        return [{"params": names} for names in order]
    taken = 0
    for place, group in enumerate(groups):
        count = len(sequence(group.get("params")) or (0,)) if len(groups) < len(order) else 1
        last = place == len(groups) - 1
        mine = order[taken:] if last else order[taken : taken + count]
        taken += count
        group["params"] = [name for names in mine for name in names]
    return groups
