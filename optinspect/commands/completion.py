"""What a shell completes behind an option; file names are the shell's own. Called only while a TAB is pressed."""

from __future__ import annotations

from collections.abc import MutableMapping

from optinspect.render import RENDERERS


def formats() -> list[str]:
    return [each.name for each in RENDERERS if each.only is None]


def check_formats() -> list[str]:
    return [each.name for each in RENDERERS if each.suits("check")]


def levels() -> list[str]:
    from optinspect.report import LEVELS  # noqa: PLC0415  a command line that is run needs none of these

    return list(LEVELS)


def parts() -> list[str]:
    from optinspect.commands.diff import PARTS  # noqa: PLC0415

    return list(PARTS)


def codes() -> list[tuple[str, str]]:
    """The rules of check, with what they find."""
    from optinspect.checks import RULES  # noqa: PLC0415
    from optinspect.live.registry import MANUAL  # noqa: PLC0415

    return [(rule.code, rule.title) for rule in (*RULES, *MANUAL)]


def step_rules() -> list[str]:
    from optinspect.optimizers.rules import STEP_RULES  # noqa: PLC0415

    return [rule.name for rule in STEP_RULES]


def other_sides() -> list[str]:
    """What a replay is compared with."""
    return ["torch", "torch-foreach", "torch-fused", *step_rules()]


def mend_words(environment: MutableMapping[str, str]) -> None:
    """Bash hands "--format=js" over as three words, "--format", "=" and "js": leave the "=" out."""
    words = environment.get("COMP_WORDS", "").split("\n")
    position = environment.get("COMP_CWORD", "")
    if "=" not in words or not position.isdigit():
        return
    environment["COMP_WORDS"] = "\n".join(word for word in words if word != "=")
    environment["COMP_CWORD"] = str(int(position) - words[: int(position)].count("="))
