"""`check --write-config`: what it writes parses, says what was meant, and the checkpoint passes against it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from check_cases import SICK, Net, healthy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

import optinspect
from optinspect import cli
from optinspect.checks.expected import COMPANIONS, Expected, Interval
from optinspect.checks.thresholds import LIMITS, Thresholds
from optinspect.commands.check import Options
from optinspect.commands.check_write import build
from optinspect.errors import OptinspectError
from optinspect.policy.expectations import KEYS as EXPECT
from optinspect.policy.patterns import Row, described
from optinspect.policy.reader import IGNORE, KEYS, LAYOUT, read, read_policy
from optinspect.policy.writer import policy_text

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "policy.md"
CHECKPOINTS = [
    path
    for folder in (ROOT / "sample_checkpoints", ROOT / "tests" / "data")
    for path in sorted(folder.rglob("*"))
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt", ".tar") and "hostile" not in path.parts
]


def written(path: Path, folder: Path) -> Path | None:
    """The policy of a checkpoint; None for one that is refused, for a reason that `check` gives too."""
    target = folder / "written.yaml"
    try:
        report = build([str(path)], Options(), str(target), force=True)
    except OptinspectError as problem:
        assert problem.status == 2 and len(problem.message) <= 200
        return None
    assert report.summary["policy"]["path"] == str(target)
    return target


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: str(path.relative_to(ROOT))[-50:])
def test_a_checkpoint_passes_against_what_was_written_from_it(path: Path, tmp_path: Path) -> None:
    policy = written(path, tmp_path)
    if policy is None:
        try:
            report = optinspect.check(str(path))
        except OptinspectError:
            return
        assert report.summary["errors"] or not report.summary["resumable"]
        return
    report = optinspect.check(str(path), config=str(policy))
    assert report.status == 0 and not [each for each in report.findings if each.rule.startswith("OI0")]
    assert read(str(policy)).terms.expected, "it describes something"


def test_most_samples_are_described(tmp_path: Path) -> None:
    samples = [path for path in CHECKPOINTS if path.parent.name == "sample_checkpoints"]
    assert sum(written(path, tmp_path) is not None for path in samples) > len(samples) - 4


NAMES = st.sampled_from(["w", "b", "a*", "[x]", "q?", "é", "\x1b", '"', "0", "norm_1", "ln"])
DECAYS = st.sampled_from([0.0, 0.1, 0.01, 1e-5, 0.3])


@st.composite
def models(draw: st.DrawFn) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A trained state_dict of random names in random groups with random settings, and its optimizer's."""
    kind, slots = draw(st.sampled_from([(torch.optim.AdamW, 2), (torch.optim.SGD, 1), (torch.optim.NAdam, 2)]))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
    names = draw(st.lists(st.lists(NAMES, min_size=1, max_size=3).map(".".join), min_size=1, max_size=7, unique=True))
    count = draw(st.integers(1, min(3, len(names))))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensors = {
        name: torch.nn.Parameter(torch.randn(2, n + 2, generator=generator).to(dtype)) for n, name in enumerate(names)
    }
    settings_ = [{"weight_decay": draw(DECAYS), "lr": draw(st.sampled_from([0.1, 1e-3, 3e-7]))} for _ in range(count)]
    extra = {"momentum": 0.9} if slots == 1 else {}
    split = [
        {"params": [tensors[name] for place, name in enumerate(names) if place % count == group], **settings_[group]}
        for group in range(count)
    ]
    optimizer = kind(split, **extra)
    for _ in range(draw(st.integers(1, 3))):
        for tensor in tensors.values():
            tensor.grad = torch.randn(tensor.shape, generator=generator).to(dtype)
        optimizer.step()
    return {name: tensor.detach() for name, tensor in tensors.items()}, optimizer.state_dict()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=models(), named=st.booleans())
def test_law_what_is_written_is_passed(made: tuple[Any, Any], named: bool, tmp_path: Path) -> None:
    model, optimizer = made
    path = tmp_path / "law.pt"
    torch.save({"optimizer": optimizer, **({"model": model} if named else {})}, path)
    policy = written(path, tmp_path)
    if policy is None:
        assert optinspect.check(str(path)).summary["errors"]
        return
    report = optinspect.check(str(path), config=str(policy))
    assert report.status == 0 and not [each for each in report.findings if each.rule.startswith("OI0")]
    (told,) = read(str(policy)).terms.expected
    assert told.groups == len(optimizer["param_groups"])
    assert yaml.safe_load(policy.read_text())["expect"]["groups"] == told.groups  # and other readers understand it


TEXTS = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() and "[" not in text)
NUMBERS = st.floats(0, 1e300, allow_subnormal=True) | st.integers(0, 10**12).map(float)
INTERVALS = st.tuples(NUMBERS, NUMBERS).map(lambda ends: Interval(min(ends), max(ends)))
RANGES = st.dictionaries(TEXTS, INTERVALS, max_size=4).map(lambda found: tuple(found.items()))
DTYPES = st.lists(st.sampled_from(["float32", "bfloat16", "OptimState8bit"]), min_size=1, max_size=3, unique=True)
EXPECTED = st.builds(
    Expected,
    optimizer=st.none() | TEXTS,
    families=st.lists(st.sampled_from(["Adam", "AdamW", "SGD", "Lion"]), max_size=3, unique=True).map(tuple),
    groups=st.none() | st.integers(0, 10**9),
    lr=RANGES,
    weight_decay=RANGES,
    min_step=st.none() | st.integers(0, 10**20).map(float),
    moments=st.dictionaries(TEXTS, DTYPES.map(tuple), max_size=3).map(lambda found: tuple(found.items())),
    companions=st.lists(st.sampled_from(COMPANIONS), max_size=5, unique=True).map(tuple),
).filter(lambda each: each != Expected())


@given(st.lists(EXPECTED, max_size=3), st.text(max_size=40), st.none() | TEXTS, st.none() | TEXTS)
def test_law_what_is_written_is_read_again(
    expected: list[Expected], name: str, model_key: str | None, optimizer_key: str | None
) -> None:
    text = policy_text(expected, name, model_key, optimizer_key)
    policy = read_policy(text, "p")
    assert policy.terms.expected == tuple(expected)
    assert (policy.model_key, policy.optimizer_key, policy.fail_on) == (model_key, optimizer_key, "error")
    assert text.isascii() or not name.isascii()


def test_its_examples_are_right_too() -> None:
    """Every line that is commented out and is no sentence, taken in, is a policy; its thresholds are the defaults."""
    text = policy_text((), "x.pt", None, None)
    lines = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# ( |\w+:)", line)]
    policy = read_policy("\n".join(line for line in lines if "limit" not in line), "p")
    assert policy.terms.thresholds == Thresholds()
    assert policy.severity and policy.select and policy.terms.waivers and policy.terms.told and policy.model_key
    assert all(f"\n#   {each.name}: " in text for each in LIMITS)
    assert all(f"\n{key}:" in text or f"\n# {key}:" in text for key in KEYS if key != "expect")


ROWS = st.lists(
    st.tuples(st.lists(NAMES, min_size=1, max_size=4).map(".".join), st.sampled_from([0.0, 0.1, 0.5])), max_size=12
)


@given(ROWS)
def test_law_globs_give_every_name_its_value(rows: list[tuple[str, float]]) -> None:
    """Independent of the code that reads them: the first glob that fnmatch takes decides."""
    values = dict(rows)
    told = described([Row((name,), value) for name, value in values.items()])
    if not values:
        assert told is None
        return
    assert told is not None  # names are unique, so each can be a glob of its own
    for name, value in values.items():
        assert next(given for glob, given in told if fnmatchcase(name, glob)) == value


@pytest.mark.parametrize(
    ("rows", "globs"),
    [
        ({"h.0.w": 0.1, "h.0.bias": 0.0, "h.1.w": 0.1, "h.1.bias": 0.0}, ["*.bias", "*"]),
        ({"h.0.w": 0.1, "h.1.w": 0.1, "h.0.ln_1.w": 0.0, "h.1.ln_2.w": 0.0, "g.w": 0.1}, ["*ln*.w", "*"]),
        ({"c.0.0.w": 0.1, "c.0.1.w": 0.0, "c.1.0.w": 0.1, "c.1.1.w": 0.0, "d.w": 0.1}, ["c.*.1.w", "*"]),
        ({"a": 0.1, "b": 0.1, "c": 0.0}, ["c", "*"]),
    ],
    ids=["biases", "norms", "positions", "single"],
)
def test_globs_are_what_a_person_would_write(rows: dict[str, float], globs: list[str]) -> None:
    told = described([Row((name,), value) for name, value in rows.items()])
    assert told is not None and [glob for glob, _ in told] == globs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    torch.save(healthy(), tmp_path / "ckpt.pt")
    return tmp_path


def test_the_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "ckpt.pt", "--write-config"]) == 0
    out = capsys.readouterr().out
    assert "written  optinspect.yaml" in out and "optinspect check ckpt.pt --config optinspect.yaml" in out
    first = (here / "optinspect.yaml").read_bytes()
    assert cli.main(["check", "ckpt.pt"]) == 0 and "policy   optinspect.yaml" in capsys.readouterr().out
    assert cli.main(["check", "ckpt.pt", "--write-config"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (here / "optinspect.yaml").read_bytes() == first
    assert cli.main(["check", "ckpt.pt", "--write-config", "--json", "-o", "other.yaml"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["policy"]["path"] == "other.yaml"
    assert (here / "other.yaml").read_bytes() == first
    assert cli.main(["check", "ckpt.pt", "--write-config", "--force", "-q"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--select", "OI1"],
        ["--ignore", "OI1"],
        ["--fail-on", "note"],
        ["--config", "p.yaml"],
        ["--previous", "ckpt.pt"],
        ["ckpt2.pt"],
        ["-o", "ckpt.pt", "--force"],
        ["-o", "nowhere/p.yaml"],
    ],
    ids=" ".join,
)
def test_what_does_not_go_with_it(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (here / "ckpt.pt").read_bytes()
    assert cli.main(["check", "ckpt.pt", "--write-config", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err and "Traceback" not in err
    assert (here / "ckpt.pt").read_bytes() == before and not list(here.glob("*.yaml"))


def test_a_checkpoint_with_errors_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = SICK["OI301"].write(here / "sick.pt")
    assert cli.main(["check", path.name, "--write-config"]) == 2
    err = capsys.readouterr().err
    assert "sick.pt: not healthy: OI301 NaN or Inf in the optimizer's state" in err
    assert "hint: optinspect check sick.pt" in err and not (here / "optinspect.yaml").exists()


def test_routes_that_were_given_are_written(here: Path) -> None:
    c, other = healthy(), healthy()
    torch.save({"first": c["model"], "second": other["model"], "optimizer": c["optimizer"]}, here / "two.pt")
    assert cli.main(["check", "two.pt", "--write-config", "--model-key", "second", "-q"]) == 0
    assert read("optinspect.yaml").model_key == "second"
    assert cli.main(["check", "two.pt", "-q"]) == 0


def test_an_unlike_checkpoint_does_not_pass(here: Path) -> None:
    """What is written is no truism: another recipe breaks it in each way in which it differs."""
    assert cli.main(["check", "ckpt.pt", "--write-config", "-q"]) == 0
    torch.manual_seed(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, here / "other.pt")
    report = optinspect.check("other.pt", config="optinspect.yaml")
    found = {each.rule for each in report.findings if each.rule.startswith("OI0")}
    assert found == {"OI001", "OI002", "OI003", "OI004", "OI007"} and report.status == 1


COURSES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "none": lambda _: None,
    "constant": lambda each: lr_scheduler.ConstantLR(each, 0.1, 9),
    "warm-up": lambda each: lr_scheduler.LinearLR(each, 0.01, 1.0, 12),
    "sequence": lambda each: lr_scheduler.SequentialLR(
        each, [lr_scheduler.LinearLR(each, 0.01, 1.0, 8), lr_scheduler.CosineAnnealingLR(each, 9)], [8]
    ),
    "restarts": lambda each: lr_scheduler.CosineAnnealingWarmRestarts(each, 7),
    "one cycle": lambda each: lr_scheduler.OneCycleLR(each, 0.1, total_steps=40),
    "cycle": lambda each: lr_scheduler.CyclicLR(each, 1e-4, 0.1, step_size_up=30, cycle_momentum=False),
    "growing": lambda each: lr_scheduler.ExponentialLR(each, 1.05),
    "lambda above its base": lambda each: lr_scheduler.LambdaLR(each, lambda step: 1 + step),
    "plateau": lambda each: lr_scheduler.ReduceLROnPlateau(each, patience=0),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("course", COURSES)
def test_later_saves_of_the_run_pass(course: str, here: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    scheduler = COURSES[course](optimizer)
    for step in range(1, 17):
        net(torch.randn(8, 6)).pow(2).mean().backward()
        optimizer.step()
        if course == "none" and step == 10:
            optimizer.param_groups[0]["lr"] = 3e-2  # by hand, as a loop without a scheduler does
        elif scheduler is not None:
            scheduler.step(*([1.0] if course == "plateau" else []))
        found = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(found | ({"scheduler": scheduler.state_dict()} if scheduler else {}), here / f"{step}.pt")
    assert cli.main(["check", "6.pt", "--write-config", "-q"]) == 0
    for step in (7, 12, 16):
        report = optinspect.check(f"{step}.pt", config="optinspect.yaml")
        assert not [each.message for each in report.findings if each.rule.startswith("OI0")]
    found["optimizer"]["param_groups"][0]["lr"] = 100 * max(1e-2, optimizer.param_groups[0]["lr"])
    torch.save(found, here / "wrong.pt")
    assert "OI003" in {each.rule for each in optinspect.check("wrong.pt", config="optinspect.yaml").findings}


# The document


def blocks() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks(), ids=lambda text: text.split("\n")[0])
def test_the_document_s_examples_hold_on_a_sample(text: str, tmp_path: Path) -> None:
    names = ["token_embedding_table.weight", "lm_head.weight", "lm_head.bias"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    sample = "gan.pt" if "opt_g" in text else "bigram.pt" if text.startswith("names:") else "gpt_step50.pt"
    report = optinspect.check(str(ROOT / "sample_checkpoints" / sample), config=str(tmp_path / "p.yaml"))
    assert not [each for each in report.findings if each.rule.startswith("OI0")], report.findings
    assert not report.summary["errors"]


def test_the_document_shows_every_key() -> None:
    text = "\n".join(blocks())
    for key in (*KEYS, *IGNORE, *EXPECT, *LAYOUT, *(each.name for each in LIMITS)):
        assert re.search(rf"^[ -]*{key}:", text, re.MULTILINE), key
    assert all(re.search(rf"^### {key}$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE) for key in KEYS)
    shown = next(block for block in blocks() if block.startswith("thresholds:"))
    assert read_policy(shown, "p").terms.thresholds == Thresholds()


def test_the_policy_that_comes_along_is_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    build(["sample_checkpoints/gpt_step40.pt"], Options(), str(tmp_path / "p.yaml"), force=False)
    assert (tmp_path / "p.yaml").read_text() == (ROOT / "docs" / "optinspect.yaml").read_text()
