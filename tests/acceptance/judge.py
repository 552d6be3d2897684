"""One case of an honest room against its truth: what is wrong, and how the names score."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optinspect.blocks import chunks
from optinspect.checkpoint import Checkpoint, OptimizerState
from optinspect.errors import MAX_MESSAGE, OptinspectError
from optinspect.naming import name_parameters
from optinspect.naming.base import NamedParameter, Naming
from optinspect.reading import open_checkpoint
from optinspect.tensors import CompositeRef, TensorRef

from .corpus import Case, TrueOptimizer
from .values import differences, load_with_torch

CERTAIN = ("live", "step", "recorded", "forced")
"""Evidence that may not be wrong on a file that nobody edited."""
WRAPPERS = re.compile(r"\b(module|_orig_mod)\.|(?<=\.)(?<=lora_[AB]\.)default\.|(?<=\.)modules_to_save\.default\.")
"""What wrappers put into live names; PEFT's files leave the adapter's name out."""


@dataclass
class Verdict:
    """`wrong` is empty for a case that passes; the counters add up over cases."""

    case: str
    refused: str | None = None
    wrong: list[str] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)
    """"forced right", "order wrong", "none none", …; "position right" and "position wrong" for comparison."""
    tensors: int = 0
    """Compared with torch, bit for bit."""
    sums: int = 0
    """State tensors whose float64 sum is the truth's."""
    unread: int = 0
    """Files that torch could not read here."""


def judge(case: Case) -> Verdict:
    """Open every file of the case through the public way and compare."""
    verdict = Verdict(case.id)
    for path, model in case.files:
        try:
            with open_checkpoint(str(path), model_state=None if model is None else str(model)) as checkpoint:
                _compare(case, path, checkpoint, verdict)
        except OptinspectError as error:
            verdict.refused = f"{error.kind}: {error.message}"
            if not case.refusable:
                verdict.wrong.append(f"refused: {verdict.refused}")
            if len(error.message) > MAX_MESSAGE or "\n" in error.message:
                verdict.wrong.append(f"message of {len(error.message)} characters or several lines")
        except Exception as bug:
            verdict.wrong.append(f"BUG {type(bug).__name__}: {bug}")
    return verdict


def _compare(case: Case, path: Path, checkpoint: Checkpoint, verdict: Verdict) -> None:
    told = [one for one in case.optimizers if (case.folder / one.file) == path]
    edited = case.room == "faults" and not told  # truth tells only what was edited; the rest must still be readable
    if len(checkpoint.optimizers) != len(told) and not edited:
        routes = [one.route for one in checkpoint.optimizers]
        verdict.wrong.append(f"{len(told)} optimizers expected, found {routes}")
    namings = name_parameters(checkpoint)
    for truth, found, naming in zip(told, checkpoint.optimizers, namings, strict=False):
        where = found.route or "(top)"
        verdict.wrong += [f"{where}: {line}" for line in optimizer_faults(truth, found)]
        _score(case, truth, checkpoint, naming, verdict)
        lines = list(fingerprints(truth, found))
        verdict.sums += lines.count("=")
        verdict.wrong += [f"{where}: {line}" for line in lines if line != "="][:5]
    _values(case, checkpoint, verdict)


def optimizer_faults(truth: TrueOptimizer, found: OptimizerState) -> Iterator[str]:
    """Differences in class, groups, steps, shapes and slots."""
    # torch's AdamW is Adam with decoupled_weight_decay: one rule, two names, nothing in the file tells them apart.
    decoupled = any(group.get("decoupled_weight_decay") for group in truth.groups)
    accepted = {truth.family, "AdamW" if decoupled and truth.family == "Adam" else truth.family}
    if found.families and not accepted.intersection(found.families):
        yield f"family {found.families} (truth: {truth.cls})"
    if not found.families and truth.cls.startswith("torch.optim.") and "lookahead_slow_buff" not in truth.slots:
        yield f"no family (truth: {truth.cls})"
    if len(found.groups) != len(truth.groups):
        yield f"{len(found.groups)} groups (truth: {len(truth.groups)})"
    for group, expected in zip(found.groups, truth.groups, strict=False):
        for key, value in expected.items():
            if isinstance(value, bool):
                continue  # switched after saving in some cases; compared with torch's own reading of the file instead
            if key == "param_names":
                if [bare(name, "") for name in group.names or ()] != [bare(name, "") for name in value]:
                    yield f"group {group.number}: names {group.names!r:.60} (truth: {value!r:.60})"
                continue
            got = group.hyperparameters.get(key, "(absent)")
            if not _same(got, value):
                yield f"group {group.number}: {key} = {got!r:.60} (truth: {value!r:.60})"
    if len(found.parameters) != len(truth.names):
        yield f"{len(found.parameters)} parameters (truth: {len(truth.names)})"
    yield from _parameter_faults(truth, found)


def _parameter_faults(truth: TrueOptimizer, found: OptimizerState) -> Iterator[str]:
    for position, parameter in enumerate(found.parameters[: len(truth.names)]):
        if parameter.index != position:
            yield f"index {parameter.index} at position {position}"
        # Where a group counts for all its parameters, truth has no step per parameter.
        if "step" in truth.slots and not _same(parameter.step, truth.steps[position]):
            yield f"[{position}] step {parameter.step} (truth: {truth.steps[position]})"
        if parameter.shape is not None and truth.shapes[position] not in (None, parameter.shape):
            yield f"[{position}] shape {parameter.shape} (truth: {truth.shapes[position]})"
        if (parameter.present == "missing") != (position in truth.stateless) and truth.slots and truth.shapes[0]:
            yield f"[{position}] state {parameter.present} (truth: {'none' if position in truth.stateless else 'some'})"
    slots = {str(slot) for parameter in found.parameters for slot in parameter.slots}
    # A dict or list in the state may be shown as several slots: "old_dirs.0", …
    nested = {slot.partition(".")[0] for slot in slots}
    if missing := {slot for slot in truth.slots if not slot.startswith("__")} - slots - nested:
        yield f"slots {sorted(missing)} are missing among {sorted(slots)}"


def fingerprints(truth: TrueOptimizer, found: OptimizerState) -> Iterator[str]:
    """Shape and float64 sum of every state tensor, gathered from all shards; "=" for each that agrees."""
    for parameter, prints in zip(found.parameters, truth.prints, strict=False):
        for slot, expected in prints.items():
            value, where = parameter.slots.get(slot), f"[{parameter.index}].{slot}"
            if not isinstance(value, TensorRef):
                if isinstance(expected, Mapping) and value is not None and slot != "step":
                    yield f"{where}: {type(value).__name__} (truth: a tensor)"
                continue
            if not isinstance(expected, Mapping):
                continue
            if value.shape != tuple(expected["shape"]) or value.dtype.name != expected["dtype"]:
                yield f"{where}: {value.dtype.name}{value.shape} (truth: {expected['dtype']}{expected['shape']})"
                continue
            blocks = [block.astype("f8") for block in chunks(value)]
            total, size = (sum(float(part.sum()) for part in parts) for parts in (blocks, map(abs, blocks)))
            # Sums in another order: 1e-12 of the absolute sum is some 5,000 roundings.
            good = math.isclose(total, expected["sum"], rel_tol=0, abs_tol=1e-12 * size + 1e-300)
            yield "=" if good else f"{where}: sum {total!r} (truth: {expected['sum']!r})"


def _same(got: Any, truth: Any) -> bool:
    if isinstance(got, TensorRef | CompositeRef):
        return True  # a tensor among the hyperparameters: its value is compared bit for bit with torch's
    if isinstance(truth, Mapping):
        return isinstance(got, Mapping)
    if isinstance(truth, list):
        return isinstance(got, list | tuple) and len(got) == len(truth) and all(map(_same, got, truth))
    if isinstance(truth, float) and isinstance(got, float | int):
        return math.isclose(got, truth, rel_tol=1e-6) or (math.isnan(got) and math.isnan(truth))
    return bool(got == truth) or (isinstance(truth, str) and not isinstance(got, str))


def _score(case: Case, truth: TrueOptimizer, checkpoint: Checkpoint, naming: Naming, verdict: Verdict) -> None:
    if not case.model_has_names:
        return
    for position, (row, right) in enumerate(zip(naming.parameters, truth.names, strict=False)):
        result = "none" if row.name is None else "right" if _is_right(case, truth, checkpoint, row, right) else "wrong"
        verdict.names[f"{row.evidence} {result}"] += 1
        if result == "wrong" and row.evidence in CERTAIN and case.room != "faults":
            verdict.wrong.append(f"[{position}] {row.name!r} by {row.evidence} (truth: {right[0]!r})")
        guess = case.by_position[position] if position < len(case.by_position) else None
        verdict.names["position right" if guess in right else "position wrong"] += 1


def _is_right(
    case: Case, truth: TrueOptimizer, checkpoint: Checkpoint, row: NamedParameter, right: tuple[str, ...]
) -> bool:
    pairing = case.truth.get("pairing") or {}
    if truth.role in pairing and row.model is not None and checkpoint.models[row.model].route != pairing[truth.role]:
        return False
    accepted = {bare(name, case.prefix) for name in right}
    accepted |= {f"{pairing[truth.role]}.{name}" for name in accepted if truth.role in pairing}
    return any(bare(name, case.prefix) in accepted for name in (row.name, *row.aliases) if name is not None)


def bare(name: str, prefix: str) -> str:
    """Without wrapper prefixes, wherever they stand."""
    return WRAPPERS.sub("", name.removeprefix(prefix))


def _values(case: Case, checkpoint: Checkpoint, verdict: Verdict) -> None:
    trusted = bool(case.truth.get("safe_to_full_load")) and case.room in ("containers", "groups", "optimizers")
    for tree in checkpoint.trees:
        theirs = load_with_torch(Path(tree.path), trusted=trusted)
        if theirs is None:
            verdict.unread += 1
            continue
        lines = list(differences(tree.root, theirs))
        verdict.tensors += lines.count("=")
        verdict.wrong += [line for line in lines if line != "="][:5]
