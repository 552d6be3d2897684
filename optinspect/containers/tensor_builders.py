"""torch's rebuild functions as descriptions: TensorRef and CompositeRef instead of tensors.

The argument lists are those of torch/_utils.py and torch/_tensor.py, 0.4 to 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optinspect.containers.geometry import integers, view
from optinspect.containers.pickle_machine import DICTS, Builder, Global, Machine, NotPlain
from optinspect.opaque import Opaque
from optinspect.tensors import DTYPES, CompositeRef, DType, Storage, TensorRef

_META = "a meta tensor: it has a shape but no values"
_PLAIN_CLASSES = frozenset(("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"))
_PLACEMENTS = frozenset(("Replicate", "Shard", "_StridedShard"))
"""How a DTensor lies on its ranks where the values are those of the whole; under "Partial" they are yet to be added."""
_FIELDS = {
    "sparse_coo": ("indices", "values"),
    "sparse_csr": ("crow_indices", "col_indices", "values"),
    "sparse_csc": ("ccol_indices", "row_indices", "values"),
    "sparse_bsr": ("crow_indices", "col_indices", "values"),
    "sparse_bsc": ("ccol_indices", "row_indices", "values"),
}


def dtype_of(value: Any) -> DType:
    """The dtype that a reference such as `torch.float32` names. Raises NotPlain."""
    name = value.name if isinstance(value, Opaque) else ""
    module, _, short = name.rpartition(".")
    if module != "torch" or short not in DTYPES:
        raise NotPlain
    return DTYPES[short]


def tensor(m: Machine, arguments: tuple[Any, ...]) -> TensorRef:
    """_rebuild_tensor(storage, offset, size, stride) and v2, which adds requires_grad, hooks, metadata."""
    if len(arguments) < 4 or type(arguments[0]) is not Storage:
        raise NotPlain
    return _tensor(m, arguments[0].dtype, arguments[:4], arguments[4:5], arguments[6:7])


def typed_tensor(m: Machine, arguments: tuple[Any, ...]) -> TensorRef:
    """_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)."""
    if len(arguments) < 7 or type(arguments[0]) is not Storage:
        raise NotPlain
    return _tensor(m, dtype_of(arguments[6]), arguments[:4], arguments[4:5], arguments[7:8])


def _tensor(
    m: Machine, dtype: DType, place: tuple[Any, ...], requires_grad: tuple[Any, ...], metadata: tuple[Any, ...]
) -> TensorRef:
    storage, offset, shape, stride = place
    m.spent += 200
    made, problem = view(storage, dtype, shape, stride, offset)
    bits = metadata[0] if metadata and type(metadata[0]) in DICTS else {}
    if requires_grad == (True,) or bits:
        conj, neg = bits.get("conj") is True, bits.get("neg") is True
        made = replace(made, requires_grad=requires_grad == (True,), conj=conj, neg=neg)
    if problem is not None:
        m.broken(made, "geometry", problem)
    return made


def parameter(m: Machine, arguments: tuple[Any, ...]) -> TensorRef | CompositeRef:
    """_rebuild_parameter(data, requires_grad, hooks), with or without a state."""
    if len(arguments) < 2 or not isinstance(arguments[0], TensorRef | CompositeRef):
        raise NotPlain
    m.spent += 200
    if isinstance(arguments[0], CompositeRef):
        return arguments[0]
    made = replace(arguments[0], is_parameter=True, requires_grad=arguments[1] is True)
    if made.problem:
        m.broken(made, "geometry", made.problem)
    return made


def meta_tensor(m: Machine, arguments: tuple[Any, ...]) -> TensorRef:
    """_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad)."""
    if len(arguments) != 4:
        raise NotPlain
    dtype, shape, stride, requires_grad = arguments
    if not integers(shape) or not integers(stride) or len(shape) != len(stride):
        raise NotPlain
    if not all(0 <= value < 1 << 62 for value in (*shape, *stride)):
        raise NotPlain
    m.spent += 400
    storage = Storage("meta", dtype_of(dtype), 0, "meta", None, problem=_META)
    made = TensorRef(
        storage.dtype, tuple(shape), tuple(stride), 0, storage, requires_grad=requires_grad is True, problem=_META
    )
    m.broken(made, "missing", _META)
    return made


def quantized(m: Machine, arguments: tuple[Any, ...]) -> CompositeRef:
    """_rebuild_qtensor(storage, offset, size, stride, (scheme, scales, zero points…), requires_grad, hooks)."""
    if len(arguments) < 5 or type(arguments[0]) is not Storage or type(arguments[4]) is not tuple:
        raise NotPlain
    codes = _tensor(m, arguments[0].dtype, arguments[:4], (), ())
    scheme, *values = arguments[4] or (None,)
    names = ("scale", "zero_point", "axis")
    fields: dict[str, Any] = dict(zip(names, values, strict=False))
    fields["scheme"] = scheme.name if isinstance(scheme, Opaque) else None
    return _composite(m, "quantized", codes.shape, codes.dtype, {"codes": codes, **fields})


def sparse(m: Machine, arguments: tuple[Any, ...]) -> CompositeRef:
    """_rebuild_sparse_tensor(layout, data): the parts as they are, never put together."""
    if len(arguments) != 2 or not isinstance(arguments[0], Opaque) or type(arguments[1]) is not tuple:
        raise NotPlain
    kind = arguments[0].name.rpartition(".")[2]
    names = _FIELDS.get(kind, ())
    data = arguments[1]
    if not names or len(data) <= len(names) or not all(isinstance(part, TensorRef) for part in data[: len(names)]):
        raise NotPlain
    fields = dict(zip((*names, "size", "is_coalesced"), data, strict=False))
    return _composite(m, kind, _shape(fields.pop("size")), fields["values"].dtype, fields)


def nested(m: Machine, arguments: tuple[Any, ...]) -> CompositeRef:
    """_rebuild_nested_tensor(buffer, sizes, strides, offsets)."""
    if len(arguments) != 4 or not isinstance(arguments[0], TensorRef):
        raise NotPlain
    names = ("buffer", "sizes", "strides", "storage_offsets")
    return _composite(m, "nested", (), arguments[0].dtype, dict(zip(names, arguments, strict=True)))


def moved(_m: Machine, arguments: tuple[Any, ...]) -> TensorRef:
    """_rebuild_device_tensor_from_…(data, dtype, device, requires_grad): the data as it was saved."""
    if len(arguments) != 4 or not isinstance(arguments[0], TensorRef):
        raise NotPlain
    return arguments[0]


def wrapper(_m: Machine, arguments: tuple[Any, ...]) -> CompositeRef:
    """_rebuild_wrapper_subclass(class, dtype, size, stride, offset, layout, device, requires_grad): an outer shell."""
    if len(arguments) < 3 or not isinstance(arguments[0], Opaque):
        raise NotPlain
    return CompositeRef(arguments[0].name, _shape(arguments[2]), dtype_of(arguments[1]), {})


def subclass(m: Machine, arguments: tuple[Any, ...]) -> Any:
    """_rebuild_from_type_v2(function, class, arguments, state): the function must be one of this table."""
    if len(arguments) != 4 or type(arguments[0]) is not Global or type(arguments[2]) is not tuple:
        raise NotPlain
    function, kind, inner, state = arguments
    if function.builder not in _INNER or not isinstance(kind, Opaque):
        raise NotPlain
    made = function.builder(m, inner)
    if isinstance(made, CompositeRef) and not made.parts and kind.name not in _PLAIN_CLASSES:
        fields = _attributes(state)
        return _whole(made, fields) or _composite(m, kind.name, made.shape, made.dtype, fields)
    return made


def _whole(outer: CompositeRef, fields: Mapping[str, Any]) -> TensorRef | CompositeRef | None:
    """What one rank has of a DTensor or ShardedTensor, where that is all of it; None for a part or a partial sum."""
    local = fields.get("_local_tensor", fields.get("shard_0"))
    if not isinstance(local, TensorRef | CompositeRef) or local.shape != outer.shape:
        return None
    spec = fields.get("_spec")
    placements = spec.attribute("placements") if isinstance(spec, Opaque) else None
    held = placements if isinstance(placements, tuple | list) else ()
    names = [one.name.rpartition(".")[2] if isinstance(one, Opaque) else "" for one in held]
    known = bool(names) and _PLACEMENTS.issuperset(names)
    return local if known or "shard_0" in fields else None


def _attributes(state: Any) -> dict[str, Any]:
    """`__dict__`, or (`__dict__`, slots); of a ShardedTensor, (shards of this rank, …), each shard by its number."""
    if type(state) is tuple and state and type(state[0]) is list:
        shards = [shard for shard in state[0] if isinstance(shard, Opaque)]
        fields = {f"shard_{place}": shard.attribute("tensor") for place, shard in enumerate(shards)}
        return fields | {"shards": [shard.attribute("metadata") for shard in shards]}
    parts = state if type(state) is tuple else (state,)
    return {key: value for part in parts if type(part) in DICTS for key, value in part.items() if type(key) is str}


def _composite(
    m: Machine, kind: str, shape: tuple[int, ...], dtype: DType | None, fields: Mapping[str, Any]
) -> CompositeRef:
    """Tensors among the fields are parts (those of a part that has parts are named `part.its_part`)."""
    m.charge(800 + 200 * len(fields))
    parts: dict[str, TensorRef] = {}
    for name, value in fields.items():
        if isinstance(value, TensorRef):
            parts[name] = value
        elif isinstance(value, CompositeRef):
            m.charge(200 * len(value.parts))
            parts.update({f"{name}.{inner}": part for inner, part in value.parts.items()})
    rest = {name: value for name, value in fields.items() if not isinstance(value, TensorRef | CompositeRef)}
    return CompositeRef(kind, shape, dtype, parts, rest)


def _shape(value: Any) -> tuple[int, ...]:
    if not integers(value) or not all(0 <= size < 1 << 62 for size in value):
        raise NotPlain
    return tuple(value)


TENSORS: Mapping[str, Builder] = {
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_tensor_v3": typed_tensor,
    "torch._utils._rebuild_parameter": parameter,
    "torch._utils._rebuild_parameter_with_state": parameter,
    "torch._utils._rebuild_meta_tensor_no_storage": meta_tensor,
    "torch._utils._rebuild_qtensor": quantized,
    "torch._utils._rebuild_sparse_tensor": sparse,
    "torch._utils._rebuild_nested_tensor": nested,
    "torch._utils._rebuild_wrapper_subclass": wrapper,
    "torch._utils._rebuild_device_tensor_from_numpy": moved,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": moved,
    "torch._utils._rebuild_xla_tensor": moved,
    "torch._tensor._rebuild_from_type_v2": subclass,
}

_INNER = frozenset(builder for builder in TENSORS.values() if builder is not subclass)
