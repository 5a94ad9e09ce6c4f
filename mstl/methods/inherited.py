"""What is left of a source whose images may not be seen: the run that learned from them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mstl import methods
from mstl.data.batches import Batch
from mstl.methods import hyperparameters
from mstl.methods.base import Method
from mstl.methods.cvae import CVAE
from mstl.nn import TARGET, predictor
from mstl.nn.weights import RANDOM, Weights, reading
from mstl.problems import Classification, Problem
from mstl.system.errors import InputError

OWN = "own"


@dataclass(frozen=True)
class Hyperparameters(hyperparameters.Hyperparameters):
    """Of what is inherited.

    Attributes:
        generator: folder of the run of method cvae that is inherited from, or ``own``: one is trained first,
            on the sources of the task.
        own: share of the training that this takes.
    """

    generator: str = OWN
    own: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.own < 1 or (self.generator == OWN and not self.own):
            raise InputError(f"own={self.own} must lie between 0 and 1, 0 only where generator names a run")

    def weights_fingerprint(self) -> str:
        inherited = "" if self.generator == OWN else Weights(self.generator, self.weights_dir).fingerprint()
        return ",".join(filter(None, (super().weights_fingerprint(), inherited)))


class Inherited(nn.Module):
    """A `CVAE` that stands still: of a finished run, or trained on the sources at hand before anything else.

    Args:
        name: ``own``, or the folder of a run of method cvae.
        place: where that folder lies.
        problem: of the run that inherits.
        hyper: of a CVAE of its own, as far as both have them.

    Raises:
        InputError: no such run, one of another method, or of images of another shape.
    """

    def __init__(
        self, name: str, place: str, problem: Problem, hyper: hyperparameters.Hyperparameters
    ) -> None:
        super().__init__()
        self.own = name == OWN
        if self.own:
            shared = {key: getattr(hyper, key) for key in ("width", "depth", "norm", "encoder", "hidden")}
            self.model = CVAE(CVAE.Hyperparameters(**shared), 1, False, problem)
            return
        found = manifest(name, place)
        settings, shape = found["settings"], tuple(found["shape"])
        if shape != problem.shape:
            raise InputError(
                f"generator={name} draws images of {_size(shape)}, and those of this task are "
                f"{_size(problem.shape)}; train it at the same size"
            )
        problem = Classification(tuple(found["classes"]), shape)
        self.model = methods.build(
            "cvae", 1, False, overrides=settings["overrides"], problem=problem, width=settings["width"]
        )
        if reading():
            self.model.load_state_dict(Weights(name, place).state())
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)

    @property
    def classes(self) -> int:
        """Number of classes of the source."""
        return len(self.model.problem.classes)

    def losses(self, batch: Batch, progress: float) -> Tensor:
        """What a CVAE of one's own minimises, 0-d."""
        return sum(self.model.losses(batch, progress).values())

    def train(self, mode: bool = True) -> Inherited:
        """Evaluation, always: no layer of it treats images of a batch together."""
        return super().train(mode and self.own)


class Heir(Method):
    """A network of the target, and a second head for the classes of what is inherited."""

    def build(self) -> None:
        hyper = self.hyper
        self.inherited = Inherited(hyper.generator, hyper.weights_dir, self.problem, hyper)
        self.network = self.new_networks(1)[0]
        self.source_head = predictor(self.network.channels, self.inherited.classes, hyper.norm)

    def predict(self, images: Tensor) -> Tensor:
        return self.network(images, TARGET).logits

    def source_features(self, images: Tensor, source: int, domain: int | None = None) -> Tensor:
        return self.network.encoder(images, domain)[-1]


def manifest(name: str, place: str) -> dict:
    """What the run that is inherited from says of itself.

    Raises:
        InputError: it is not there, or of another method.
    """
    try:
        weights = Weights(name, place) if name not in ("none", "imagenet") else RANDOM
    except InputError as error:
        raise InputError(f"generator={name}: {str(error).partition(': ')[2]}") from error
    if weights.run is None:
        raise InputError(
            f"generator={name} is no finished run; name {OWN}, or the folder of a run of method cvae "
            "(python -m mstl train --method cvae)"
        )
    found = weights.manifest()
    if found["settings"].get("method") != "cvae":
        raise InputError(
            f"generator={name} is a run of method {found['settings'].get('method')}, which draws nothing; "
            "name one of method cvae"
        )
    return found


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
