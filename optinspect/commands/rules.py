"""`optinspect rules [CODE]`: every rule in one line, or the manual page of one."""

from __future__ import annotations

from functools import cache

from optinspect.checks import RULES, Rule
from optinspect.checks.base import Complaint, Context
from optinspect.errors import UsageError
from optinspect.live.registry import MANUAL
from optinspect.proof.findings import KINDS
from optinspect.proof.pages import PAGES
from optinspect.report import Column, Line, Report, Table, Unit

COLUMNS = (
    Column("rule", "rule", Unit.TEXT, 0),
    Column("severity", "severity", Unit.TEXT, 0),
    Column("title", "what it finds", Unit.TEXT, 0),
    Column("requires", "silent after", Unit.LIST, 3, machine=True),
    Column("page", "page", Unit.TEXT, 4, machine=True),
)


def _on_pairs(_: Context) -> tuple[Complaint, ...]:
    """Found by the proof (`optinspect check B --previous A`, `optinspect replay A --to B`), never by one file."""
    return ()


PAIRS = tuple(Rule(code, kind.severity, kind.title, _on_pairs, repair=kind.repair) for code, kind in KINDS.items())
"""What the proof from two checkpoints finds, by its codes."""


def page_of(rule: Rule) -> str:
    """The manual page of any rule."""
    return PAGES.get(rule.code) or rule.page


def build(code: str | None) -> Report:
    """Raises UsageError for a code that no rule has."""
    every = sorted((*RULES, *PAIRS, *MANUAL), key=lambda rule: rule.code)
    chosen = every if code is None else [rule for rule in every if rule.code == code.upper()]
    if not chosen:
        raise UsageError(f"{code}: no rule has this code", hint="optinspect rules lists them")
    rows = [_row(rule) for rule in chosen]
    return Report(
        command="rules",
        status=0,
        inputs=(),
        summary={"rules": len(chosen)},
        tables=(Table("rules", "Rules", COLUMNS, rows, machine=code is not None),),
        headline=tuple(_page(chosen[0])) if code is not None else (),
        next_command="optinspect rules OI304" if code is None else None,
    )


def _row(rule: Rule) -> dict[str, object]:
    return {
        "rule": rule.code,
        "severity": rule.severity.value,
        "title": rule.title,
        "requires": list(rule.requires),
        "page": page_of(rule),
    }


def _page(rule: Rule) -> list[Line]:
    """The docstring, a paragraph a line: what it is, then what its labels say."""
    lines = [Line(rule.code, f"{rule.severity.value}: {rule.title}")]
    for text in paragraphs(page_of(rule)):
        label, colon, rest = text.partition(": ")
        lines.append(Line(label.lower(), rest) if colon and label in LABELS else Line("", text))
    return lines


@cache
def repair_of(code: str) -> str | None:
    """What the manual page of a rule says about the repair."""
    pages = (page_of(rule) for rule in (*RULES, *PAIRS, *MANUAL) if rule.code == code)
    told = (text for page in pages for text in paragraphs(page) if text.startswith(REPAIR))
    return next((text.removeprefix(REPAIR).removesuffix(".") for text in told), None)


REPAIR = "Repair: "
LABELS = ("Why a resume breaks", "Why it matters", "Harmless when", "Repair", "Seen")
"""How the parts of a page begin."""


def paragraphs(page: str) -> list[str]:
    """Lines joined to paragraphs; a labelled part, and an indented formula, stand for themselves."""
    found: list[str] = []
    fresh = True
    for line in page.split("\n"):
        text = line.strip()
        begins = any(text.startswith(f"{label}: ") for label in LABELS)
        if not text:
            fresh = True
        elif fresh or begins or line.startswith("    "):
            found.append(text)
            fresh = line.startswith("    ")
        else:
            found[-1] += f" {text}"
    return found
