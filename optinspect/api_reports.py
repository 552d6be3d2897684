"""The part of the Python API that gives what a command prints: `optinspect.show`, `check` and `diff`."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optinspect.commands.summary_result import Summary
    from optinspect.report import Report

    StrPath = str | PathLike[str]


def _text(path: StrPath | None) -> str | None:
    return None if path is None else fspath(path)


def show(  # noqa: PLR0913  one argument an option of the command
    path: StrPath,
    *more: StrPath,
    stats: bool = True,
    weights: bool = False,
    group: int | None = None,
    filters: Iterable[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    where: Iterable[str] = (),
    columns: Iterable[str] = (),
    dead: bool = False,
    model_state: StrPath | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
    tree: bool = False,
    side_by_side: bool = False,
) -> Report:
    """The report of `optinspect show` with the same options: tables of raw values, findings, what stands out.

    more     other checkpoints: then a table compares them, and each row of the others has its path
    where    conditions on cells, "update_ratio>1e-3": all must hold
    columns  only these, and only the tables that have them all
    dead     a table of the rows and channels whose moments are all 0
    tree     the objects of the file instead, every one of them; side_by_side: the model's and the optimizer's state

    Raises as `open` does for one path; with several, what could not be read is in `failures`.
    """
    from optinspect.commands.conditions import parsed  # noqa: PLC0415
    from optinspect.commands.selection import Selection  # noqa: PLC0415
    from optinspect.commands.show import Options  # noqa: PLC0415
    from optinspect.commands.show_several import build  # noqa: PLC0415
    from optinspect.commands.show_tree_choice import Extent, Trees  # noqa: PLC0415

    chosen = tuple(filters)
    return build(
        [fspath(each) for each in (path, *more)],
        Options(
            statistics=stats,
            weights=weights,
            selection=Selection(group, chosen, sort, limit, parsed(tuple(where)), tuple(columns)),
            dead=dead,
            trees=Trees(Extent(members=limit, filters=chosen), side_by_side) if tree or side_by_side else None,
            model_state=_text(model_state),
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=max_memory,
        ),
    )


def summary(  # noqa: PLR0913  the objects, and one argument an option of `show`
    optimizer: Any,
    model: Any = None,
    *,
    stats: bool = True,
    weights: bool = False,
    group: int | None = None,
    filters: Iterable[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    collapse: bool | None = None,
) -> Summary:
    """What `show` says of a checkpoint, of objects in memory: who is named how, trained, frozen, stepped by what.

    optimizer, model  in either order. The optimizer is any with param_groups and state, or a scheduler that drives one;
                      the model a Module, a mapping of names to parameters or Modules, (name, parameter) pairs, or None
    stats             read values: statistics of the state, rms of the gradients; weights: of the weights too
    group, filters, sort, limit   rows, as the options of `optinspect show`
    collapse          fold repeated layers into one row where it is printed; None: in tables of more than 50 rows

    Nothing is changed, and nothing of the CPU's is copied. The result prints as tables, also in a notebook.
    Raises errors.UsageError where the two are not an optimizer and a model, or an option names what there is not.
    """
    from optinspect.commands.selection import Selection  # noqa: PLC0415
    from optinspect.commands.summary import Options, build  # noqa: PLC0415
    from optinspect.commands.summary_result import Summary  # noqa: PLC0415

    selection = Selection(group, tuple(filters), sort, limit)
    return Summary(*build(optimizer, model, Options(stats, weights, collapse, selection)))


def check(  # noqa: PLR0913  one argument an option of the command
    path: StrPath,
    *more: StrPath,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: str | None = None,
    previous: StrPath | None = None,
    previous_model_state: StrPath | None = None,
    model: Any = None,
    optimizer: Any = None,
    config: StrPath | None = None,
    model_state: StrPath | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Report:
    """The report of `optinspect check`: `findings`, `summary["resumable"]`, and `status` 1 where it would fail.

    select, ignore  codes of rules or how they begin: "OI304", "OI3"
    fail_on         "error" (the default), "warning", "note" or "never"
    previous        an earlier checkpoint of the same run: findings OI6xx on the steps between
    previous_model_state  its model, where that lies in a file of its own (as model_state of `path`)
    model, optimizer  your own, compared with the file and resumed from it on a copy, findings OI9xx: objects in memory,
                    or "pkg.mod:function" that makes them (the optimizer's is given the model); without an optimizer
                    torch's of the file's kind stands in
    config          a policy (optinspect.yaml); none is looked for. select and fail_on replace its own, ignore adds

    Raises as `open` does; UsageError for a code that no rule has, and for a policy that is not understood.
    """
    from optinspect.commands.check import Options, build, level  # noqa: PLC0415
    from optinspect.commands.check_choice import Choice, parse  # noqa: PLC0415
    from optinspect.commands.check_policy import load, under  # noqa: PLC0415

    options = Options(
        choice=Choice(parse("select", select), parse("ignore", ignore)),
        previous=_text(previous),
        previous_model_state=_text(previous_model_state),
        model=model,
        optimizer=optimizer,
        model_state=_text(model_state),
        model_key=model_key,
        optimizer_key=optimizer_key,
        max_memory=max_memory,
    )
    return build(
        [fspath(each) for each in (path, *more)],
        under(load(_text(config)), options, fail_on and level(fail_on)),
    )


def diff(  # noqa: PLR0913  one argument an option of the command
    a: str,
    b: str,
    *,
    only: Iterable[str] = (),
    rtol: float = 0.0,
    atol: float = 0.0,
    chart: bool = False,
    trust_crc: bool = False,
    filters: Iterable[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    where: Iterable[str] = (),
    columns: Iterable[str] = (),
    model_state_a: str | None = None,
    model_state_b: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Report:
    """The report of `optinspect diff a b`; `status` is 0 where nothing differs, 1 where something does.

    only        some of "weights", "state", "groups", "other"
    rtol, atol  |a − b| ≤ atol + rtol·max(|a|, |b|) counts as equal; both 0: exactly
    trust_crc   believe the files' checksums instead of reading tensors that have the same
    where, columns   as in show

    Raises as `open` does; UsageError for a part, --filter or column that does not exist.
    """
    from optinspect.commands.conditions import parsed  # noqa: PLC0415
    from optinspect.commands.diff import Options, build, parse_only  # noqa: PLC0415
    from optinspect.commands.selection import Selection  # noqa: PLC0415

    return build(
        a,
        b,
        Options(
            only=parse_only(tuple(only)),
            rtol=rtol,
            atol=atol,
            chart=chart,
            trust_crc=trust_crc,
            selection=Selection(None, tuple(filters), sort, limit, parsed(tuple(where)), tuple(columns)),
            model_state_a=model_state_a,
            model_state_b=model_state_b,
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=max_memory,
        ),
    )
