"""Adam and its kin in torch.optim: two moments, a step count, torch 2.13's defaults.

Adam and AdamW share every key and slot until 2.6; since 2.7 `decoupled_weight_decay` tells them apart. An
Adam(decoupled_weight_decay=True) does exactly what AdamW does and writes the same file, so AdamW it is called.
"""

from __future__ import annotations

from optinspect.optimizers.base import Optimizer, Range, Settings, slots, words

SOURCE = "torch.optim"

_MOMENTS = slots(parameter="exp_avg exp_avg_sq max_exp_avg_sq", scalar="step")
_LATER = words("maximize foreach capturable differentiable fused decoupled_weight_decay")
_SWITCHES = {"maximize": False, "foreach": None, "capturable": False, "differentiable": False}
_ADAM = {
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0,
    "amsgrad": False,
    **_SWITCHES,
    "fused": None,
    "decoupled_weight_decay": False,
}


FLUSHED = 6e-8
"""What is below may be 0 in any dtype: the smallest number of float16."""


def _faded(settings: Settings, step: float) -> bool:
    """Whether NAdam's product of momenta may be 0 by now; each is at least β1/2, and schedules may have lowered β1."""
    betas = settings.get("betas")
    first = [betas[0] if isinstance(betas, list | tuple) and betas else None, settings.get("base_momentum", 1)]
    known = [one for one in first if isinstance(one, int | float) and one >= 0]
    return len(known) < len(first) or (min(known) / 2) ** min(step, 1e6) < FLUSHED


def _adam_like(name: str, weight_decay: float, *, decoupled: bool, known: bool) -> Optimizer:
    """One of the two; `known`: written by a version that records which."""
    later = _LATER - {"decoupled_weight_decay"} if known else _LATER
    defaults = _ADAM | {"weight_decay": weight_decay, "decoupled_weight_decay": decoupled}
    if not known:
        del defaults["decoupled_weight_decay"]
    return Optimizer(
        name=name,
        source=SOURCE,
        slots=_MOMENTS,
        defaults=defaults,
        always=words("step exp_avg exp_avg_sq"),
        later=later,
        fixed={"decoupled_weight_decay": decoupled} if known else {},
        m_slot="exp_avg",
        v_slot="exp_avg_sq",
        max_slot="max_exp_avg_sq",
        adam_step=True,
    )


OPTIMIZERS: tuple[Optimizer, ...] = (
    _adam_like("AdamW", 1e-2, decoupled=True, known=True),
    _adam_like("Adam", 0, decoupled=False, known=True),
    _adam_like("AdamW", 1e-2, decoupled=True, known=False),
    _adam_like("Adam", 0, decoupled=False, known=False),
    Optimizer(
        name="NAdam",
        source=SOURCE,
        slots=slots(parameter="exp_avg exp_avg_sq", scalar="step mu_product"),
        defaults={
            "lr": 2e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0,
            "momentum_decay": 4e-3,
            "decoupled_weight_decay": False,
            **_SWITCHES,
        },
        always=words("step mu_product exp_avg exp_avg_sq"),
        later=_LATER,
        ranges={"mu_product": Range(0, 1, _faded)},
        m_slot="exp_avg",
        v_slot="exp_avg_sq",
    ),
    Optimizer(
        name="RAdam",
        source=SOURCE,
        slots=slots(parameter="exp_avg exp_avg_sq", scalar="step"),
        defaults={
            "lr": 1e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0,
            **_SWITCHES,
            "decoupled_weight_decay": False,
        },
        always=words("step exp_avg exp_avg_sq"),
        # 1.10 wrote the four keys that any hand-made AdamW writes too: foreach is what torch's own has had since.
        later=words("maximize capturable decoupled_weight_decay differentiable"),
        m_slot="exp_avg",
        v_slot="exp_avg_sq",
    ),
    Optimizer(
        name="Adamax",
        source=SOURCE,
        slots=slots(parameter="exp_avg exp_inf", scalar="step"),
        defaults={"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, **_SWITCHES},
        always=words("step exp_avg exp_inf"),
        later=_LATER,
    ),
    Optimizer(
        name="SparseAdam",
        source=SOURCE,
        slots=slots(parameter="exp_avg exp_avg_sq", scalar="step"),
        defaults={"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "maximize": False},
        always=words("step exp_avg exp_avg_sq"),
        later=words("maximize"),
        m_slot="exp_avg",
        v_slot="exp_avg_sq",
        adam_step=True,
    ),
)
