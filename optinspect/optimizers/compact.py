"""Optimizers that keep their state in fewer bytes, fused ones, and what trainers ship: Adafactor, 8-bit, 4-bit, fp8.

Keys and slots of the classes that tests open (8-bit Adam, AdEMAMix and Lion, 4-bit and fp8 AdamW, the flash and
heavyball classes) were seen in files; their siblings, apex, DeepSpeed and transformers are from knowledge of the
packages, not measured: an unknown detail there leaves the family undecided, never wrong state.
bitsandbytes wraps its slots once more in the file; the names here are the bare ones.
"""

from __future__ import annotations

from typing import Any

from optinspect.optimizers.base import NO_DEFAULT, Optimizer, slots, words

_ONE_STATE = slots(
    parameter="state1", scalar="step", quantised="qmap1 absmax1 max1 new_max1 gnorm_vec unorm_vec", other="param"
)
_TWO_STATES = _ONE_STATE | slots(parameter="state2", quantised="qmap2 absmax2 max2 new_max2")
_ADEMAMIX = _TWO_STATES | slots(other="state1")  # two fast and slow averages stacked in front of the shape
_BNB_ADAM = {
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0,
    "alpha": 0.0,
    "t_alpha": None,
    "t_beta3": None,
}
_BNB_LATER = words("alpha t_alpha t_beta3")


def _two_states(name: str, weight_decay: float, **more: Any) -> Optimizer:
    """8-bit ones keep tensors under 4,096 elements as 32-bit, so the codes' absence decides nothing."""
    return Optimizer(
        name=name,
        source="bitsandbytes",
        slots=_TWO_STATES,
        defaults=_BNB_ADAM | {"weight_decay": weight_decay},
        later=_BNB_LATER,
        **{"always": words("state1 state2"), "fixed": {"alpha": 0.0}, **more},
    )


def _one_state(name: str, betas: tuple[float, float], eps: float, **more: Any) -> Optimizer:
    return Optimizer(
        name=name,
        source="bitsandbytes",
        slots=_ONE_STATE,
        defaults={"lr": 1e-4, "betas": betas, "eps": eps, "weight_decay": 0} | dict.fromkeys(_BNB_LATER, None),
        later=_BNB_LATER,
        **{"always": words("state1"), **more},
    )


_PLAIN_32 = {"m_slot": "state1", "v_slot": "state2", "adam_step": True, "without": words("qmap1 unorm_vec")}
_CODES = {"with_any": words("qmap1"), "without": words("unorm_vec")}
_LAYERWISE = "unorm_vec"  # the norm of the update, which only LAMB and LARS keep


def _torchao(name: str, tensor_class: str, weight_decay: float) -> Optimizer:
    return Optimizer(
        name=name,
        source="torchao",
        slots=slots(parameter="exp_avg exp_avg_sq max_exp_avg_sq", scalar="step"),
        defaults={"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": weight_decay, "amsgrad": False},
        always=words("step exp_avg exp_avg_sq"),
        tensor_class=tensor_class,
    )


def _flash(name: str, held: str, always: str, **defaults: Any) -> Optimizer:
    quantised = " ".join(f"{slot}::{part}" for slot in held.split() for part in ("quantized", "scales"))
    return Optimizer(
        name=name,
        source="flashoptim",
        slots=slots(parameter=held, scalar="step", quantised=quantised, other="error_bits master_bits"),
        defaults=defaults | {"master_bytewidth": 0, "quantize": True},
        always=words(always),
        fixed={},
    )


def _heavyball(name: str, mark: str, **defaults: Any) -> Optimizer:
    """Chains name their slots by function and place ("0.scale_by_soap_exp_avg_2"): the function is the mark."""
    running = words("param_count is_preconditioning base_lr step_count step prev_lr")
    common = {"warmup_steps": 0, "multi_tensor": True, "caution": False, "ecc": None, "param_ecc": None}
    return Optimizer(
        name=name,
        source="heavyball",
        slots=slots(
            parameter="ema_momentum", scalar="step", factored="_Q_ _GG_", other="is_initialized scale_by_soap_exp_avg"
        ),
        defaults=common | defaults | dict.fromkeys(running, NO_DEFAULT),
        always=words(mark),
        later=running | words("warmup_steps multi_tensor ecc param_ecc"),
        step_key="step_count",
        patterns=True,
    )


def _fused(name: str, source: str, more: dict[str, Any], **flags: Any) -> Optimizer:
    return Optimizer(
        name=name,
        source=source,
        slots=slots(parameter="exp_avg exp_avg_sq", scalar="step"),
        defaults={"lr": 1e-3, "bias_correction": True, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, **more},
        always=words("exp_avg exp_avg_sq"),
        step_key="step" if "step" in more else None,
        **flags,
    )


_MOMENTS: dict[str, Any] = {"m_slot": "exp_avg", "v_slot": "exp_avg_sq", "adam_step": True}
_SOAP = {"shampoo_beta": 0.95, "max_precond_dim": 2048, "merge_dims": True, "precondition_1d": False, "split": False}
_SHARED = {"cautious_weight_decay": False, "storage_dtype": "float32", "mars": False, "mars_gamma": 0.0025}

OPTIMIZERS: tuple[Optimizer, ...] = (
    _two_states("AdamW8bit", 1e-2, **_CODES),
    _two_states("Adam8bit", 0, **_CODES),
    _two_states("AdamW32bit", 1e-2, **_PLAIN_32),
    _two_states("Adam32bit", 0, **_PLAIN_32),
    _two_states("AdamW8bit", 1e-2, **_PLAIN_32),
    _two_states("Adam8bit", 0, **_PLAIN_32),
    Optimizer(
        name="AdEMAMix8bit",
        source="bitsandbytes",
        slots=_ADEMAMIX,
        defaults=_BNB_ADAM | {"betas": (0.9, 0.999, 0.9999), "weight_decay": 1e-2, "alpha": 5.0},
        always=words("state1 state2"),
        with_any=words("qmap1"),
    ),
    _one_state("Lion8bit", (0.9, 0.99), 0.0, **_CODES),
    _one_state("RMSprop8bit", (0.99, 0), 1e-8, **_CODES),
    _one_state("SGD8bit", (0.9, 0), 0.0, **_CODES),
    _one_state("Adagrad8bit", (0.0, 0.0), 1e-10, fixed={"betas": (0.0, 0.0)}, **_CODES),
    _one_state("Lion32bit", (0.9, 0.99), 0.0, without=words("qmap1 unorm_vec")),
    _one_state("Lion8bit", (0.9, 0.99), 0.0, without=words("qmap1 unorm_vec")),
    *(_two_states(name, 0, always=words(f"state1 state2 {_LAYERWISE}")) for name in ("LAMB8bit", "LAMB32bit")),
    *(_one_state(name, (0.9, 0), 0.0, always=words(f"state1 {_LAYERWISE}")) for name in ("LARS8bit", "LARS32bit")),
    _torchao("AdamW8bit", "OptimState8bit", 1e-2),
    _torchao("Adam8bit", "OptimState8bit", 0),
    _torchao("AdamW4bit", "OptimState4bit", 1e-2),
    _torchao("Adam4bit", "OptimState4bit", 0),
    _torchao("AdamWFp8", "OptimStateFp8", 1e-2),
    _torchao("AdamFp8", "OptimStateFp8", 0),
    _flash(
        "FlashAdamW",
        "exp_avg exp_avg_sq",
        "exp_avg exp_avg_sq",
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.01,
    ),
    _flash("FlashLion", "exp_avg", "exp_avg", lr=1e-3, betas=(0.9, 0.99), weight_decay=0),
    _flash("FlashSGD", "momentum_buffer", "", lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0),
    _heavyball(
        "SOAP",
        "scale_by_soap",
        lr=1e-3,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0,
        **_SOAP,
        **_SHARED,
        beta2_scale=0.8,
        precond_grad_accum=False,
    ),
    _heavyball(
        "Muon",
        "nesterov_ema",
        lr=1e-3,
        betas=(0.9, 0.99),
        eps=1e-8,
        weight_decay=0,
        nesterov=True,
        heavyball_momentum=False,
        **_SHARED,
        beta2_scale=0.8,
    ),
    _fused("FusedAdam", "apex", {"step": NO_DEFAULT}, later=words("step"), **_MOMENTS),
    _fused("DeepSpeedCPUAdam", "deepspeed", {"amsgrad": False}, **_MOMENTS),
    _fused(
        "FusedLAMB", "apex", {"grad_averaging": True, "max_grad_norm": 1.0, "step": NO_DEFAULT}, later=words("step")
    ),
    Optimizer(
        name="Adafactor",
        source="transformers",
        slots=slots(parameter="exp_avg exp_avg_sq", scalar="step RMS", factored="exp_avg_sq_row exp_avg_sq_col"),
        defaults={
            "lr": None,
            "eps": (1e-30, 1e-3),
            "clip_threshold": 1.0,
            "decay_rate": -0.8,
            "beta1": None,
            "weight_decay": 0.0,
            "scale_parameter": True,
            "relative_step": True,
            "warmup_init": False,
        },
        always=words("step RMS"),
        factors=("exp_avg_sq_row", "exp_avg_sq_col"),
    ),
    Optimizer(
        name="AdamW",
        source="transformers",
        slots=slots(parameter="exp_avg exp_avg_sq", scalar="step"),
        defaults={"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.0, "correct_bias": True},
        always=words("step exp_avg exp_avg_sq"),
        **_MOMENTS,
    ),
)
