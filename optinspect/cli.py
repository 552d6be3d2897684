"""The command line: one function a command, and `main`, where every error becomes a line, a hint and an exit status.

A command's function only says what is to be done (a Task). The work runs outside of Typer, so that its exceptions,
Ctrl-C and exit codes are ours.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from typing import Annotated, Protocol, runtime_checkable

import typer

from optinspect.commands import failures, job_page
from optinspect.commands.check_line import check
from optinspect.commands.completion import mend_words
from optinspect.commands.diff_line import diff
from optinspect.commands.emit import emit, refuse
from optinspect.commands.explain_line import explain
from optinspect.commands.replay_line import replay
from optinspect.commands.rules_line import rules
from optinspect.commands.show_line import show
from optinspect.commands.streams import forget, provide, unwritten, write_error, write_out
from optinspect.commands.task import Task, asks_for_json
from optinspect.commands.texts import without_pydantic
from optinspect.errors import MAX_MESSAGE, OptinspectError, UsageError
from optinspect.render.escape import one_line
from optinspect.version import __version__

INTERRUPTED = 130
COULD_NOT_ANSWER = 2
"""Where Typer itself gives up (it knows no other status than 1), as where we do."""
BUG = 3
MAX_HINT = 1200
"""A hint may list every column there is; it is ours, not the file's."""
TRACEBACK = "OPTINSPECT_TRACEBACK"


app = typer.Typer(
    rich_markup_mode=None,  # plain help starts in half the time, and is the same on every terminal
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        write_out(f"optinspect {__version__}\n")
        raise typer.Exit


@app.callback()
def optinspect(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look into the optimizer state of PyTorch checkpoints, without executing anything that is in them.

    Exit status: 0 fine, 1 findings (a damaged file, of which the whole parts are shown), 2 could not answer,
    3 a bug in optinspect.
    """


app.command(short_help="What a checkpoint holds, measured.")(show)
app.command(short_help="What changed between two checkpoints.")(diff)
app.command(short_help="The last step of one parameter, worked out.")(explain)
app.command(short_help="Will training resume from it?")(check)
app.command(short_help="What check looks for.")(rules)
app.command(short_help="Steps run again, beside torch's.")(replay)


def entry() -> int:
    """`main` as the whole of a process."""
    status = main()
    gc.freeze()  # or Python looks for garbage in all that is left, before it drops it anyway: 40 ms of show's 600
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status. Nothing but SystemExit leaves this function."""
    # numpy's BLAS sums rows of 1024 here: threads of its own would only wait for work (a tenth of show's time)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    provide()
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    task: Task | int | None = None
    try:
        task = parse(words)
        return task if isinstance(task, int) else _run(task)
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        forget(sys.stdout)
        return 0
    except Exception as problem:
        return _refuse(problem, task if isinstance(task, Task) else None, words)


def parse(words: Sequence[str]) -> Task | int:
    """What the words ask for; an exit status where Typer has answered itself (help, version, completion)."""
    if "COMP_WORDS" in os.environ:
        mend_words(os.environ)
    try:
        command = without_pydantic(typer.main.get_command(_with_only(words[0])))
        result: Task | int | None = command.main(args=list(words), prog_name="optinspect", standalone_mode=False)
    except Exception as problem:
        if isinstance(problem, OSError) and not isinstance(problem, BrokenPipeError):  # help, onto a full disk
            forget(sys.stdout)
            raise unwritten(problem) from problem
        if not isinstance(problem, _Refusal):
            raise
        told = " ".join(problem.format_message().split())
        raise UsageError(told) from problem
    return COULD_NOT_ANSWER if isinstance(result, int) and result else result or 0


def _with_only(word: str) -> typer.Typer:
    """The command line with no other command than the one that `word` names, if it names one.

    Putting all of them together takes longer than opening a checkpoint.
    """
    named = [each for each in app.registered_commands if each.callback and each.callback.__name__ == word]
    if not named:
        return app
    small = copy(app)
    small.registered_commands = named
    return small


def _run(task: Task) -> int:
    task.output.check(task.command)
    try:
        report = task.build()
    except OptinspectError as problem:
        with suppress(OptinspectError):  # stderr has it in any case
            refuse(task.command, task.subject, problem, task.output)
        raise
    emit(report, task.output)
    for message, hint in failures.told(report.failures):
        _tell(message, hint)
    return report.status


@runtime_checkable
class _Refusal(Protocol):
    """What Typer raises on a bad command line, under a class that moves between its versions."""

    exit_code: int

    def format_message(self) -> str: ...


def _refuse(problem: Exception, task: Task | None, words: Sequence[str]) -> int:
    told = _as_error(problem, task)
    if told is None:
        return _confess(problem)
    if isinstance(told, UsageError) and told.hint is None:
        told.hint = f"optinspect {task.command if task else _command(words)} --help".replace("  ", " ")
    if os.environ.get(TRACEBACK):
        _print_traceback(problem)
    _tell(told.message, told.hint)
    if task and task.output.summary:
        job_page.refuse(task.output.summary, task.command, told)
    if task.output.format == "json" if task else asks_for_json(words):
        from optinspect.render.json import error as json_error  # noqa: PLC0415  only where it is printed

        with suppress(OptinspectError):  # stderr has it already
            write_out(json_error(task.command if task else _command(words) or None, told))
    return told.status


def _as_error(problem: Exception, task: Task | None) -> OptinspectError | None:
    """The error that a user is told about; None when it is our bug."""
    subject = task.subject if task else "optinspect"
    if isinstance(problem, OptinspectError):
        return problem
    if isinstance(problem, MemoryError):
        return OptinspectError(f"{subject}: not enough memory", hint="try --no-stats, or a machine with more memory")
    if isinstance(problem, RecursionError):
        return OptinspectError(f"{subject}: nested too deeply to be read")
    return None


def _confess(problem: Exception) -> int:
    if os.environ.get(TRACEBACK):
        _print_traceback(problem)
    _say(f"bug in optinspect {__version__}: {type(problem).__name__}: {problem}; please report it")
    _say(f"hint: run again with {TRACEBACK}=1 for the traceback to report")
    return BUG


def _print_traceback(problem: Exception) -> None:
    import traceback  # noqa: PLC0415

    traceback.print_exception(problem)


def _tell(message: str, hint: str | None) -> None:
    _say(message)
    if hint:
        _say(f"hint: {hint}", MAX_HINT)


def _say(message: str, limit: int = MAX_MESSAGE) -> None:
    """One line to stderr. What it quotes may come from a file."""
    write_error(one_line(message, limit))


def _command(words: Sequence[str]) -> str:
    names = [each.name or (each.callback.__name__ if each.callback else "") for each in app.registered_commands]
    return next((word for word in words if word in names), "")
