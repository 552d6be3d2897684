"""Which rules count: --select and --ignore, by whole codes or by how they begin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optinspect.checks import RULES
from optinspect.errors import UsageError
from optinspect.live.registry import MANUAL
from optinspect.proof.findings import KINDS


@dataclass(frozen=True, slots=True)
class Choice:
    """Codes or beginnings of codes ("OI3"). Without `select` every rule counts; `ignore` is stronger."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def takes(self, code: str) -> bool:
        return (not self.select or code.startswith(self.select)) and not code.startswith(self.ignore or ("-",))


def parse(option: str, words: Iterable[str]) -> tuple[str, ...]:
    """ "OI304,oi5", or some of such, → ("OI304", "OI5"). Raises UsageError for what no rule's code begins with."""
    given = [words] if isinstance(words, str) else words
    codes = tuple(code.strip().upper() for word in given for code in word.split(",") if code.strip())
    for code in codes:
        if not any(known.startswith(code) for known in (*(rule.code for rule in (*RULES, *MANUAL)), *KINDS)):
            raise UsageError(f"{option} {code}: no rule has such a code", hint="optinspect rules lists them")
    return codes
