"""Names of tensors: wrapper prefixes, and which names are buffers'."""

from __future__ import annotations

import re
from collections.abc import Sequence

WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What DataParallel, DDP, torch.compile, FSDP and activation checkpointing put in front of every name."""

BUFFERS = re.compile(
    r"""(?:^|\.)(?:
        running_mean | running_var | num_batches_tracked | n_averaged | initialized
      | (?:\w+_)?mask(?:ed_bias)? | (?:\w+_)?masked_bias | (?:\w+_)?inv_freq | freqs_(?:cis|cos|sin)
      | (?:cos|sin)_cached | position_ids | token_type_ids | relative_position_index | relative_coords_table | attn_mask
      | tril | triu | causal | pe | anchor_grid | anchors | strides? | pixel_mean | pixel_std
      | queue(?:_ptr)? | ema_\w+ | embed_avg | cluster_size | final_logits_bias | zero_point
      | min_val | max_val | \w+_enabled
    )$""",
    re.VERBOSE,
)
"""Last parts of names that are buffers in nearly every model; a guess, so the kind keeps its question mark."""


def without_prefix(names: Sequence[str], exempt: frozenset[str] = frozenset()) -> tuple[str, list[str]]:
    """The wrapper prefixes that all names share, in any order and number, and the names without them."""
    bare = [name for name in names if name not in exempt]
    prefix = ""
    while bare:
        found = next((w for w in WRAPPERS if all(name.startswith(w, len(prefix)) for name in bare)), None)
        if found is None or any(len(name) == len(prefix) + len(found) for name in bare):
            break
        prefix += found
    return prefix, [name if name in exempt else name[len(prefix) :] for name in names]


def is_buffer_name(name: str) -> bool:
    return BUFFERS.search(name) is not None
