"""Directory → Checkpoint: which files belong together, and what they are of each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from optinspect.checkpoint import Checkpoint, Input, ModelState
from optinspect.containers import torch_zip
from optinspect.containers.base import Limits, Tree
from optinspect.containers.held_file import HeldFile
from optinspect.containers.source import Source
from optinspect.containers.wording import line
from optinspect.directories import module_order
from optinspect.directories.base import DirectoryLayout, Found, Session, Share, Tell
from optinspect.directories.collected import SEPARATE, SKORCH, Accelerate
from optinspect.directories.dcp import Distributed
from optinspect.directories.dcp_safetensors import HuggingFaceStorage
from optinspect.directories.deepspeed import DeepSpeed
from optinspect.directories.folder import DiskFolder, Folder, ZipFolder, allow_open, read_json
from optinspect.directories.order_fits import Shape, Stepped
from optinspect.directories.others import StableBaselines, Torchtune
from optinspect.directories.rank_files import marked, others
from optinspect.directories.ranks import Ranks
from optinspect.directories.trainer import Peft, Pretrained, Trainer
from optinspect.directories.universal import Universal
from optinspect.directories.unknown import lone_file
from optinspect.directories.virtual import whole
from optinspect.errors import NotACheckpoint, OptinspectError, UnreadableFile
from optinspect.layouts import find
from optinspect.layouts.base import Wanted
from optinspect.layouts.dictionary import DICTIONARY

__all__ = [
    "DIRECTORIES",
    "DirectoryLayout",
    "config_of",
    "open_archive",
    "open_folder",
    "with_neighbours",
    "with_ranks",
]

DIRECTORIES: tuple[DirectoryLayout, ...] = (
    Distributed(),
    HuggingFaceStorage(),
    Universal(),
    DeepSpeed(),
    Trainer(),
    Accelerate(),
    Torchtune(),
    StableBaselines(),
    SKORCH,
    Ranks(),
    SEPARATE,
    Peft(),
    Pretrained(),
)
"""Asked in this order, by the names of the files. Where none knows a directory, its only checkpoint file is opened."""

ARCHIVES: tuple[DirectoryLayout, ...] = (StableBaselines(),)
"""Those whose directory may be packed into one zip file."""

CONFIG = "config.json"


def open_archive(
    path: str, role: str, limits: Limits, *, model_key: str | None = None, optimizer_key: str | None = None
) -> Checkpoint | None:
    """A zip archive of checkpoint files, as stable-baselines3 writes it; None where it is another kind of file."""
    file = HeldFile(path)
    try:
        source = Source(path, file, (file,))
        folder = ZipFolder.of(source, limits) if torch_zip.recognises(source.head(4)) else None
        layout = next((one for one in ARCHIVES if folder is not None and one.recognises(folder)), None)
        if folder is None or layout is None:
            file.close()
            return None
        holder = Tree(path, "zip", file.size, None, integrity="none", held=(file,))
        return _opened(folder, layout, role, limits, Wanted(model_key, optimizer_key), (holder,))
    except BaseException:
        file.close()
        raise


def open_folder(
    path: str,
    role: str,
    limits: Limits,
    *,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    progress: Tell | None = None,
) -> Checkpoint:
    """Open what a directory holds, also given by its `.metadata`; the Checkpoint's tree closes the files.

    Raises NotACheckpoint for a folder without any, UsageError for keys that are not there, and what opening raises.
    """
    folder = DiskFolder(path if os.path.isdir(path) else os.path.dirname(path) or os.curdir)  # noqa: PTH112, PTH120
    layout = next((layout for layout in DIRECTORIES if layout.recognises(folder)), None)
    allow_open(len(folder.files))
    if layout is not None:
        return _opened(folder, layout, role, limits, Wanted(model_key, optimizer_key), progress=progress)
    name = lone_file(folder)
    with ExitStack() as stack:
        try:
            tree = Session(folder, limits, stack).open(name)
        except NotACheckpoint:
            inside = os.path.join(folder.path, name)  # noqa: PTH118  the path may be no valid Path
            packed = open_archive(inside, role, limits, model_key=model_key, optimizer_key=optimizer_key)
            if packed is None:
                raise
            return packed
        found = find([(role, tree)], model_key=model_key, optimizer_key=optimizer_key)
        checkpoint = marked(with_neighbours(found))
        stack.pop_all()
    return checkpoint


def with_ranks(checkpoint: Checkpoint, limits: Limits, wanted: Wanted) -> Checkpoint:
    """A file that is one rank's: with those of the other ranks that lie beside it, or marked as a part."""
    found = others(checkpoint)
    if found is None:
        return marked(checkpoint)
    folder, layout = found
    allow_open(len(folder.files))
    (given,) = checkpoint.inputs
    together = _opened(folder, layout, given.role, limits, wanted)
    checkpoint.close()
    (of_all,) = together.inputs
    return replace(together, inputs=(replace(of_all, path=given.path, container=given.container),))


def _opened(
    folder: Folder,
    layout: DirectoryLayout,
    role: str,
    limits: Limits,
    wanted: Wanted,
    around: tuple[Tree, ...] = (),
    *,
    progress: Tell | None = None,
) -> Checkpoint:
    """`around`: what has to be closed after the files that lie in it."""
    with ExitStack() as stack:
        session = Session(folder, limits, stack, share=Share(progress))
        found = layout.gather(session)
        if not session.parts:
            raise _nothing(session)
        tree = whole(session, found, around)
        checkpoint = DICTIONARY.find(tree, wanted)
        files = tuple(part.name for part in session.parts)
        given = Input(role, folder.path, tree.container, layout.name, tree.size, tree.byteorder, files)
        stepped = _stepped(checkpoint)
        models = tuple(_told(model, found, stepped) for model in checkpoint.models)
        stack.pop_all()  # the checkpoint's tree holds them from here on
    return marked(replace(checkpoint, inputs=(given,), trees=(tree,), models=models))


def _nothing(session: Session) -> OptinspectError:
    """No file could be read at all: the first reason speaks for them."""
    first = session.problems[0] if session.problems else None
    why = f"{first.route}: {first.message}" if first else "no file of a checkpoint is in it"
    return UnreadableFile(line(session.folder.path, why), hint="check the files in it, or copy them again")


def _stepped(checkpoint: Checkpoint) -> Stepped:
    groups: dict[tuple[int, int], list[Shape | None]] = {}
    for number, optimizer in enumerate(checkpoint.optimizers):
        for parameter in optimizer.parameters:
            groups.setdefault((number, parameter.group), []).append(parameter.shape)
    return tuple(groups.values())


def _told(model: ModelState, found: Found, stepped: Stepped) -> ModelState:
    """What the directory knows of a model beyond its tensors: its order, its role, its buffers."""
    key = next((key for key in found.root if model.route == key or model.route.startswith((f"{key}.", f"{key}["))), "")
    if key in found.roles:
        model = replace(model, role=found.roles[key])
    if found.buffers:
        told = (replace(one, kind="buffer") if one.key in found.buffers else one for one in model.entries)
        model = replace(model, entries=tuple(told))
    if key in found.unordered:
        model = module_order.restored(replace(model, ordered=False), found.config, stepped)
    return model


def with_neighbours(checkpoint: Checkpoint) -> Checkpoint:
    """A file's models in module order, where config.json beside it or the names tell the architecture."""
    if all(model.ordered for model in checkpoint.models):
        return checkpoint
    stepped = _stepped(checkpoint)
    models = tuple(
        model
        if model.ordered
        else module_order.restored(model, config_of(checkpoint.inputs[model.input].path), stepped)
        for model in checkpoint.models
    )
    return replace(checkpoint, models=models)


def config_of(path: str) -> Mapping[str, Any]:
    """config.json in the directory, or beside the file; empty where there is none that can be read."""
    parent = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH112, PTH120
    if not os.path.isfile(os.path.join(parent, CONFIG)):  # noqa: PTH113, PTH118
        return {}
    try:
        value = read_json(DiskFolder(parent), CONFIG)
    except OptinspectError:
        return {}
    return value if isinstance(value, dict) else {}
