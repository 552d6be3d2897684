"""What samples show of k = 1, group by group: the working notes of a proof."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from optinspect.proof.candidates import Candidate
from optinspect.proof.pairing import Parameter, Place, Weight
from optinspect.proof.sampling import Samples, StateSample

BetaPair = tuple[float, float]


@dataclass
class GroupStudy:
    """What the samples show of one group.

    betas      those that the moments fit; None without two moments; stored: whether a file has them
    inferred   what the moments themselves say, each None where they do not say it
    fitting    what fits every member on the samples, best first; lead: the best even if it does not fit all
    """

    members: tuple[Parameter, ...]
    betas: BetaPair | None = None
    stored: bool = True
    inferred: tuple[float | None, float | None] = (None, None)
    fitting: list[Candidate] = field(default_factory=list)
    lead: Candidate | None = None


@dataclass
class Study:
    """after: index → the parameter whose state in B it is (itself, unless states were exchanged).

    weights   index → the weight it moves; proved: those that nothing else of their shape can be; sole: those
              where nothing else fits, though not by the margin of a proof
    unfit     indices whose step no weight of their shape explains; broken: whose moments do not follow from A
    """

    samples: Samples
    groups: dict[int, GroupStudy]
    after: dict[int, Parameter] = field(default_factory=dict)
    weights: dict[int, Weight] = field(default_factory=dict)
    proved: set[int] = field(default_factory=set)
    sole: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    unfit: set[int] = field(default_factory=set)
    renamed: dict[int, Place] = field(default_factory=dict)

    def sample(self, p: Parameter) -> StateSample:
        """A parameter's state before, with the state after that follows from it."""
        own, after = self.samples.states[p.index], self.after[p.index]
        if after is p:
            return own
        other = self.samples.states[after.index]
        mixed = replace(p, b=after.b)
        return StateSample(mixed, own.before, other.after, other.moments, max(own.roundoff, other.roundoff))
