"""Names the file itself records: `param_names` in the groups, or names as the keys of the state.

They are checked against the shapes: torch writes wrong param_names after a load into a permuted optimizer, so one
name whose shape does not fit makes every recorded name of that optimizer suspect.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from optinspect.checkpoint import OptimizerState
from optinspect.naming.base import Contradiction, NamedParameter
from optinspect.naming.question import Candidate, Pool, Proposal, Question

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Components that DDP, torch.compile, FSDP and activation checkpointing put into names, anywhere."""

_WRAPPED = re.compile(rf"(?:^|(?<=\.))(?:{'|'.join(WRAPPERS)})\.")
_ADAPTER = re.compile(r"\.(lora_\w+|modules_to_save)\.[^.]+(?=\.|$)")
"""PEFT's live names hold the adapter's name ("default"); its files leave it out."""


def propose(question: Question, known: Mapping[int, NamedParameter]) -> Proposal:
    """A `recorded` name for each index whose group (or key) holds one that the shapes do not contradict."""
    del known
    names, short = written_names(question.optimizer)
    if not names:
        return Proposal(contradictions=short)
    found = resolve(names, question)
    clashes = [*short, *_clashes(question, names, found)]
    dropped = {clash.index for clash in clashes}
    group_of = {p.index: p.group for p in question.optimizer.parameters}
    spoiled = {group_of[index] for index in dropped}
    if any(clash.message.startswith("shape") for clash in clashes):
        spoiled = set(group_of.values())
    named = {
        index: _row(question, index, name, found.get(index))
        for index, name in names.items()
        if group_of[index] not in spoiled
    }
    return Proposal(named, tuple(clashes))


def written_names(optimizer: OptimizerState) -> tuple[dict[int, str], tuple[Contradiction, ...]]:
    """index → name as written; and the lists whose length is not their group's."""
    names: dict[int, str] = {}
    short: list[Contradiction] = []
    members: dict[int, list[int]] = {}
    for p in optimizer.parameters:
        members.setdefault(p.group, []).append(p.index)
        if isinstance(p.key, str) and not p.key.lstrip("-").isdigit():
            names[p.index] = p.key
    for group in optimizer.groups:
        indices = members.get(group.number, [])
        if group.names is None or not indices:
            continue
        if len(group.names) != len(indices):
            message = f"param_names of group {group.number} has {len(group.names)} names for {len(indices)} parameters"
            short.append(Contradiction(indices[0], group.names[0] if group.names else "", message))
            continue
        names.update((index, name) for index, name in zip(indices, group.names, strict=True) if not name.isdigit())
    return names, tuple(short)


def _row(question: Question, index: int, name: str, candidate: Candidate | None) -> NamedParameter:
    if candidate is not None:
        return question.named(index, candidate, "recorded")
    return NamedParameter(index, question.optimizer.parameters[index].key, plain(name), "recorded")


def plain(name: str) -> str:
    """A name without what wrappers put into it."""
    return _WRAPPED.sub("", name)


def resolve(names: Mapping[int, str], question: Question) -> dict[int, Candidate]:
    """The model tensor of each name, in the pool that knows most of them (ties: the likelier pool)."""
    best: dict[int, Candidate] = {}
    for pool in question.pools:
        found = _resolve_in(names, pool)
        if len(found) > len(best):
            best = found
        if len(best) == len(names):
            break
    return best


def _resolve_in(names: Mapping[int, str], pool: Pool) -> dict[int, Candidate]:
    table = _table(pool)
    plains = {index: _ADAPTER.sub(_without_adapter, plain(name)) for index, name in names.items()}
    take, put = _prefix_change(list(plains.values()), table)
    found: dict[int, Candidate] = {}
    for index, name in plains.items():
        candidate = table.get(names[index]) or table.get(name) or table.get(put + name.removeprefix(take))
        if candidate is not None:
            found[index] = candidate
    return found


def _without_adapter(match: re.Match[str]) -> str:
    return "" if match[1] == "modules_to_save" else f".{match[1]}"


def _table(pool: Pool) -> dict[str, Candidate]:
    table: dict[str, Candidate] = {}
    for candidate in (*pool.candidates, *pool.doubtful):
        for name in (candidate.name, candidate.entry.key, plain(candidate.name), *candidate.aliases):
            table.setdefault(name, candidate)
    return table


def _prefix_change(names: list[str], table: Mapping[str, Candidate]) -> tuple[str, str]:
    """(prefix to take off, prefix to put on) that makes most names known; ("", "") where none does."""
    if all(name in table for name in names):
        return "", ""
    votes: Counter[tuple[str, str]] = Counter()
    for name in names[:32]:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            if ".".join(parts[cut:]) in table:
                votes[".".join(parts[:cut]) + ".", ""] += 1
    tops = {f"{known.split('.')[0]}." for known in table}
    for top in sorted(tops) if len(tops) <= 8 else ():
        votes["", top] += sum(top + name in table for name in names[:32])
    votes["", ""] += sum(name in table for name in names[:32])
    return max(votes, key=lambda change: (votes[change], change == ("", "")))


def _clashes(question: Question, names: Mapping[int, str], found: Mapping[int, Candidate]) -> list[Contradiction]:
    clashes: list[Contradiction] = []
    taken: dict[tuple[int, str], int] = {}
    for index, name in names.items():
        shape, candidate = question.shapes[index], found.get(index)
        if candidate is None:
            if found and _left_over(question, index, found):
                clashes.append(
                    Contradiction(index, name, f"{name!r} is not in the model, which has an unclaimed tensor")
                )
            continue
        if shape is not None and shape != candidate.shape:
            message = f"shape {list(shape)} of the state, but {name!r} has {list(candidate.shape)}"
            clashes.append(Contradiction(index, name, message))
        first = taken.setdefault((candidate.model, candidate.entry.name), index)
        if first != index:
            clashes.append(Contradiction(index, name, f"{name!r} is also recorded for index {first}"))
    return clashes


def _left_over(question: Question, index: int, found: Mapping[int, Candidate]) -> bool:
    """Whether a model tensor of this index's shape has no recorded name pointing at it."""
    shape = question.shapes[index]
    models = {candidate.model for candidate in found.values()}
    taken = {(c.model, c.entry.name) for c in found.values()}
    return any(
        c.model in models and (c.model, c.entry.name) not in taken and (shape is None or c.shape == shape)
        for c in question.universe.candidates
    )
