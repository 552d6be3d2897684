"""The other optimizers of torch.optim, with torch 2.13's defaults."""

from __future__ import annotations

from math import inf

from optinspect.optimizers.base import Optimizer, Range, Settings, Switch, slots, words

SOURCE = "torch.optim"


def _begins_at_0(settings: Settings, _: float) -> bool:
    """Whether Rprop clamps its steps to nothing above 0."""
    sizes = settings.get("step_sizes")
    return not (isinstance(sizes, list | tuple) and sizes and isinstance(sizes[0], int | float) and sizes[0] > 0)


def _always(_: Settings, __: float) -> bool:
    return True


_SWITCHES = {"foreach": None, "maximize": False, "differentiable": False}
_CAPTURABLE = {**_SWITCHES, "capturable": False}
_LATER = words("foreach maximize differentiable capturable fused")

OPTIMIZERS: tuple[Optimizer, ...] = (
    Optimizer(
        name="SGD",
        source=SOURCE,
        slots=slots(parameter="momentum_buffer"),
        defaults={
            "lr": 1e-3,
            "momentum": 0,
            "dampening": 0,
            "weight_decay": 0,
            "nesterov": False,
            **_SWITCHES,
            "fused": None,
        },
        later=_LATER,
        switches=(Switch("momentum", "momentum_buffer", anew=True),),
    ),
    Optimizer(
        name="RMSprop",
        source=SOURCE,
        slots=slots(parameter="square_avg momentum_buffer grad_avg", scalar="step"),
        defaults={
            "lr": 1e-2,
            "momentum": 0,
            "alpha": 0.99,
            "eps": 1e-8,
            "centered": False,
            "weight_decay": 0,
            **_CAPTURABLE,
        },
        always=words("step square_avg"),
        later=_LATER,
        switches=(Switch("momentum", "momentum_buffer"), Switch("centered", "grad_avg")),
        centred=("grad_avg", "square_avg", "alpha"),
    ),
    Optimizer(
        name="Adagrad",
        source=SOURCE,
        slots=slots(parameter="sum", scalar="step"),
        defaults={
            "lr": 1e-2,
            "lr_decay": 0,
            "eps": 1e-10,
            "weight_decay": 0,
            "initial_accumulator_value": 0,
            **_SWITCHES,
            "fused": None,
        },
        always=words("step sum"),
        later=_LATER,
    ),
    Optimizer(
        name="Adadelta",
        source=SOURCE,
        slots=slots(parameter="square_avg acc_delta", scalar="step"),
        defaults={"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0, **_CAPTURABLE},
        always=words("step square_avg acc_delta"),
        later=_LATER,
    ),
    Optimizer(
        name="ASGD",
        source=SOURCE,
        slots=slots(parameter="ax", scalar="step eta mu"),
        defaults={"lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6, "weight_decay": 0, **_CAPTURABLE},
        always=words("step eta mu ax"),
        later=_LATER,
        ranges={"eta": Range(0, inf, _always), "mu": Range(0, 1, _always)},  # eta is lr/(…), and lr may be 0
    ),
    Optimizer(
        name="Rprop",
        source=SOURCE,
        slots=slots(parameter="prev step_size", scalar="step"),
        defaults={"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50), **_CAPTURABLE},
        always=words("step prev step_size"),
        later=_LATER,
        variants=words("weight_decay"),
        ranges={"step_size": Range(0, inf, _begins_at_0)},
    ),
    Optimizer(
        name="LBFGS",
        source=SOURCE,
        slots=slots(
            scalar="func_evals n_iter al t ro H_diag prev_loss",
            other="d old_dirs old_stps prev_flat_grad",  # all parameters in one flat vector
        ),
        defaults={
            "lr": 1,
            "max_iter": 20,
            "max_eval": 25,
            "tolerance_grad": 1e-7,
            "tolerance_change": 1e-9,
            "history_size": 100,
            "line_search_fn": None,
        },
    ),
    Optimizer(
        name="Adafactor",
        source=SOURCE,
        slots=slots(parameter="variance", scalar="step", factored="row_var col_var"),
        defaults={
            "lr": 1e-2,
            "beta2_decay": -0.8,
            "eps": (None, 1e-3),
            "d": 1.0,
            "weight_decay": 0.0,
            "foreach": None,
            "maximize": False,
        },
        always=words("step"),
        factors=("row_var", "col_var"),
        by_rank=(words("variance"), words("row_var col_var")),
    ),
    Optimizer(
        name="Muon",
        source=SOURCE,
        slots=slots(parameter="momentum_buffer"),
        defaults={
            "lr": 1e-3,
            "weight_decay": 0.1,
            "momentum": 0.95,
            "nesterov": True,
            "ns_coefficients": (3.4445, -4.775, 2.0315),
            "eps": 1e-7,
            "ns_steps": 5,
            "adjust_lr_fn": None,
        },
        always=words("momentum_buffer"),
    ),
)
