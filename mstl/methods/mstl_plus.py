"""MSTL+: the paper's five ideas in the form that measurements favour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mstl.data.batches import Batch, TargetBatch, stream_generator
from mstl.methods import mstl
from mstl.methods.base import mean
from mstl.nn import ramp
from mstl.nn.outputs import probabilities, union
from mstl.system.errors import InputError

AGREE = 0.1  # shares of foreground, or of classes, so far apart belong to domains that must not be aligned
CONSISTENCY = {"union": 0.0, "others": 10.0}  # the best of those tried on validation cars, by fusion
MOMENTUM = 0.98  # of running estimates


@dataclass(frozen=True)
class Hyperparameters(mstl.Hyperparameters):
    """The switches of MSTL with other defaults, and what is new.

    Attributes:
        attention: also ``transferable``: places that the discriminator cannot tell apart weigh more.
        fusion: also ``auto``: ``union`` where a source labels only a part of the object, else ``concat``.
        strength: with which the adversary starts.
        with_labels: play the adversarial game although labelled target images exist.
        aim: gradient ratio to which the strength is led; 0 keeps ``strength``.
        agreement: weaken the game of a source whose foreground (or classes) have other shares than the
            target's predicted ones.
        consensus: weigh sources by how near their heads are to the median head on target images; not in a
            union, whose heads are right to differ.
        sharpness: of these weights; 0 is equal weights.
        mixing: share of a sub-network's source images that come from the other sources; -1 is an equal share
            of all without target labels and 0 with them, or in a union, where the others would contradict.
        consistency: weight of the heads' distance, or that of their union, from the averaged weights'
            prediction, with labels; -1 is 10, and in a union 0, as tuned.
        paste: put a piece of a source, with its mask, into each unlabelled target image of that term.
    """

    heads_see_target: bool = True
    prediction: str = "all"
    attention: str = "none"
    fusion: str = "auto"
    strength: float = 0.05
    with_labels: bool = False
    aim: float = 0.15
    agreement: bool = True
    consensus: bool = True
    sharpness: float = 1.0
    mixing: float = -1.0
    consistency: float = -1.0
    paste: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("aim", "sharpness"):
            if getattr(self, key) < 0:
                raise InputError(f"{key}={getattr(self, key)} must be ≥ 0")
        if not (self.mixing == -1 or 0 <= self.mixing <= 1):
            raise InputError(f"mixing={self.mixing} must lie in [0, 1], or be -1 to follow the labels")
        if self.consistency < 0 and self.consistency != -1:
            raise InputError(f"consistency={self.consistency} must be ≥ 0, or -1 to follow the fusion")

    @staticmethod
    def attentions() -> tuple[str, ...]:
        return (*mstl.Hyperparameters.attentions(), "transferable")

    @staticmethod
    def fusions() -> tuple[str, ...]:
        return ("auto", *mstl.Hyperparameters.fusions())

    def plays(self, labelled: bool) -> bool:
        return self.adversarial and (self.with_labels or not labelled)


class MSTLPlus(mstl.MSTL):
    r"""MSTL with its choices made from what a run can see, never from masks it must not see.

    * *Sub-networks*: heads learn from the labelled target images, too, and predict together with the fused
      predictor. Without such images nothing ties a sub-network to the target, and what one source teaches
      does not carry far: then every sub-network sees all sources (``mixing``).
    * *Synchronised batch*: every head follows the prediction of the averaged weights on the shared
      unlabelled target images, :math:`\mathcal L_{con} = \frac1J \sum_j \overline{(\sigma(P_j) - \bar p)^2}`.
      Only where labelled target images exist, too: without any it spreads errors. With ``paste`` a piece of
      a source lies in each of these images, its mask in :math:`\bar p`: local features in the target's
      surroundings (off by default, it cost points on validation cars).
    * *Fusion*: weights :math:`w = \mathrm{softmax}_j(-\kappa\, d_j / \mathrm{median}_k d_k)`, with
      :math:`d_j` the mean distance of head j's probabilities from the median head's on target images. They
      weigh heads in the prediction, sources in the loss and in the choice of what is pasted, so a harmful
      source is outvoted. Sources that label parts of the object (`Domain.partial` says how they were
      annotated) are joined by the union of their heads instead, of equal weights.
    * *Adversary*: played where no target label exists, its strength led to a gradient ratio (``aim``), and
      closed for a source whose label shares are far from the target's predicted ones: aligning domains
      whose label shares differ bounds the joint error from below (Zhao et al., ICML 2019).
    * *Attention*: off by default (ablation); ``transferable`` is
      :math:`a_j = 1 + H(D_j(f_j)) - \overline{H(D_j(f_j))}` with the discriminator's entropy H in bits, at
      every scale, in the spirit of Wang et al., AAAI 2019.

    Sources of single ideas: Tarvainen & Valpola, NeurIPS 2017 (mean teacher); Tranheden et al., WACV 2021
    (pasting between domains, there by class).
    """

    Hyperparameters = Hyperparameters

    def build(self) -> None:
        super().build()
        J, hyper, K = self.sources, self.hyper, len(self.problem.classes)
        if hyper.paste and K:
            raise InputError("paste=true puts a piece with its mask into an image; of classes there is none")
        if hyper.paste and any(self.partial):
            raise InputError("paste=true needs sources that label the whole object; these label a part of it")
        usual = CONSISTENCY["union" if self.unites else "others"]
        self.teacher = (usual if hyper.consistency == -1 else hyper.consistency) if self.labelled else 0.0
        apart = self.labelled or self.unites
        self.mixing = hyper.mixing if hyper.mixing >= 0 else (0.0 if apart else 1 - 1 / J)
        self.register_buffer("distances", torch.ones(J))
        self.register_buffer("source_shares", torch.full((J, max(1, K)), 1 / max(2, K)))
        # The heads of a union predict a part each, else all the same.
        heads = (J,) if self.unites else ()
        self.register_buffer("target_share", torch.full((*heads, max(1, K)), 1 / max(2, K)))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))

    @property
    def fusion(self) -> str:
        if self.hyper.fusion != "auto":
            return self.hyper.fusion
        return "union" if any(self.partial) else "concat"

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        batch = self._pasted(self._mixed(batch), progress)
        target, taught = batch.target, batch.target.taught is not None
        read = len(target.y) if self.hyper.heads_see_target or self.unites else 0
        sources, targets = self.outputs(batch, len(target.x) if taught else read)
        if self.training:
            self._estimate(batch, [f.all_logits(t) for f, t in zip(self.subnetworks, targets, strict=True)])
        losses = self.objective(batch, sources, targets, progress)
        if taught and self.unites and self.synchronised:
            united = union(t.logits[target.unlabelled] for t in targets)
            losses["consistency"] = (probabilities(united) - target.taught).square().mean()
        elif taught and not self.unites:
            losses["consistency"] = mean(
                (probabilities(t.logits[own.unlabelled]) - own.taught).square().mean()
                for t, own in zip(targets, batch.targets, strict=True)
            )
        return losses

    @property
    def weights(self) -> Tensor:
        """Weight of every source, (J,), sum 1."""
        if not self.hyper.consensus or self.unites:
            return torch.full_like(self.distances, 1 / self.sources)
        relative = self.distances / self.distances.median().clamp(min=1e-6)
        return torch.softmax(-self.hyper.sharpness * relative, dim=0)

    def adapt(self, observed: dict[str, float]) -> None:
        """Lead the strength towards the gradient ratio that is aimed at, by a factor 2 at most each time."""
        ratio = observed.get("gradient_ratio", 0.0)
        if self.hyper.aim and ratio > 0:
            self.scale.mul_(min(2.0, max(0.5, self.hyper.aim / ratio))).clamp_(0.02, 20.0)

    def observe(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        seen = super().observe(batch, progress)
        return seen | {f"weight_{j}": weight for j, weight in enumerate(self.weights)}

    def _mixed(self, batch: Batch) -> Batch:
        """The batch in which source j's last images are the other sources' images of the same places."""
        count = batch.source_x.shape[1]
        foreign = round(self.mixing * count) if self.sources > 1 else 0
        if not foreign:
            return batch
        places = torch.arange(count)
        turn = (1 + (places - (count - foreign)) % (self.sources - 1)) * (places >= count - foreign)
        origin = (torch.arange(self.sources)[:, None] + turn) % self.sources
        return replace(
            batch, source_x=batch.source_x[origin, places], source_y=batch.source_y[origin, places]
        )

    def _pasted(self, batch: Batch, progress: float) -> Batch:
        """The batch with a piece of a source in each unlabelled target image and in the teacher's view of it.

        A piece is an image of a source whole where it is smaller than the target's, else a window of half its
        sides that keeps its place. Source and place are drawn by a generator that depends on ``progress``
        alone: equal arguments, equal losses.
        """
        if batch.target.taught is None or not self.hyper.paste:
            return batch
        generator = stream_generator(0, "paste", f"{progress:.9f}")
        pasted: dict[int, TargetBatch] = {}
        for target in batch.targets:  # synchronised, the same object J times
            if id(target) not in pasted:
                pasted[id(target)] = self._paste(batch, target, generator)
        return replace(batch, targets=tuple(pasted[id(target)] for target in batch.targets))

    def _paste(self, batch: Batch, target: TargetBatch, generator: torch.Generator) -> TargetBatch:
        images, taught = target.x.clone(), target.taught.clone()
        frame, size = images.shape[-2:], batch.source_x.shape[-2:]
        whole = size != frame
        h, w = size if whole else (frame[0] // 2, frame[1] // 2)
        chosen = torch.multinomial(self.weights.cpu(), len(taught), replacement=True, generator=generator)
        for k, j in enumerate(chosen.tolist()):
            y, x, row = (
                int(torch.randint(n, (), generator=generator))
                for n in (frame[0] - h + 1, frame[1] - w + 1, batch.source_x.shape[1])
            )
            place = (slice(None), slice(y, y + h), slice(x, x + w))
            piece = slice(None) if whole else place
            images[len(target.y) + k][place] = batch.source_x[j, row][piece]
            taught[k][place] = batch.source_y[j, row][piece]
        return replace(target, x=images, taught=taught)

    @torch.no_grad()
    def _estimate(self, batch: Batch, logits: list[Tensor]) -> None:
        """Running estimates of the heads' distances from their median and of the classes' shares."""
        heads = torch.stack([probabilities(z) for z in logits]).to(self.distances)
        median = heads.quantile(0.5, dim=0)
        rate = torch.clamp(1 / (self.seen + 1), min=1 - MOMENTUM)
        self.seen += 1
        self.distances.lerp_((heads - median).abs().mean(dim=(1, 2, 3, 4)), rate)
        self.source_shares.lerp_(self.problem.shares(batch.source_y), rate)
        self.target_share.lerp_(heads.mean(dim=(1, 3, 4) if self.unites else (0, 1, 3, 4)), rate)

    def strength(self, progress: float) -> float | Tensor:
        if not self.hyper.plays(self.labelled):
            return 0.0
        strength = self.hyper.strength * self.scale * ramp(progress, self.hyper.gain)
        if not self.hyper.agreement:
            return strength.expand(self.sources)
        # Total variation: of an object and its background both shares are off by the same.
        apart = (self.source_shares - self.target_share).abs().sum(-1) / (2 if self.problem.classes else 1)
        return strength * (1 - apart / AGREE).clamp(min=0)

    def over_sources(self, losses: Tensor) -> Tensor:
        return (self.weights.to(losses.dtype) * losses).sum()

    def over_heads(self, logits: Tensor) -> Tensor:
        if self.unites:
            return super().over_heads(logits)
        return torch.einsum("j,jnchw->nchw", self.weights.to(logits.dtype), logits)
