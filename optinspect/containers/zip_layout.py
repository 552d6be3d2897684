"""What a zip archive holds, by the names of its records: a checkpoint, or one of the things that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optinspect.containers.source import Source
from optinspect.containers.wording import counted, line, printable
from optinspect.containers.zip_directory import Entry
from optinspect.errors import NotACheckpoint

_CHECKPOINT_ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pkl", ".tar")


@dataclass(frozen=True, slots=True)
class Layout:
    """`folder` ends in "/" or is empty; the others are (record, what is wrong with it).

    refusals  for these torch.load reads nothing of the file
    """

    folder: str
    refusals: tuple[tuple[str, str], ...]
    oddities: tuple[tuple[str, str], ...]


def find(source: Source, entries: Sequence[Entry]) -> Layout:
    """The folder of data.pkl. Raises NotACheckpoint with what the archive is instead."""
    names = [entry.name for entry in entries]
    pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
    first = names[0].partition("/")[0] + "/" if names and "/" in names[0] else ""
    preferred = f"{first}data.pkl"
    chosen = preferred if preferred in pickles else min(pickles, key=len, default=None)
    folder = chosen.removesuffix("data.pkl") if chosen is not None else None
    _refuse_others(source, names, folder)
    return Layout(folder or "", tuple(_refusals(names, folder or "")), tuple(_oddities(names)))


def _refusals(names: Sequence[str], folder: str) -> list[tuple[str, str]]:
    problems = []
    if folder == "":
        problems.append(
            ("data.pkl", "the records lie at the archive's root: torch.load expects one folder, and refuses")
        )
    elif folder.count("/") > 1:
        problems.append((f"{folder}data.pkl", "data.pkl lies one folder too deep: torch.load refuses the file"))
    else:
        other = next((name for name in names if not name.startswith(folder)), None)
        if other is not None:
            found = "it lies beside the checkpoint's folder: torch.load refuses the file"
            problems.append((printable(other), found))
    if f"{folder}version" not in names and f"{folder}.data/version" not in names:
        problems.append(("version", "the record is missing: torch.load refuses the file"))
    return problems


def _oddities(names: Sequence[str]) -> list[tuple[str, str]]:
    climbing = next((name for name in names if ".." in name.split("/") or name.startswith("/")), None)
    if climbing is None:
        return []
    return [(printable(climbing), "a record's name climbs out of the archive; nothing is ever extracted")]


def _refuse_others(source: Source, names: Sequence[str], folder: str | None) -> None:
    """Archives that other programs open. TorchScript holds a data.pkl too, and code beside it."""
    lowered = {name.rpartition("/")[2] for name in names}
    if any(name.endswith("constants.pkl") for name in names):
        raise _other(source, "a TorchScript archive (a checkpoint expected)", "save model.state_dict() with torch.save")
    if "archive_format" in lowered and any("/models/" in name for name in names):
        hint = "save the state_dict() with torch.save before torch.export"
        raise _other(source, "a torch.export archive (a checkpoint expected)", hint)
    if folder is not None:
        return
    if names and all(name.endswith(".npy") for name in names):
        raise _other(source, "an npz archive of numpy arrays (a checkpoint expected)", "open it with numpy.load")
    if any(name.endswith(".weights.h5") for name in names):
        hint = "its weights and optimizer are HDF5, which needs h5py or Keras to be read"
        raise _other(source, "a Keras archive, whose weights are HDF5 (a PyTorch checkpoint expected)", hint)
    inside = [name for name in names if name.endswith(_CHECKPOINT_ENDINGS)]
    if inside:
        found = f"a zip archive that holds {printable(inside[0])}"
        others = f" and {counted(len(inside) - 1, 'other file')}" if len(inside) > 1 else ""
        raise _other(source, f"{found}{others} (a checkpoint expected)", "unpack it and give the file inside")
    found = f"a zip archive without data.pkl, of {counted(len(names), 'record')} (a checkpoint expected)"
    raise _other(source, found, "unpack it and give the checkpoint inside")


def _other(source: Source, found: str, hint: str) -> NotACheckpoint:
    return NotACheckpoint(line(source.path, found), hint=hint)
