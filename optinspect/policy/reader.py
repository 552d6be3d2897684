"""optinspect.yaml → Policy. Every key, type and word that is not understood is an error at its line and column."""

from __future__ import annotations

import yaml

from optinspect.checks import RULES
from optinspect.checks.expected import Terms, Waiver
from optinspect.checks.thresholds import LIMITS, Thresholds
from optinspect.live.registry import MANUAL
from optinspect.policy.contents import Policy
from optinspect.policy.document import compose, read_text
from optinspect.policy.expectations import expected, glob
from optinspect.policy.fields import Item, Section
from optinspect.policy.listed_names import told
from optinspect.proof.findings import KINDS
from optinspect.report import LEVELS, Severity

KEYS = ("select", "ignore", "severity", "fail_on", "thresholds", "expect", "layout", "names")
IGNORE = ("rule", "reason", "names")
LAYOUT = ("model", "optimizer")


def read(path: str) -> Policy:
    """The policy in a file. Raises UnreadableFile, and UsageError with line and column for what it does not allow."""
    return read_policy(read_text(path), path)


def read_policy(text: str, path: str) -> Policy:
    """Of its text; `path` is what errors are about and what files of names are relative to."""
    root = compose(text, path)
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        return Policy(path)
    found = Item(root, path, "").section(KEYS)
    waivers = found.values("ignore", _waiver)
    layout = found.value("layout", lambda item: item.section(LAYOUT)) or Section({})
    return Policy(
        path,
        select=found.values("select", code),
        ignore=tuple(each for each in waivers if not each.names),
        severity=found.value("severity", _severities) or (),
        fail_on=found.value("fail_on", lambda item: item.word(LEVELS)),
        model_key=layout.value("model", Item.text),
        optimizer_key=layout.value("optimizer", Item.text),
        terms=Terms(
            thresholds=found.value("thresholds", _thresholds) or Thresholds(),
            expected=found.value("expect", expected) or (),
            waivers=tuple(each for each in waivers if each.names),
            told=found.value("names", told) or (),
        ),
    )


def code(item: Item) -> str:
    """OI304, or OI3 for all that begin so."""
    word = item.text("the code of a rule").upper()
    if not any(known.startswith(word) for known in (*(rule.code for rule in (*RULES, *MANUAL)), *KINDS)):
        raise item.refuse(f"{item.key} is {item.described}: no rule has such a code (optinspect rules lists them)")
    return word


def _waiver(item: Item) -> Waiver:
    if not item.is_mapping:
        raise item.unlike("a mapping with rule and reason")
    found = item.section(IGNORE)
    word, reason = found.value("rule", code), found.value("reason", Item.text)
    if word is None or reason is None:
        lacking = "rule" if word is None else "reason"
        raise item.refuse(f"{item.key} has no {lacking} (say which rule, and why it is accepted)")
    names = found.values("names", glob)
    if names and not any(rule.code.startswith(word) for rule in RULES):
        raise item.refuse(f"{item.key}: {word} is not about single parameters (no names expected)")
    return Waiver(word, reason, names)


def _severities(item: Item) -> tuple[tuple[str, Severity], ...]:
    words = [each.value for each in Severity]
    return tuple((code(key), Severity(value.word(words))) for key, value in item.entries())


def _thresholds(item: Item) -> Thresholds:
    limits = {each.name: each.metadata for each in LIMITS}
    pairs = item.section(limits).found.items()
    return Thresholds(**{key: each.number(limits[key]["low"], limits[key]["high"]) for key, each in pairs})
