"""The text of a policy: what is expected, and every other key with a comment and an example."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from optinspect.checks.expected import ALL, Expected, Interval, Ranges
from optinspect.checks.thresholds import LIMITS, Thresholds
from optinspect.containers.wording import printable

HEAD = """# What `optinspect check` looks for, accepts and expects in the checkpoints of this run.
# Written by `optinspect check --write-config` from {name}, which passes.
# Lines that begin with "#" are comments; the keys in them are examples. More of each: docs/policy.md of optinspect.

# Exit status 1 from here on: error, warning, note, or never.
fail_on: error
"""
COMMENTS = {
    "optimizer": "Where this optimizer is in the file.",
    "family": "Its class; a list where several are allowed.",
    "groups": "How many parameter groups it has.",
    "lr": "Learning rate of every group: a number, or from low to high. Set it as the schedule of the run has it.",
    "weight_decay": "Of all, or by parameter names (* ? [abc]), where the first that fits decides.",
    "min_step": "Steps that most parameters have taken at least.",
    "moments": "dtype of the optimizer's state: one, a list of allowed ones, or by slots.",
    "companions": "What must lie beside it, of: scheduler, scaler, rng, ema, counters.",
}
EXAMPLES = """
# Findings that are known and accepted: they are counted, and every report gives the reason.
# ignore:
#   - rule: OI802
#     reason: biases decay in this recipe
#     names: ["*.bias"]

# Findings that count for more, or for less, than they come.
# severity:
#   OI802: warning

# Only these rules: codes, or how they begin.
# select: [OI1, OI2, OI3, OI4, OI5]

# What the optimizer's parameters are called, in its order: names, a list of them for each group, or a file with one a
# line. Shapes are compared; names that the file proves or records go before them.
# names:
#   - [fc.weight]
#   - [fc.bias]
"""


def policy_text(expected: Sequence[Expected], name: str, model_key: str | None, optimizer_key: str | None) -> str:
    """`name`: of the checkpoint, from which nothing but a comment is made."""
    parts = [HEAD.format(name=printable(name)), *_layout(model_key, optimizer_key), *_expect(expected), EXAMPLES]
    return "".join((*parts, *_thresholds()))


def _layout(model_key: str | None, optimizer_key: str | None) -> Iterator[str]:
    given = [("model", model_key), ("optimizer", optimizer_key)]
    lines = [f"  {key}: {quoted(route)}" for key, route in given if route]
    yield "\n# Routes of the model and the optimizer, where a file has several or hides them.\n"
    yield "\n".join(["layout:", *lines, ""] if lines else ["# layout:", "#   model: net", "#   optimizer: opt", ""])


def _expect(expected: Sequence[Expected]) -> Iterator[str]:
    if not expected:
        return
    yield "\n# What the checkpoint must be; a list of such blocks where there are several optimizers.\nexpect:\n"
    told: set[str] = set()
    for each in expected:
        first = "- " if len(expected) > 1 else "  "
        for line in _lines(each, told):
            yield f"  {first}{line}\n" if len(expected) > 1 else f"  {line}\n"
            first = "  "


def _lines(each: Expected, told: set[str]) -> Iterator[str]:
    """Keys that say something; what a key means stands beside it the first time."""
    for key, write in WRITERS:
        lines = write(each)
        if lines:
            if key not in told:
                told.add(key)
                lines = [f"{lines[0]}  # {COMMENTS[key]}", *lines[1:]]
            yield from lines


def _ranges(key: str, ranges: Ranges) -> list[str]:
    if not ranges:
        return []
    if [glob for glob, _ in ranges] == [ALL]:
        return [f"{key}: {_interval(ranges[0][1])}"]
    return [f"{key}:", *(f"  {quoted(glob)}: {_interval(allowed)}" for glob, allowed in ranges)]


def _moments(each: Expected) -> list[str]:
    if not each.moments:
        return []
    if [glob for glob, _ in each.moments] == [ALL]:
        return [f"moments: {_some(each.moments[0][1])}"]
    return ["moments:", *(f"  {quoted(slot)}: {_some(dtypes)}" for slot, dtypes in each.moments)]


WRITERS: tuple[tuple[str, Callable[[Expected], list[str]]], ...] = (
    ("optimizer", lambda each: [f"optimizer: {quoted(each.optimizer)}"] if each.optimizer is not None else []),
    ("family", lambda each: [f"family: {_some(each.families)}"] if each.families else []),
    ("groups", lambda each: [f"groups: {each.groups}"] if each.groups is not None else []),
    ("lr", lambda each: _ranges("lr", each.lr)),
    ("weight_decay", lambda each: _ranges("weight_decay", each.weight_decay)),
    ("min_step", lambda each: [f"min_step: {number(each.min_step)}"] if each.min_step is not None else []),
    ("moments", _moments),
    ("companions", lambda each: [f"companions: [{', '.join(each.companions)}]"] if each.companions else []),
)
"""Key and its lines, in the order in which they are written."""


def _some(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"


def _interval(allowed: Interval) -> str:
    if allowed.low == allowed.high:
        return number(allowed.low)
    return f"[{number(allowed.low)}, {number(allowed.high)}]"


def number(value: float) -> str:
    """Exact, and a number for YAML 1.1 too, which takes 1e-05 for a text."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = repr(float(value))
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{mark}{exponent}" if mark else text


def quoted(text: str) -> str:
    """In double quotes; what is not printable ASCII as an escape that YAML knows."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return f"\\{char}"
    if 0x20 <= code < 0x7F:
        return char
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _thresholds() -> Iterator[str]:
    yield "\n# Limits of the rules, with their defaults.\n# thresholds:\n"
    defaults = asdict(Thresholds())
    for each in LIMITS:
        yield f"#   {each.name}: {number(defaults[each.name])}  # {each.metadata['about']}\n"
