"""docs/rules.md: the manual pages of all rules as one document, written from their docstrings."""

from __future__ import annotations

from collections.abc import Iterator

from optinspect.checks import RULES, Rule
from optinspect.commands.rules import LABELS, PAIRS, page_of, paragraphs
from optinspect.live.registry import MANUAL

FAMILIES = (
    ("OI1", "The file itself"),
    ("OI2", "What it holds, and under which names"),
    ("OI3", "Values and tensors of the state"),
    ("OI4", "Step counts"),
    ("OI5", "Settings of the groups"),
    ("OI6", "Two checkpoints of a run (`--previous`, `optinspect replay A --to B`)"),
    ("OI7", "Schedulers and companions"),
    ("OI8", "Conventions"),
    ("OI9", "The optimizer and model in memory (`optinspect.load`, `check --model`)"),
    ("OI0", "What a policy expects"),
)
HEAD = """# Rules of `optinspect check`

Written from the docstrings of `optinspect/checks/`; `optinspect rules OI304` prints one of these pages. An error
means that a resume fails or goes on differently, a warning that it very likely does, a note is worth knowing. A rule is
silent where another one has named the cause already. OI6xx are findings on two checkpoints of a run (`--previous`),
OI0xx on what a [policy](policy.md) expects.
"""


EVERY: tuple[Rule, ...] = (*RULES, *PAIRS, *MANUAL)


def document() -> str:
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for prefix, title in FAMILIES:
        yield f"## {title}\n"
        for rule in sorted((one for one in EVERY if one.code.startswith(prefix)), key=lambda one: one.code):
            yield from _page(rule)


def _page(rule: Rule) -> Iterator[str]:
    yield f"### {rule.code} {rule.title}\n"
    yield f"*{rule.severity.value}*" + (f", silent after {', '.join(rule.requires)}" if rule.requires else "") + "\n"
    for text in paragraphs(page_of(rule)):
        label, colon, rest = text.partition(": ")
        yield (f"**{label}:** {_literal(rest)}\n" if colon and label in LABELS else f"{_literal(text)}\n")


def _literal(text: str) -> str:
    return text.replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;").replace("|", "\\|")
