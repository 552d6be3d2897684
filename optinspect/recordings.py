"""Recorded gradients, read back: files and folders of the Recorder, or of anybody who writes the same format.

    with open_recording(["run/grads"]) as recording:
        recording.steps                          step counts *before* each update, ascending
        recording.keys                           what gradients are recorded under: names, or indices of the optimizer
        key = recording.key_of("wte.weight", 0)  the name where it is recorded, else the index, else None
        gradient = recording.used(key, step)     a TensorRef of the parameter's shape; None where it had no gradient
        recording.lrs(step)                      one lr a group, or None where they were not recorded
        recording.need(100, 10)                  refuses where steps 100…109 are not all there

One file is a torch zip `{"steps": [t, …], "used": {name or index: tensor (steps, *shape)}, "lrs": [[…], …]}`, or
safetensors with the tensors and `steps` (and `lrs`) as JSON in its metadata. Parts are joined by step. Everything goes
through our own reader: nothing in a file is executed, and torch is not needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path

from optinspect.containers.base import Tree
from optinspect.containers.wording import line
from optinspect.errors import FileChanged, Undecidable, UnreadableFile, UsageError
from optinspect.recording_parts import JOURNAL, Key, Part, Place, open_part, places, read_part, tensors_of
from optinspect.tensors import TensorRef

__all__ = ["Key", "Part", "Recording", "open_recording"]

SUFFIXES = (".pt", ".pth", ".safetensors")
"""Of the files of a folder that no Recorder wrote."""
PART = "part-*.pt"
MOST_OPEN = 8
"""Files that are held open at once: a long run has more parts than a process may open files."""


class Recording:
    """Parts joined by step; close it, or use it in a `with` statement. Not for several threads at once."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(sorted(parts, key=lambda part: part.steps[0]))
        self._where: dict[int, tuple[Part, int]] = {}
        for part in self.parts:
            for row, step in enumerate(part.steps):
                if step in self._where:
                    raise _twice(step, self._where[step][0], part)
                self._where[step] = part, row
        self.steps: tuple[int, ...] = tuple(sorted(self._where))
        self.shapes = _joined_shapes(self.parts)
        self._open: OrderedDict[tuple[str, Place | None], Tree] = OrderedDict()

    @property
    def keys(self) -> tuple[Key, ...]:
        """Of every parameter that had a gradient at some step, in the order of the files."""
        return tuple(self.shapes)

    @property
    def named(self) -> bool:
        """Recorded under names rather than indices."""
        return any(isinstance(key, str) for key in self.shapes)

    def key_of(self, name: str | None, index: int) -> Key | None:
        """What a parameter is recorded under: its name, else its index; None where it has no gradient at any step.

        Raises Undecidable for a parameter without a name where only names were recorded.
        """
        if name in self.shapes:
            return name
        if self.named and name is None:
            raise Undecidable(f"recorded gradients are under names (index {index} of the optimizer has none)")
        return index if index in self.shapes else None

    def need(self, start: int, count: int) -> None:
        """Raise Undecidable naming the first of steps start … start+count−1 that is not recorded."""
        missing = next((step for step in range(start, start + count) if step not in self._where), None)
        if missing is not None:
            raise Undecidable(
                f"recorded gradients: none for the step from {missing} to {missing + 1} (recorded: {self.span})",
                hint=f"--grads needs every step from {start} on; give all parts, or fewer --steps",
            )

    @property
    def span(self) -> str:
        """ "20…29, 40…49": the runs of steps without gaps."""
        runs: list[list[int]] = []
        for step in self.steps:
            if runs and step == runs[-1][1] + 1:
                runs[-1][1] = step
            else:
                runs.append([step, step])
        told = [str(low) if low == high else f"{low}…{high}" for low, high in runs[:4]]
        return ", ".join(told) + (f", … {runs[-1][1]}" if len(runs) > 4 else "")

    def used(self, key: Key, step: int) -> TensorRef | None:
        """The gradient that the optimizer used in the step from `step` to `step + 1`; None where there was none.

        Its values are to be read before other parts are asked for (MOST_OPEN files are kept open).
        Raises Undecidable for a step that is not recorded, FileChanged, and what opening a file raises.
        """
        if step not in self._where:
            self.need(step, 1)
        part, row = self._where[step]
        if key not in part.shapes:
            return None
        stack = tensors_of(self._tree(part)).get(key)
        if not isinstance(stack, TensorRef) or stack.shape != (len(part.steps), *part.shapes[key]):
            raise FileChanged(line(part.path, "changed while it was read"), hint="run it again")
        start = stack.offset + row * stack.stride[0]
        return replace(stack, shape=stack.shape[1:], stride=stack.stride[1:], offset=start)

    def lrs(self, step: int) -> tuple[float, ...] | None:
        """The lr of each group in the step from `step` to `step + 1`; None where they were not recorded."""
        part, row = self._where[step]
        return part.lrs[row] if part.lrs is not None else None

    def _tree(self, part: Part) -> Tree:
        at = part.path, part.place
        tree = self._open.pop(at, None) or open_part(*at)
        self._open[at] = tree
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return tree

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_recording(paths: Iterable[str | PathLike[str]]) -> Recording:
    """Read what the files and folders hold; values are read when they are asked for.

    Raises UsageError for no paths or an empty folder, MalformedCheckpoint naming the file that is no recording,
    Undecidable for a step or a shape on which parts disagree, and what opening a file raises.
    """
    files = [file for path in paths for file in _files(Path(fspath(path)))]
    if not files:
        raise UsageError("recorded gradients: no file given (expected a file or folder)", hint="--grads FILE")
    parts = [read_part(str(file), place) for file in files for place in _steps_in(file)]
    if not parts:
        raise Undecidable(f"{files[0]}: no complete step in this journal (expected recorded gradients)")
    return Recording(parts)


def _files(path: Path) -> list[Path]:
    """The files of a recording; a journal whose part is there is left over from a crash just after saving it."""
    if not path.is_dir():
        return [path]
    try:
        every = sorted(path.iterdir())
    except OSError as problem:
        raise UnreadableFile(line(path, f"{problem.strerror or problem} (expected a readable folder)")) from problem
    parts = [each for each in every if each.match(PART)]
    journals = [each for each in every if each.suffix == JOURNAL and each.with_suffix(".pt") not in parts]
    found = parts + journals or [each for each in every if each.suffix in SUFFIXES]
    if not found:
        raise UsageError(line(path, "no recorded gradients in this folder (expected part-000001.pt, …)"))
    return found


def _steps_in(file: Path) -> Iterable[Place | None]:
    return places(str(file)) if file.suffix == JOURNAL else (None,)


def _twice(step: int, one: Part, other: Part) -> Undecidable:
    return Undecidable(
        f"{other.path}: step {step} is in {Path(one.path).name} too (expected every step once)",
        hint="after a run was resumed, give only the parts that its checkpoint descends from",
    )


def _joined_shapes(parts: Iterable[Part]) -> dict[Key, tuple[int, ...]]:
    shapes: dict[Key, tuple[int, ...]] = {}
    for part in parts:
        for key, shape in part.shapes.items():
            if shapes.setdefault(key, shape) != shape:
                told = f"{key!s:.60} has shape {list(shape)} (elsewhere {list(shapes[key])})"
                raise Undecidable(line(part.path, told))
    return shapes
