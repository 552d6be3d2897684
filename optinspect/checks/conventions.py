"""OI8xx: choices that are allowed, but worth knowing; and what a full load would run."""

from __future__ import annotations

from collections.abc import Iterable

from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.report import Severity


@rule("OI801", Severity.NOTE, title="the optimizer climbs")
def maximize(context: Context) -> Iterable[Complaint]:
    """maximize=True: steps go up the gradient. The flag travels with the file and replaces the constructor's.

    Why it matters: resumed by a script that minimises a loss, training unlearns from the first step on.
    Harmless when: the objective is a reward.
    Repair: set maximize=False in every group, if it is not meant.
    Seen: reinforcement learning code; flags of one run in the file of another.
    """
    found = [
        (number, optimizer, group, "maximize", "maximize is True")
        for number, optimizer, group in context.groups
        if group.hyperparameters.get("maximize") is True
    ]
    return context.alike(found)


def _vectors(context: Context) -> dict[tuple[int, int], tuple[int, int]]:
    """(optimizer, group) → how many matrices and how many vectors it has."""
    counts: dict[tuple[int, int], tuple[int, int]] = {}
    for subject in context.subjects:
        if subject.shape is not None:
            key = subject.optimizer, subject.group.number
            matrices, vectors = counts.get(key, (0, 0))
            flat = len(subject.shape) < 2
            counts[key] = (matrices + (not flat), vectors + flat)
    return counts


@rule("OI803", Severity.WARNING, title="weight decay on norms and biases only", requires=("OI504", "OI210"))
def decay_turned(context: Context) -> Iterable[Complaint]:
    """The groups that decay hold norms and biases only, while those of the matrices have weight_decay 0.

    Why it matters: it is the usual split the wrong way round: matrices grow, norms shrink towards 0.
    Harmless when: it was meant.
    Repair: exchange the weight_decay of the groups.
    Seen: groups given in another order than their settings (transformers PR#35927 changed which is which).
    """
    counts = _vectors(context)
    for number, optimizer in context.optimizers:
        groups = [(each, counts.get((number, each.number), (0, 0))) for each in optimizer.groups]
        decaying = [(each, count) for each, count in groups if each.number_of("weight_decay") and sum(count)]
        free = [count for each, count in groups if each.number_of("weight_decay") == 0]
        vectors_only = decaying and all(matrices == 0 for _, (matrices, _) in decaying)
        if vectors_only and any(matrices and matrices > vectors for matrices, vectors in free):
            first = decaying[0][0]
            told = f"group {first.number} decays {decaying[0][1][1]:,} norms and biases; the matrices do not decay"
            route = context.group_route(optimizer, first, "weight_decay")
            yield Complaint(told, route, spots=((number,),))


@rule("OI802", Severity.NOTE, title="weight decay on norms and biases", requires=("OI504", "OI803"))
def decay_on_vectors(context: Context) -> Iterable[Complaint]:
    """A group with weight decay holds vectors: biases, and the scales of norms.

    Why it matters: most recipes leave them out; their decay changes results slightly, or much where norms scale
    everything.
    Harmless when: it is the recipe. All parameters in one group is torch's default.
    Repair: two groups: tensors of two dimensions and more, and the rest with weight_decay=0.
    Seen: transformers PR#10598, PR#35927 (a custom RMSNorm decayed for years), Fast-LLM#542.
    """
    counts = _vectors(context)
    found = []
    for number, optimizer, group in context.groups:
        matrices, vectors = counts.get((number, group.number), (0, 0))
        decay = group.number_of("weight_decay")
        if decay and vectors and matrices + vectors + len(optimizer.groups) > 2:
            found.append((number, optimizer, group, "weight_decay", f"{decay:g} on norms and biases ({vectors:,})"))
    return context.alike(found)


@rule("OI804", Severity.NOTE, title="a full load would run code")
def would_run(context: Context) -> Iterable[Complaint]:
    """The pickle names functions or classes outside of torch's allowlist, which torch.load(weights_only=False) calls.

    Why it matters: loading such a file runs what its author chose. optinspect has kept the names as inert texts.
    Harmless when: you wrote the file, and the names are yours (argparse.Namespace, a config class).
    Repair: save plain dicts: then weights_only=True loads it, torch's default since 2.6.
    Seen: nerfstudio#3683, transformers#34631, sample-factory#313.
    """
    trees = context.facts.checkpoint.trees
    names = [name for tree in trees for name in tree.dangerous]
    if not trees:
        raise Skip("no file behind this checkpoint")
    if names:
        told = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield Complaint(f"torch.load(weights_only=False) would call {told}", None)


RULES: tuple[Rule, ...] = (maximize, decay_turned, decay_on_vectors, would_run)
