"""Task: the sources and the target's splits that every method of a comparison shares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from mstl.data.augment import Augment
from mstl.data.domain import Domain
from mstl.problems import Problem, Segmentation
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Task:
    """J labelled sources and one target, cut by car.

    Attributes:
        name: ``"<data>/<recipe>"``.
        sources: J labelled source domains.
        labelled: target images whose labels a method may learn from; None when labels = 0.
        unlabelled: target training images whose labels a method must not see, and those that have none;
            None when all are labelled.
        validation: target cars for tuning, never for reported numbers; None where nothing is tested.
        test: target cars seen by no method before evaluation; None where every mask teaches.
        problem: what is predicted, masks or classes.
        augment: how far images may be varied and still show what their labels say.
        bridges: images of neither, whose labels, if any, nobody reads.
    """

    name: str
    sources: tuple[Domain, ...]
    labelled: Domain | None
    unlabelled: Domain | None
    validation: Domain | None
    test: Domain | None
    problem: Problem = field(default_factory=Segmentation)
    augment: Augment = field(default_factory=Augment)
    bridges: Domain | None = None

    def __post_init__(self) -> None:
        for domain in self.domains():
            self.problem.check(domain)
            if domain.known is not None and domain is not self.unlabelled:
                raise InputError(
                    f"task {self.name!r}: images of {domain.name!r} lack their labels; only unlabelled "
                    "images of the target may"
                )
        if self.labelled is None and self.unlabelled is None:
            raise InputError(f"task {self.name!r} has no target training images; give it some")

    def domains(self) -> tuple[Domain, ...]:
        """Every domain that exists, sources first."""
        target = (self.labelled, self.unlabelled, self.validation, self.test)
        return (*self.sources, *(d for d in target if d is not None))

    @property
    def training(self) -> tuple[Domain, ...]:
        """The target's training images, the labelled ones first; one part at least."""
        return tuple(d for d in (self.labelled, self.unlabelled) if d is not None)

    @property
    def partial(self) -> tuple[bool, ...]:
        """Of each source whether it marks a part of the object only."""
        return tuple(source.partial for source in self.sources)

    def with_all_labels(self) -> Task:
        """The same task with every target training image labelled that has a label: what an oracle may see.

        Images without one are left out: no label of theirs could be seen.

        Raises:
            InputError: no training image has one.
        """
        if self.unlabelled is None:
            return self
        more = self.unlabelled.labelled()
        if self.labelled is None and more is None:
            raise InputError(f"task {self.name!r}: no training image of the target has a label; give it some")
        if self.labelled is None or more is None:
            return replace(self, labelled=self.labelled or more, unlabelled=None)
        return replace(self, labelled=self.labelled.join(more, self.labelled.name), unlabelled=None)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the content of all domains, in order, and of how they are varied."""
        joined = " ".join(f"{d.name}={d.fingerprint()}" for d in self.domains())
        if self.bridges is not None:
            joined += f" bridges={self.bridges.fingerprint()}"
        if self.augment != Augment():
            joined += f" {self.augment}"
        return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()
