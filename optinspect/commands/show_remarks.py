"""The end of `show`: what was covered, what stands out, what to run next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import isfinite

from optinspect.checkpoint import OptimizerState
from optinspect.commands.facts import Facts, Subject
from optinspect.commands.wording import bytes_of, command_line, counted, some
from optinspect.render.escape import visible
from optinspect.report import Line, Severity

OUT = "stands out"


def footer(facts: Facts) -> tuple[Line, ...]:
    return (*_stands_out(facts), *notes(facts), covered(facts), safety(facts))


def next_command(said: tuple[str, ...], facts: Facts) -> str | None:
    """The most useful of the commands that exist; `said` is this one with the options that say where things are."""
    more = None if facts.weights else command_line(*said, "--weights")
    if not facts.checkpoint.optimizers:
        return more if facts.checkpoint.models else command_line(*said, "--tree")
    if not facts.checkpoint.models:
        return f"{command_line(*said)} --model-state FILE"
    if facts.measured is None:
        return command_line(*said)
    if any(_not_finite(facts, subject) for subject in facts.subjects):
        return command_line(*said, "--table", "statistics", "--sort", "nans:desc")
    proof = _proof(said, facts)
    return more if proof is None else command_line(*said, "--previous", proof)


def _proof(said: tuple[str, ...], facts: Facts) -> str | None:
    """The save before this one, where one lies beside it and the step between could prove names that are in doubt."""
    doubtful = any(one.evidence in ("order", "none") for naming in facts.namings for one in naming.parameters)
    if not doubtful or "--previous" in said:
        return None
    from optinspect.commands.neighbours import previous_save  # noqa: PLC0415  most names are certain

    return previous_save(facts.checkpoint.inputs[0].path)


def covered(facts: Facts) -> Line:
    total = sum(len(subject.tensors) for subject in facts.everything)
    if facts.measured is None:
        return Line(
            "covered", f"the structure of {counted(total, 'state tensor')}; no statistics were taken (--no-stats)"
        )
    read = [
        tensor
        for subject in facts.subjects
        for slot, tensor in subject.tensors.items()
        if subject.key in facts.measured and slot in facts.measured[subject.key].statistics
    ]
    weighed = sum(each.weight is not None for each in facts.measured.values()) if facts.weights else 0
    if not total:
        what = f"{counted(weighed, 'tensor')} of the model, every element" if weighed else "the structure"
        return Line("covered", f"{what}; there is no state tensor to measure")
    size = bytes_of(sum(tensor.nbytes for tensor in read))
    told = f"{len(read):,} of {counted(total, 'state tensor')}"
    whose = f" that {facts.checkpoint.part} has" if facts.checkpoint.part else ""
    told += f", every element{whose} ({size}){_sampled(facts)}" if read else ""
    told += f", and {counted(weighed, 'tensor')} of the model" if weighed else ""
    unchecked = any(tree.integrity == "crc32" for tree in facts.checkpoint.trees)
    return Line("covered", f"{told}; checksums of the data were not compared" if unchecked else told)


def _sampled(facts: Facts) -> str:
    """Which figures do not rest on every element."""
    measured = (facts.measured or {}).values()
    large = sum(each.histogram_sample < each.finite for one in measured for each in one.statistics.values())
    return f", histograms and quantiles of {counted(large, 'large tensor')} from a sample" if large else ""


def safety(facts: Facts) -> Line:
    names = [name for tree in facts.checkpoint.trees for name in tree.dangerous]
    said = "nothing from the file was executed"
    if names:
        return Line("safety", f"{said}; torch.load(weights_only=False) would call {some(names, 6)}", Severity.NOTE)
    return Line("safety", said)


def notes(facts: Facts) -> Iterator[Line]:
    for note in (*facts.checkpoint.notes, *(note for naming in facts.namings for note in naming.notes)):
        yield Line("note", note)


def _stands_out(facts: Facts) -> Iterator[Line]:
    if not facts.checkpoint.optimizers:
        yield Line(OUT, "no optimizer in this file", Severity.WARNING)
    elif not facts.checkpoint.models:
        yield Line(OUT, "no model in this file: the optimizer's parameters have no names to be matched with")
    if not facts.subjects and facts.everything:
        yield Line(OUT, "no parameter is left by --filter and --group", Severity.WARNING)
    yield from settings(facts)
    yield from values(facts)
    yield from _state(facts)
    yield from _names(facts)


def settings(facts: Facts) -> Iterator[Line]:
    for optimizer in facts.checkpoint.optimizers:
        for group in optimizer.groups:
            for key, value in group.hyperparameters.items():
                if isinstance(value, float) and not isfinite(value):
                    yield Line(
                        OUT, f"{optimizer.route}, group {group.number}: {visible(str(key))} is {value}", Severity.ERROR
                    )


def values(facts: Facts) -> Iterator[Line]:
    bad = [subject for subject in facts.subjects if _not_finite(facts, subject)]
    if bad:
        yield Line(OUT, f"NaN or Inf in {of(bad)}", Severity.ERROR)
    negative = [subject for subject in facts.subjects if _joint(facts, subject, "negative_v")]
    if negative:
        yield Line(OUT, f"negative second moments, which no run produces, in {of(negative)}", Severity.ERROR)
    lost = [subject for subject in facts.subjects if _joint(facts, subject, "lost_v")]
    if lost:
        yield Line(OUT, f"second moment 0 where the first is not, in {of(lost)}", Severity.WARNING)


def _joint(facts: Facts, subject: Subject, figure: str) -> int:
    measured = facts.measured.get(subject.key) if facts.measured else None
    joint = measured.joint if measured else None
    return {"negative_v": joint.negative_v, "lost_v": joint.lost_v}[figure] if joint else 0


def _not_finite(facts: Facts, subject: Subject) -> bool:
    measured = facts.measured.get(subject.key) if facts.measured else None
    if measured is None:
        return False
    every = [*measured.statistics.values(), *([measured.weight] if measured.weight else [])]
    return any(statistics.nans or statistics.infs for statistics in every)


def _state(facts: Facts) -> Iterator[Line]:
    for number, optimizer in enumerate(facts.checkpoint.optimizers):
        subjects = [subject for subject in facts.subjects if subject.optimizer == number]
        prefix = f"{optimizer.route}: " if len(facts.checkpoint.optimizers) > 1 else ""
        missing = [subject for subject in subjects if subject.state.present == "missing"]
        if missing and len(missing) < len(subjects):
            yield Line(OUT, f"{prefix}no state for {of(missing)} (frozen, or never used)", Severity.WARNING)
        elif missing:
            yield Line(OUT, f"{prefix}no parameter has state: no step was taken, or this optimizer keeps none")
        yield from kept(prefix, optimizer, subjects)


def kept(prefix: str, optimizer: OptimizerState, subjects: list[Subject]) -> Iterator[Line]:
    """What is odd about the state that there is: incomplete, of no parameter, of another step."""
    partial = [subject for subject in subjects if subject.state.present == "partial"]
    if partial:
        yield Line(OUT, f"{prefix}part of the state is missing for {of(partial)}", Severity.WARNING)
    if optimizer.orphans:
        keys = f"{counted(len(optimizer.orphans), 'key')} of state in no group: {some(optimizer.orphans)}"
        yield Line(OUT, prefix + keys, Severity.WARNING)
    yield from _steps(prefix, subjects)


def _steps(prefix: str, subjects: list[Subject]) -> Iterator[Line]:
    steps = Counter(subject.state.step for subject in subjects if subject.state.step is not None)
    if len(steps) > 1:
        (usual, most), *others = steps.most_common()
        fewer = [subject for subject in subjects if subject.state.step not in (None, usual)]
        told = f"steps differ: {usual:g} for {counted(most, 'parameter')}, {some((f'{s:g}' for s, _ in others), 4)}"
        yield Line(OUT, f"{prefix}{told} for {of(fewer)}", Severity.WARNING)


def _names(facts: Facts) -> Iterator[Line]:
    if not facts.checkpoint.models:
        return
    for naming in facts.namings:
        for each in naming.contradictions:
            yield Line(OUT, f"the file names index {each.index} {each.recorded}: {each.message}", Severity.WARNING)
    unnamed = [subject for subject in facts.subjects if subject.named.name is None]
    if unnamed:
        yield Line(OUT, f"no name for {of(unnamed)}", Severity.WARNING)
    ordered = [subject for subject in facts.subjects if subject.named.evidence == "order"]
    several = [subject for subject in ordered if subject.named.solutions != 1]
    if several:
        yield Line(OUT, f"more than one order fits, so the names may be others for {of(several)}", Severity.WARNING)
    if len(ordered) > len(several):
        sole = [subject for subject in ordered if subject.named.solutions == 1]
        rules = some(dict.fromkeys(subject.named.convention for subject in sole), 2)
        names = counted(len(sole), "name rests", "names rest")
        yield Line("note", f"{names} on the only order that fits ({rules}); the file holds no proof of it")


def of(subjects: list[Subject]) -> str:
    """ "3 parameters: a, b and c"."""
    return f"{counted(len(subjects), 'parameter')}: {some(subject.label for subject in subjects)}"
