"""The class that config.json names, out of the installed transformers: built on torch's meta device, without values.

Nothing is downloaded and nothing of the checkpoint is executed: the class is one that transformers itself lists for the
model_type, settings that would load code or weights are left out, and files are never looked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optinspect.containers.wording import printable
from optinspect.errors import UsageError

Shape = tuple[int, ...]

LEFT_OUT = re.compile(
    r"auto_map|_name_or_path|(?:use_)?kernels?(?:_config)?|.*(?:backbone(?!_config)|quantization|implementation).*",
    re.DOTALL,
)
"""Settings that could make transformers fetch or run something that lies elsewhere: code, weights, kernels."""
FOREIGN = "timm"
"""A model_type that begins so hands the work to timm, which takes names of repositories."""

REPEATS = re.compile(r"layer|block|depth|stage|n_head|num_.*heads", re.ASCII)
"""Settings that say how often something is built."""
ROOM = 256

DECAY_RULES: tuple[tuple[str, frozenset[str], re.Pattern[str]], ...] = (
    (
        "decay split of Trainer",
        frozenset({"LayerNorm"}),
        re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)"),
    ),
    ("decay split of Trainer before 4.46", frozenset({"LayerNorm", "RMSNorm"}), re.compile(r"bias")),
)
"""(title, classes of modules without decay, names without decay). Classes count by the end of their name."""


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of the file by its name, and where in the parameter it lies."""

    key: str
    offsets: Shape
    sizes: Shape


@dataclass(frozen=True, slots=True)
class LiveClass:
    """What the module's class says.

    title       "transformers 5.23.0's GPT2LMHeadModel"
    parameters  name → shape, in `named_parameters()` order, a tied one under its first name
    tied        name → its other names
    parts       name → where a saved file has it, under names that may be others
    decays      for each of DECAY_RULES the names that decay
    fixed       names that the class itself excludes from training
    """

    title: str
    parameters: Mapping[str, Shape]
    tied: Mapping[str, tuple[str, ...]]
    parts: Mapping[str, tuple[Part, ...]]
    decays: tuple[tuple[str, frozenset[str]], ...]
    fixed: frozenset[str] = frozenset()


class NotBuilt(Exception):
    """Why the class cannot be had, in words."""


def require() -> None:
    """Raises UsageError where transformers is not installed, or cannot be imported."""
    hint = "pip install transformers, or leave the option out"
    try:
        with _offline():
            import transformers  # noqa: F401, PLC0415  seconds, and only where the option asks for it
    except ImportError as error:
        if error.name == "transformers":
            told = "transformers is not installed (expected in the Python that runs optinspect)"
            raise UsageError(f"--use-transformers: {told}", hint=hint) from None
        raise UsageError(f"--use-transformers: it cannot be imported: {_first_line(error)}", hint=hint) from None


def built(config: Mapping[str, Any], tensors: int) -> LiveClass:
    """The class of a model's config.json; `tensors`: how many the file has. Raises NotBuilt, UsageError."""
    require()
    _bounded(config, tensors)
    with _offline():
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415

        _same_major(config.get("transformers_version"), transformers.__version__)
        transformers.logging.set_verbosity_error()
        cls, settings = _chosen(transformers, config)
        try:
            with torch.device("meta"):
                module = cls(settings)
        except Exception as error:
            raise NotBuilt(f"{cls.__name__} cannot be built from config.json: {_first_line(error)}") from None
        return _described(module, f"transformers {transformers.__version__}'s {cls.__name__}")


def _same_major(wrote: object, installed: str) -> None:
    """Between 4 and 5 classes changed the order of their modules (RoBERTa, ViT) and what is one parameter (experts)."""
    version = printable(wrote, 20) if isinstance(wrote, str) else "an unknown version"
    if version.partition(".")[0] != installed.partition(".")[0]:
        raise NotBuilt(f"{version} of transformers wrote config.json, {installed} is installed: orders may differ")


def _chosen(transformers: Any, config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The model's class and its configuration, both of those that transformers lists for the model_type."""
    from transformers.models.auto import configuration_auto, modeling_auto  # noqa: PLC0415

    kind, classes = config.get("model_type"), config.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes else None
    known = configuration_auto.CONFIG_MAPPING_NAMES
    if not isinstance(kind, str) or kind not in known:
        raise NotBuilt(f"the model_type {printable(str(kind), 40)} of config.json is none that transformers has")
    tables = (
        table for title, table in vars(modeling_auto).items() if title.startswith("MODEL_") and title.endswith("_NAMES")
    )
    listed = {one for table in tables for one in _several(table.get(kind))}
    if not isinstance(name, str) or name not in listed:
        raise NotBuilt(f"the architecture {printable(str(name), 60)} of config.json is none of transformers' {kind}")
    try:
        return getattr(transformers, name), configuration_auto.CONFIG_MAPPING[kind].from_dict(_plain(config))
    except Exception as error:
        raise NotBuilt(f"config.json is not understood: {_first_line(error)}") from None


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that only describe, at every level. Raises NotBuilt for a part that another package builds."""
    if str(config.get("model_type", "")).startswith(FOREIGN):
        raise NotBuilt("a part of config.json is a timm model, which is not built here")
    kept = {key: value for key, value in config.items() if isinstance(key, str) and not LEFT_OUT.fullmatch(key)}
    return {key: _plain(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _several(value: Any) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,) if isinstance(value, str) else ()


def _first_line(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", 120)


def _bounded(config: Mapping[str, Any], tensors: int) -> None:
    """A file must not make us build more than it has weights for."""
    limit = 4 * tensors + ROOM
    for held in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key, value in held.items():
            counts = value if isinstance(value, list) else [value]
            total = (
                sum(one for one in counts if type(one) is int) if isinstance(key, str) and REPEATS.search(key) else 0
            )
            if total > limit or len(counts) > max(limit, 100_000):
                told = f"config.json has {printable(key, 40)} {total:,}, the file {tensors:,} tensors"
                raise NotBuilt(told)


@contextmanager
def _offline() -> Iterator[None]:
    """transformers looks for nothing, on the disk's cache or elsewhere."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _described(module: Any, title: str) -> LiveClass:
    from optinspect.directories.live_names import parts_of, tied_names  # noqa: PLC0415

    parameters = {name: tuple(value.shape) for name, value in module.named_parameters()}
    decays = tuple(
        (told, frozenset(parameters) - _spared(module, classes, names)) for told, classes, names in DECAY_RULES
    )
    fixed = frozenset(name for name, value in module.named_parameters() if not value.requires_grad)
    return LiveClass(title, parameters, tied_names(module), parts_of(module), decays, fixed)


def _spared(module: Any, classes: frozenset[str], names: re.Pattern[str]) -> set[str]:
    """Parameters without decay: inside a module of such a class, or called so."""
    spared: set[str] = set()
    for path, inner in module.named_modules():
        norm = type(inner).__name__.endswith(tuple(classes))
        for leaf, _ in inner.named_parameters(recurse=False):
            name = f"{path}.{leaf}" if path else leaf
            if norm or names.search(name.lower()):
                spared.add(name)
    return spared
