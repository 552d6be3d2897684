"""What `show --tree` says: the tree or the two trees, what was left unread, and the usual last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optinspect.checkpoint import Checkpoint
from optinspect.commands import columns, damage, show_contents, show_remarks, show_tree, show_tree_pairs
from optinspect.commands.facts import Facts, Wanted, gather
from optinspect.commands.selection import Selection
from optinspect.commands.show_tree_choice import Trees
from optinspect.commands.wording import bytes_of, command_line
from optinspect.errors import UsageError
from optinspect.naming import Proven
from optinspect.report import Line, Report

if TYPE_CHECKING:
    from optinspect.commands.show import Options


def check(trees: Trees, options: Options) -> None:
    """Refuse what does not apply to a tree. Raises UsageError."""
    selection = options.selection
    given = (
        ("--group", selection.group is not None and not trees.beside),
        ("--previous", options.previous is not None and not trees.beside),
        ("--depth", trees.extent.depth is not None and trees.beside),
        ("--sort", selection.sort is not None),
        ("--where", bool(selection.where)),
        ("--weights", options.weights),
        ("--dead", options.dead),
    )
    for option, is_given in given:
        if is_given:
            which = "--tree --side-by-side" if trees.beside else "--tree"
            raise UsageError(f"{option}: not with {which}", hint=f"leave out {option}, or {which}")


def report(
    checkpoint: Checkpoint, trees: Trees, selection: Selection, said: tuple[str, ...], proven: Proven | None
) -> Report:
    """Reads no tensor's values. Raises UsageError for a group that does not exist."""
    chosen = selection if trees.beside else Selection()
    facts = gather(checkpoint, Wanted(chosen, statistics=False, proven=proven))
    tables = (
        show_tree_pairs.tables(facts, selection, trees.extent)
        if trees.beside
        else (show_tree.table(checkpoint, trees.extent),)
    )
    found = damage.findings(facts)
    return Report(
        command="show",
        status=damage.status(found),
        inputs=checkpoint.inputs,
        summary=show_contents.summary(checkpoint),
        tables=tuple(columns.chosen(tables, selection.columns, selection.table) if selection.columns else tables),
        findings=found,
        headline=show_contents.headline(checkpoint),
        footer=(*show_remarks.notes(facts), _covered(facts), show_remarks.safety(facts)),
        next_command=_next(trees, said, facts),
    )


def _covered(facts: Facts) -> Line:
    size = bytes_of(sum(each.bytes for each in facts.checkpoint.inputs))
    return Line("covered", f"the structure of {size}; no tensor's values were read (--tree)")


def _next(trees: Trees, said: tuple[str, ...], facts: Facts) -> str:
    if facts.checkpoint.models and facts.checkpoint.optimizers and not trees.beside:
        return command_line(*said, "--tree", "--side-by-side")
    return command_line(*said)
