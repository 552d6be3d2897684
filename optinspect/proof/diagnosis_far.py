"""k > 1: which laws held, how strong each is here, and what a broken one means."""

from __future__ import annotations

from collections.abc import Sequence

from optinspect.proof.case import Case
from optinspect.proof.diagnosis import is_rounded
from optinspect.proof.drift import SLACK, Drift, Drifting
from optinspect.proof.findings import about, finding, route_of
from optinspect.proof.pairing import Parameter
from optinspect.proof.result import Test

IMPOSSIBLE = "excludes moments that no gradients give under these betas; says little of exchanged states"
BOUND = "excludes weights that lie further away"
ALIGNMENT = "median cosine of the movement with the last direction; refutes nothing, falls as k grows"

Followed = Sequence[tuple[Parameter, Drifting, Drift]]


def tolerance(work: Drifting) -> tuple[float, float]:
    """Relative excess that rounding explains, of descent (k steps) and of m² ≤ C·v.

    Measured: float32 3.2e-7 (descent, k = 10) and 1.7e-7; bfloat16 7e-3 and 5e-2.
    """
    u, k = work.moments.second.roundoff, work.t_b - work.t_a
    return SLACK + 4 * u * k, SLACK + 16 * max(u, work.moments.first.roundoff)


def several_steps(case: Case) -> None:
    followed = [each for each in _followed(case) if each[0].index not in case.reasons]
    _frozen(case, followed)
    _fallen(case, followed)
    _impossible(case, followed)
    _unwritten(case, followed)
    _beyond(case, followed)


def _followed(case: Case) -> list[tuple[Parameter, Drifting, Drift]]:
    return [
        (p, work, case.drifts[p.index])
        for p in case.parameters
        if isinstance(work := case.works.get(p.index), Drifting) and p.index in case.drifts
    ]


def _frozen(case: Case, followed: Followed) -> None:
    route = f"{case.pair.route}.state"
    whole = [(p, drift.changes) for p, _, drift in followed if drift.changes.elements]
    frozen = [p for p, changes in whole if not changes.state]
    if frozen:
        case.refute(frozen, finding("OI609", f"step counts advanced, the moments did not, of {about(frozen)}", route))
    empty = [p for p, changes in whole if changes.state and not changes.lasting]
    if empty:
        case.refute(empty, finding("OI603", f"moments are zero after the steps, of {about(empty)}", route))


def _fallen(case: Case, followed: Followed) -> None:
    fallen = case.open([p for p, work, drift in followed if drift.descent > 1 + tolerance(work)[0]])
    if fallen:
        told = f"v fell faster than β2^k allows: begun anew, or state of other parameters, of {about(fallen)}"
        code = "OI603" if 2 * len(fallen) >= len(followed) else "OI609"
        case.refute(fallen, finding(code, told, f"{case.pair.route}.state"))


def _impossible(case: Case, followed: Followed) -> None:
    for file in ("a", "b"):
        excess = [(p, drift.impossible[file == "b"] - 1 - tolerance(work)[1]) for p, work, drift in followed]
        bad = case.open([p for p, over in excess if over > 0])
        if bad:
            told = f"m² is beyond what v allows under these betas, of {about(bad)}"
            case.refute(bad, finding("OI609", told, route_of(case.pair, bad[0]), file=file))


def _unwritten(case: Case, followed: Followed) -> None:
    """Weights that one more step would visibly move, and that are those of A."""
    unwritten = case.open([p for p, _, drift in followed if drift.visible and not drift.changes.weights])
    if unwritten:
        moved = any(drift.changes.weights for _, _, drift in followed)
        told = f"step counts and moments advanced, weights did not, of {about(unwritten)}"
        case.refute(unwritten, finding("OI605" if moved else "OI601", told, "model"))


def _beyond(case: Case, followed: Followed) -> None:
    beyond = case.open([p for p, _, drift in followed if drift.bound > 1])
    if beyond:
        rounded = is_rounded([case.drifts[p.index].changes for p in beyond])
        code = "OI606" if rounded else "OI611" if 2 * len(beyond) >= len(followed) else "OI605"
        told = f"weights moved further than the steps between can move them, of {about(beyond)}"
        case.refute(beyond, finding(code, told, "model"))


def tests(case: Case) -> list[Test]:
    """The laws with their worst case, and what each can exclude here."""
    followed = _followed(case)
    if not followed:
        return []
    kept = min(work.settings.beta2 ** (work.t_b - work.t_a) for _, work, _ in followed)
    fell = all(drift.descent <= 1 + tolerance(work)[0] for _, work, drift in followed)
    possible = all(max(drift.impossible) <= 1 + tolerance(work)[1] for _, work, drift in followed)
    found = [
        Test("descent", max(drift.descent for _, _, drift in followed), fell, _strength(kept)),
        Test("impossible pairs", max(max(drift.impossible) for _, _, drift in followed), possible, IMPOSSIBLE),
    ]
    bounds = [drift.bound for _, work, drift in followed if work.reach is not None and work.weight is not None]
    if bounds:
        found.append(Test("update bound", max(bounds), max(bounds) <= 1, BOUND))
    cosines = sorted(c for _, _, drift in followed if (c := drift.alignment) is not None)
    if cosines:
        found.append(Test("alignment", cosines[len(cosines) // 2], True, ALIGNMENT))
    return found


def _strength(kept: float) -> str:
    if kept >= 0.5:
        return f"strong: v may fall to {kept:.3g} of itself at most"
    return f"{'weak' if kept >= 0.05 else 'says almost nothing'}: v may fall to {kept:.2g} of itself"
