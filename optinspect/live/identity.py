"""OI904: whether every state goes to the parameter that it is of. load_state_dict goes by position alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from optinspect.live.case import Case, Pair, displaced
from optinspect.live.misfit import Misfit, Reaction, listed
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.naming.recorded import plain
from optinspect.proof.findings import exchanged
from optinspect.report import Severity

ADDRESSES = 1 << 20
"""torch ≤ 1.4 wrote id()s, which stand in any order; they are larger than a number of parameters."""

SILENT = Reaction("silent", "each parameter steps with the moments of another")


@live_rule("OI904", Severity.ERROR, title="state of other parameters")
def identity(told: Told, case: Case) -> Iterator[Misfit]:
    """A parameter would get the state that the file keeps for another one, or that it lists under another name.

    What says so: the names that the file records (param_names, names as keys); a weight that is the only one of its
    shape in the file; the shapes of the states, where they fit the parameters in another order; the numbers in
    `params`, which torch writes in ascending order.
    Why a resume breaks: load_state_dict goes by position and never looks at names. Where the shapes are the same
    nothing is raised, and two parameters step with each other's moments from there on.
    Harmless when: parameters were only renamed, in the same order: allow it then.
    Repair: give the optimizer its parameters in the order of the file, or, where the file records names, load by name.
    Seen: torch itself keeps saved names over a permuted load (torch 2.13); modules whose order of definition changed.
    """
    if not case.pairable:
        return
    if case.by_name:
        yield from _not_by_name(told, case)
        return
    for look in (_short_names, _reordered, _by_names, _by_forced, _by_shapes, _by_model_order):
        found = look(told, case)
        if found:
            yield found
            return


def _not_by_name(told: Told, case: Case) -> Iterator[Misfit]:
    """Where the names cannot pair every state with a parameter of the same group."""
    lost = [each.label for each in case.members.parameters if not _written_for(case, each.names)]
    if lost or len(set(case.written.values())) != len(case.file.parameters):
        message = f"no state in the file is named {listed(lost)}" if lost else "the file does not name every state once"
        yield told(message, Reaction("none"), (), route=case.file.route, live=lost, repair="load by position")
        return
    for pair in case.pairs:
        if pair.state.group != pair.member.group:
            message = (
                f"`{pair.member.label}` is in group {pair.state.group} of the file, in group {pair.member.group} here"
            )
            yield _misfit(told, case, [pair], message, "build the groups as the file has them")
            return


def _written_for(case: Case, names: Sequence[str]) -> bool:
    held = set(case.written.values())
    return any(plain(name) in held for name in names)


def _short_names(told: Told, case: Case) -> Misfit | None:
    """A list of names that is longer or shorter than its group: it tells of none which parameter it names."""
    for problem in case.checkpoint.problems:
        if problem.message.startswith("param_names does not fit") and problem.route.startswith(case.file.route):
            message = f"{problem.route}: {problem.message}"
            return told(message, Reaction("silent", "later saves keep them"), ("names",), route=problem.route)
    return None


def _reordered(told: Told, case: Case) -> Misfit | None:
    """Numbers that do not count up: torch numbers parameters by their position when it saves."""
    keys = list(chain.from_iterable(group.params for group in case.file.groups))
    numbered = bool(keys) and all(isinstance(key, int) and key < ADDRESSES for key in keys)
    if not numbered or keys == sorted(set(keys), key=int):
        return None
    if len(set(keys)) < len(keys):
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        pairs = [pair for pair in case.pairs if pair.state.key == twice]
        names = listed([pair.member.label for pair in pairs])
        return _misfit(
            told,
            case,
            pairs,
            f"state {twice} is listed twice: {names} would share it",
            None,
            everything=True,
            in_group=True,
        )
    place = next(i for i, (a, b) in enumerate(zip(keys, sorted(keys, key=int), strict=True)) if a != b)
    pairs = [case.pairs[place]]
    message = f"`{pairs[0].member.label}` would get the state numbered {keys[place]}, not that of its place in the file"
    repair = "restore the order in which torch wrote `params`"
    return _misfit(told, case, pairs, message, repair, everything=True, in_group=True)


def _by_names(told: Told, case: Case) -> Misfit | None:
    """Recorded names against live ones."""
    clashes = [pair for pair in case.pairs if pair.written and pair.member.names and not _same_name(pair)]
    if not clashes:
        return None
    known = case.known_names
    foreign = [pair for pair in clashes if pair.written not in known]
    if len(foreign) == len(clashes) == sum(pair.written is not None for pair in case.pairs):
        change = _renamed(clashes)
        if change:
            return None
        first = clashes[0]
        message = f"the file names other parameters: `{first.written}` where the model has `{first.member.label}`"
        return _misfit(told, case, clashes, message, "build the model under the names of the file, or allow OI904")
    if foreign:
        first = foreign[0]
        message = f"the file calls the state of `{first.member.label}` `{first.written}`, which the model lacks"
        return _misfit(told, case, foreign, message, "compare the model's code with that of the run")
    moves = {pair.written or "": pair.member.label for pair in clashes}
    message = f"{len(clashes):,} states would go to other parameters than the file names: {exchanged(moves)}"
    return _misfit(
        told, case, clashes, message, "optinspect.load(…, by_name=True), or give the parameters in the file's order"
    )


def _same_name(pair: Pair) -> bool:
    return pair.written in {plain(name) for name in pair.member.names}


def _renamed(pairs: Sequence[Pair]) -> bool:
    """Whether one beginning of names was only put on or taken off ("backbone.layer.weight", "layer.weight")."""
    changes = set()
    for pair in pairs:
        a, b = pair.written or "", pair.member.label
        if not (a.endswith(f".{b}") or b.endswith(f".{a}")):
            return False
        changes.add((a.removesuffix(b), b.removesuffix(a)))
    return len(changes) == 1


def _by_forced(told: Told, case: Case) -> Misfit | None:
    """A state whose shape leaves one name of the file's own model."""
    wrong = [
        pair
        for pair in case.pairs
        if pair.named.evidence == "forced"
        and pair.named.name is not None
        and plain(pair.named.name) in case.known_names
        and not {plain(name) for name in (pair.named.name, *pair.named.aliases)} & {*map(plain, pair.member.names)}
        and pair.member.names
    ]
    if not wrong:
        return None
    first = wrong[0]
    message = (
        f"`{first.member.label}` would get the state of `{first.named.name}`, the only one of its shape in the file"
    )
    named = {pair.member.index for pair in wrong}
    also = [pair for pair in displaced(case) if pair.member.index not in named]
    return _misfit(told, case, [*wrong, *also], message, "give the optimizer its parameters in the order of the file")


def _by_shapes(told: Told, case: Case) -> Misfit | None:
    """States that fit the same parameters in another order."""
    wrong = displaced(case)
    if not wrong:
        return None
    first = wrong[0]
    like = next(pair.member for pair in case.pairs if tuple(pair.member.tensor.shape) == first.state.shape)
    message = (
        f"the states fit the parameters in another order: `{first.member.label}` {list(first.member.tensor.shape)} "
        f"would get one of shape {list(first.state.shape or ())}, as `{like.label}` has; {len(wrong):,} do not fit"
    )
    repair = "give the optimizer its parameters in the order in which the run gave them"
    error = Reaction("step", "RuntimeError: The size of tensor a")
    return _misfit(told, case, wrong, message, repair, error, everything=True)


def _by_model_order(told: Told, case: Case) -> Misfit | None:
    """The file's model lists the same parameters in another order, and its states fit that order as well as this one.

    Only where every group here follows the order of its model, as one made of model.parameters() does: the run's then
    followed the order of its own. A dict whose keys were merely sorted or shuffled does not fit the shapes.
    """
    if case.written or case.model is None or not case.model.ordered or not all(p.member.name for p in case.pairs):
        return None
    here = {plain(name): rank for rank, name in enumerate(case.members.order)}
    there = {
        plain(name): rank for rank, entry in enumerate(case.model.entries) for name in (entry.name, *entry.aliases)
    }
    wrong: list[tuple[Pair, Pair]] = []
    for number in range(len(case.groups)):
        mine = [pair for pair in case.pairs if pair.member.group == number]
        names = [plain(pair.member.label) for pair in mine]
        if not all(name in here and name in there for name in names) or names != sorted(names, key=here.__getitem__):
            return None
        order = sorted(mine, key=lambda pair: there[plain(pair.member.label)])
        if any(a.state.shape not in (None, tuple(b.member.tensor.shape)) for a, b in zip(mine, order, strict=True)):
            return None
        wrong += [(a, b) for a, b in zip(mine, order, strict=True) if a is not b]
    if not wrong:
        return None
    first, of = wrong[0]
    message = (
        f"the model in the file lists its parameters in another order: `{first.member.label}` would get the state "
        f"of `{of.member.label}`; {len(wrong):,} states fit both orders"
    )
    repair = "define the modules in the order of the run; where only the keys of the file were reordered, allow OI904"
    return _misfit(told, case, [pair for pair, _ in wrong], message, repair)


def _misfit(
    told: Told,
    case: Case,
    pairs: Sequence[Pair],
    message: str,
    repair: str | None,
    reaction: Reaction = SILENT,
    *,
    everything: bool = False,
    in_group: bool = False,
) -> Misfit:
    first = pairs[0]
    differ = any(
        p.state.shape not in (None, tuple(p.member.tensor.shape)) for p in (case.pairs if everything else pairs)
    )
    reaction = Reaction("step", "RuntimeError") if differ and reaction is SILENT else reaction
    spots = [("index", pair.member.index) for pair in pairs]
    return told(
        message,
        reaction,
        *([(), ("orphans",)] if everything else spots),
        route=case.group_route(first.state.group, "params") if in_group else case.state_route(first.state),
        parameter=first.member.name,
        file=_file_side(pairs),
        live=[pair.member.label for pair in pairs[:20]],
        repair=repair,
    )


def _file_side(pairs: Sequence[Pair]) -> Mapping[str, object]:
    return {str(pair.state.key): pair.written or pair.named.name for pair in pairs[:20]}


RULES: tuple[LiveRule, ...] = (identity,)
