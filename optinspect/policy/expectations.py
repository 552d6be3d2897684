"""`expect:` of a policy: what a checkpoint must be, of one optimizer or of all."""

from __future__ import annotations

from optinspect.checks.expected import ALL, COMPANIONS, Expected, Interval, Ranges
from optinspect.optimizers import OPTIMIZERS
from optinspect.policy.fields import Item, meant
from optinspect.tensors import DTYPES

KEYS = ("optimizer", "family", "groups", "lr", "weight_decay", "min_step", "moments", "companions")


def expected(item: Item) -> tuple[Expected, ...]:
    """A mapping, or a list of them: one an optimizer."""
    return tuple(_one(each) for each in item.one_or_more())


def _one(item: Item) -> Expected:
    found = item.section(KEYS)
    return Expected(
        optimizer=found.value("optimizer", Item.text),
        families=found.values("family", _family),
        groups=found.value("groups", Item.whole),
        lr=found.value("lr", _ranges) or (),
        weight_decay=found.value("weight_decay", _ranges) or (),
        min_step=found.value("min_step", lambda each: float(each.whole())),
        moments=found.value("moments", _moments) or (),
        companions=found.values("companions", lambda each: each.word(COMPANIONS)),
    )


def _family(item: Item) -> str:
    names = tuple(dict.fromkeys(each.name for each in OPTIMIZERS))
    word = item.text("an optimizer's class")
    if word not in names:
        raise item.refuse(f"{item.key} is {item.described}: no optimizer that is known ({meant(word, names)} expected)")
    return word


def glob(item: Item) -> str:
    """A pattern of names as the shell has them: * ? [abc]."""
    pattern = item.text("a pattern of names")
    place = 0
    while (place := pattern.find("[", place)) >= 0:
        end = pattern.find("]", place + (3 if pattern[place + 1 : place + 2] == "!" else 2))
        if end < 0:
            raise item.refuse(f"{item.key} is {item.described}: [ is never closed (write [[] for the character)")
        place = end + 1
    return pattern


def _ranges(item: Item) -> Ranges:
    if not item.is_mapping:
        return ((ALL, _interval(item)),)
    pairs = item.entries()
    if not pairs:
        raise item.unlike("a number, [low, high], or a mapping of names")
    return tuple((glob(name), _interval(value)) for name, value in pairs)


def _interval(item: Item) -> Interval:
    """0.1, or [0, 0.1]."""
    if item.is_mapping:
        raise item.unlike("a number, or [low, high]")
    if not item.is_list:
        value = item.number()
        return Interval(value, value)
    ends = [each.number() for each in item.items()]
    if len(ends) != 2:
        raise item.refuse(f"{item.key} has {len(ends)} numbers ([low, high] expected)")
    if ends[0] > ends[1]:
        raise item.refuse(f"{item.key} is [{ends[0]:g}, {ends[1]:g}]: nothing lies between (low first)")
    return Interval(ends[0], ends[1])


def _moments(item: Item) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """float32, [float32, bfloat16], or a mapping of slots."""
    if not item.is_mapping:
        return ((ALL, tuple(map(_dtype, item.one_or_more()))),)
    pairs = item.entries()
    if not pairs:
        raise item.unlike("a dtype, or a mapping of slots")
    return tuple((glob(slot), tuple(map(_dtype, value.one_or_more()))) for slot, value in pairs)


def _dtype(item: Item) -> str:
    """torch's name of a dtype, or the class of a quantised tensor as the file calls it (OptimState8bit)."""
    word = item.text("a dtype").removeprefix("torch.")
    if not readable_dtype(word):
        names = dict.fromkeys(("float32", "bfloat16", "float16", *DTYPES))
        raise item.refuse(f"{item.key} is {item.described}: no dtype of torch ({meant(word, names)} expected)")
    return word


def readable_dtype(word: str) -> bool:
    """A dtype, or what goes by its kind: the class of a tensor made of tensors."""
    made = word[:1].isupper() or word in ("quantized", "sparse_coo", "sparse_csr")
    return word in DTYPES or (made and word.isidentifier() and word.isascii())
