"""The part of the Python API that gives what a command prints: `optinspect.show`, `check` and `diff`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optinspect.report import Report


def show(  # noqa: PLR0913  one argument an option of the command
    path: str,
    *,
    stats: bool = True,
    weights: bool = False,
    group: int | None = None,
    filters: Iterable[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    model_state: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Report:
    """The report of `optinspect show` with the same options: tables of raw values, findings, what stands out.

    Raises as `open` does.
    """
    from optinspect.commands.selection import Selection  # noqa: PLC0415
    from optinspect.commands.show import Options, build  # noqa: PLC0415

    return build(
        path,
        Options(
            statistics=stats,
            weights=weights,
            selection=Selection(group, tuple(filters), sort, limit),
            model_state=model_state,
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=max_memory,
        ),
    )


def check(  # noqa: PLR0913  one argument an option of the command
    path: str,
    *more: str,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: str = "error",
    previous: str | None = None,
    model_state: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Report:
    """The report of `optinspect check`: `findings`, `summary["resumable"]`, and `status` 1 where it would fail.

    select, ignore  codes of rules or how they begin: "OI304", "OI3"
    fail_on         "error", "warning", "note" or "never"
    previous        an earlier checkpoint of the same run: findings OI6xx on the steps between

    Raises as `open` does; UsageError for a code that no rule has.
    """
    from optinspect.commands.check import Options, build, level  # noqa: PLC0415
    from optinspect.commands.check_choice import Choice, parse  # noqa: PLC0415

    return build(
        (path, *more),
        Options(
            choice=Choice(parse("select", select), parse("ignore", ignore)),
            fail_on=level(fail_on),
            previous=previous,
            model_state=model_state,
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=max_memory,
        ),
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

    Raises as `open` does; UsageError for a part, --filter or column that does not exist.
    """
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
            selection=Selection(None, tuple(filters), sort, limit),
            model_state_a=model_state_a,
            model_state_b=model_state_b,
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=max_memory,
        ),
    )
