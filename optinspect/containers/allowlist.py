"""Which names torch.load(weights_only=True) builds by itself (torch 2.13): the rest would need trust to load."""

from __future__ import annotations

import re

from optinspect.tensors import DTYPES

_NAMES = frozenset(
    (
        "collections.OrderedDict",
        "collections.Counter",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.set",
        "builtins.complex",
        "torch._tensor._rebuild_from_type_v2",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
        *(f"torch.{name}" for name in DTYPES),
        *(f"torch.per_{name}" for name in ("tensor_affine", "tensor_symmetric", "channel_affine", "channel_symmetric")),
        "torch.per_channel_affine_float_qparams",
        *(
            f"torch._utils._rebuild_{name}"
            for name in (
                "parameter", "parameter_with_state", "qtensor", "tensor", "tensor_v2", "tensor_v3", "sparse_tensor",
                "meta_tensor_no_storage", "nested_tensor", "wrapper_subclass", "device_tensor_from_numpy",
                "device_tensor_from_cpu_tensor",
            )
        ),
    )
)  # fmt: skip
_CLASSES = re.compile(r"torch(\.cuda|\.sparse|\.cuda\.sparse)?\.[A-Z][A-Za-z0-9]*(Tensor|Storage)\Z")


def torch_allows(name: str) -> bool:
    """Whether a load with torch's own allowlist, and nothing added to it, builds this name."""
    return name in _NAMES or _CLASSES.match(name) is not None
