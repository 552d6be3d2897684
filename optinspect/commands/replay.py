"""`optinspect replay`: steps run again, and what comes of them under two implementations. Which question is asked:

--to B                       what happened from one file to another (prove)
no file                      the demonstration (replay_demo)
--model                      a forward and backward pass of the user's own model (replay_model)
a file                       gradients from a recording, from the moments, or zero (replay_file)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from optinspect.commands.opened import Opening
from optinspect.commands.selection import Selection
from optinspect.errors import OptinspectError, Undecidable, UnreadableTensor, UsageError
from optinspect.report import Report


@dataclass(frozen=True, slots=True)
class Options(Opening):
    """What `replay` can be asked; the defaults are those of the command line.

    steps  None: all that are recorded, else 10
    most   rows of the table of parameters; None for all
    to     a later checkpoint: prove instead; strict, model_states (of both) belong to that
    """

    steps: int | None = None
    rule: str | None = None
    against: str = "torch"
    grads: tuple[str, ...] = ()
    zero: bool = False
    synthetic: bool = False
    model: str | None = None
    data: str | None = None
    scheduler: bool = False
    seed: int = 0
    check_gradients: int | None = None
    save: str | None = None
    force: bool = False
    selection: Selection = field(default_factory=Selection)
    most: int | None = None
    model_state: str | None = None
    progress: bool = False
    to: str | None = None
    strict: bool = False
    model_states: tuple[str | None, str | None] = (None, None)


def build(path: str | None, options: Options) -> Report:
    """Run the steps. Raises OptinspectError where the file or the options do not allow an answer."""
    _check(path, options)
    with _about(path):
        if path is not None and options.to is not None:
            return _proof(path, options.to, options)
        if options.model is not None:
            from optinspect.commands import replay_model  # noqa: PLC0415

            return replay_model.build(path, options)
        if path is None:
            from optinspect.commands import replay_demo  # noqa: PLC0415

            return replay_demo.build(options)
        from optinspect.commands import replay_file  # noqa: PLC0415

        return replay_file.build(path, options)


def _proof(path: str, to: str, options: Options) -> Report:
    from optinspect.commands import prove  # noqa: PLC0415

    asked = prove.Options(
        model_state_a=options.model_states[0],
        model_state_b=options.model_states[1],
        model_key=options.model_key,
        optimizer_key=options.optimizer_key,
        max_memory=options.max_memory,
        strict=options.strict,
        selection=options.selection,
        most=options.most,
        progress=options.progress,
    )
    return prove.build(path, to, asked)


def _check(path: str | None, options: Options) -> None:
    """Options that contradict each other."""
    asked = {"--grads": options.grads, "--zero": options.zero, "--synthetic": options.synthetic}
    sources = [name for name, value in {**asked, "--model": options.model}.items() if value]
    if len(sources) > 1:
        raise UsageError(f"{' and '.join(sources)}: gradients from several places (expected one of them)")
    if (options.model is None) != (options.data is None):
        raise UsageError("--model and --data belong together", hint="--model pkg.mod:factory --data pkg.mod:batches")
    if options.steps == 0:
        raise UsageError("--steps 0: expected one step at least")
    _check_proof(path, options, {**asked, "--model": options.model})
    from_file = {**asked, "--save": options.save, "--scheduler": options.scheduler, "--rule": options.rule}
    without = [name for name, value in from_file.items() if value] if path is None else []
    if without:
        raise UsageError(f"{without[0]}: needs a checkpoint", hint=f"optinspect replay CHECKPOINT {without[0]} …")
    if options.check_gradients is not None and path is not None and options.model is None:
        raise UsageError("--check-gradients: a file has no forward pass (expected --model, or no file)")


def _check_proof(path: str | None, options: Options, sources: Mapping[str, object]) -> None:
    """--to asks another question: what steps are run with has no place there, and the other way round."""
    stepping = {
        **sources,
        "--steps": options.steps,
        "--rule": options.rule,
        "--save": options.save,
        "--scheduler": options.scheduler,
        "--check-gradients": options.check_gradients,
    }
    if options.to is None:
        given = "--strict" if options.strict else "--model-state-b" if options.model_states[1] else None
        if given is not None:
            raise UsageError(f"{given}: belongs to --to", hint="optinspect replay A --to B")
        return
    if path is None:
        raise UsageError("--to: needs the checkpoint before it", hint="optinspect replay A --to B")
    other = next((name for name, value in stepping.items() if value), None)
    if other is not None:
        raise UsageError(f"{other} and --to: two questions (expected one of them)")


@contextmanager
def _about(path: str | None) -> Iterator[None]:
    """Answers that a file does not give name the file."""
    try:
        yield
    except (Undecidable, UnreadableTensor, UsageError) as problem:
        if path is None or problem.message.startswith(("--", path)) or _has_path(problem):
            raise
        raise type(problem)(f"{path}: {problem.message}", hint=problem.hint) from problem


def _has_path(problem: OptinspectError) -> bool:
    """A message about another file begins with its path."""
    head = problem.message.partition(": ")[0]
    return "/" in head or "\\" in head or head.endswith((".pt", ".pth", ".safetensors"))
