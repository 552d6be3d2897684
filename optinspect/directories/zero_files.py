"""Which files of a DeepSpeed directory are whose: `latest`, the tag's folder, model and optimizer files by rank."""

from __future__ import annotations

import re
from dataclasses import dataclass

from optinspect.directories.base import Session
from optinspect.directories.folder import Folder, natural, read_text
from optinspect.errors import OptinspectError

LATEST = "latest"
MODEL = re.compile(r"(?:zero_pp_rank_(?P<rank>\d+)_)?mp_rank_(?P<mp>\d+)_model_states\.pt")
OPTIMIZER = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(?P<rank>\d+)_mp_rank_(?P<mp>\d+)_optim_states\.pt")
TAG = re.compile(r"global_step\d+")


@dataclass(frozen=True, slots=True)
class Files:
    """session: in the tag's folder; model, optimizer: rank → file, of the first model-parallel rank."""

    session: Session
    model: dict[int, str]
    optimizer: dict[int, str]
    model_parallel: int


def is_deepspeed(folder: Folder) -> bool:
    if _has_files(folder):
        return True
    if LATEST not in folder.files and not any(TAG.fullmatch(name) for name in folder.folders):
        return False
    return any(_has_files(folder.inside(name)) for name in _tags(folder))


def _has_files(folder: Folder) -> bool:
    return any(MODEL.fullmatch(name) or OPTIMIZER.fullmatch(name) for name in folder.files)


def _tags(folder: Folder) -> tuple[str, ...]:
    """Folders that may be a tag's, the one that `latest` names first, then the newest."""
    named = _latest(folder)
    numbered = [name for name in natural(folder.folders) if TAG.fullmatch(name)]
    return tuple(dict.fromkeys([*([named] if named in folder.folders else []), *reversed(numbered)]))


def _latest(folder: Folder) -> str:
    try:
        return read_text(folder, LATEST, 4096).strip() if LATEST in folder.files else ""
    except OptinspectError:
        return ""


def find(session: Session) -> Files:
    """The files of the save that `latest` names; a tag without a folder is a problem (a save that was interrupted)."""
    if not _has_files(session.folder):
        tags = [name for name in _tags(session.folder) if _has_files(session.folder.inside(name))]
        named = _latest(session.folder)
        if named and named != tags[0]:
            told = f"names {named[:60]!r}, which is not there: {tags[0]!r} is shown (an interrupted save?)"
            session.problem("missing", LATEST, told)
        session = session.inside(tags[0])
    folder = session.folder
    models = [match for name in folder.files if (match := MODEL.fullmatch(name))]
    optimizers = [match for name in folder.files if (match := OPTIMIZER.fullmatch(name))]
    parallel = {int(match["mp"]) for match in (*models, *optimizers)}
    lowest = min(parallel)
    return Files(
        session,
        {int(match["rank"] or 0): match[0] for match in models if int(match["mp"]) == lowest},
        {int(match["rank"]): match[0] for match in optimizers if int(match["mp"]) == lowest},
        len(parallel),
    )
