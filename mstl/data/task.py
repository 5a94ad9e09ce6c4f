"""Task: the sources and the target's splits that every method of a comparison shares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from mstl.data.augment import Augment
from mstl.data.domain import Domain
from mstl.problems import Problem, Segmentation


@dataclass(frozen=True)
class Task:
    """J labelled sources and one target, cut by car.

    Attributes:
        name: ``"<data>/<recipe>"``.
        sources: J labelled source domains.
        labelled: target images whose labels a method may learn from; None when labels = 0.
        unlabelled: target training images whose labels a method must not see; None when all are labelled.
        validation: target cars for tuning, never for reported numbers.
        test: target cars seen by no method before evaluation.
        problem: what is predicted, masks or classes.
        augment: how far images may be varied and still show what their labels say.
        bridges: images of neither, whose labels, if any, nobody reads.
    """

    name: str
    sources: tuple[Domain, ...]
    labelled: Domain | None
    unlabelled: Domain | None
    validation: Domain
    test: Domain
    problem: Problem = field(default_factory=Segmentation)
    augment: Augment = field(default_factory=Augment)
    bridges: Domain | None = None

    def __post_init__(self) -> None:
        for domain in self.domains():
            self.problem.check(domain)

    def domains(self) -> tuple[Domain, ...]:
        """Every domain that exists, sources first."""
        target = (self.labelled, self.unlabelled, self.validation, self.test)
        return (*self.sources, *(d for d in target if d is not None))

    @property
    def partial(self) -> tuple[bool, ...]:
        """Of each source whether it marks a part of the object only."""
        return tuple(source.partial for source in self.sources)

    def with_all_labels(self) -> Task:
        """The same task with every target training image labelled: what an oracle may see."""
        if self.unlabelled is None:
            return self
        if self.labelled is None:
            return replace(self, labelled=self.unlabelled, unlabelled=None)
        everything = self.labelled.join(self.unlabelled, self.labelled.name)
        return replace(self, labelled=everything, unlabelled=None)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the content of all domains, in order, and of how they are varied."""
        joined = " ".join(f"{d.name}={d.fingerprint()}" for d in self.domains())
        if self.bridges is not None:
            joined += f" bridges={self.bridges.fingerprint()}"
        if self.augment != Augment():
            joined += f" {self.augment}"
        return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()
