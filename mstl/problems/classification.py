"""Classes of images, of feature vectors or of texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor
from torch.nn import functional as F

from mstl.nn.outputs import log_probabilities
from mstl.problems.content import Content
from mstl.system.errors import InputError


@dataclass(frozen=True)
class Classification:
    """One of K classes an image.

    Attributes:
        classes: names of the K ≥ 2 classes; a label is an index of them.
        shape: of an input, (channels, height, width); a vector of d features is (d, 1, 1), a text of T words
            (T, 1, 1).
        words: size of the vocabulary of texts; 0 where inputs are none.

    Raises:
        InputError: fewer than two classes, or names that stand there twice.
    """

    classes: tuple[str, ...]
    shape: tuple[int, int, int] = (3, 64, 96)
    words: int = 0

    name = "classification"
    score = "accuracy"
    moves = False  # labels do not move with the pixels

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise InputError(
                f"a classification needs two classes at least; got {', '.join(self.classes) or 'none'}"
            )
        if len(set(self.classes)) < len(self.classes):
            raise InputError(f"two classes have one name: {', '.join(self.classes)}")

    @property
    def reads(self) -> str:
        """What inputs are: ``images``, ``vectors`` or ``words``."""
        return "words" if self.words else "vectors" if self.shape[1:] == (1, 1) else "images"

    def labels(self, domain: Content) -> Tensor:
        """uint8 (n,)."""
        return domain.labels

    def check(self, domain: Content) -> None:
        """Raises:
        InputError: the domain has no classes, others than these, or in another order.
        """
        if domain.labels is None:
            raise InputError(f"domain {domain.name!r} has no classes; a classification needs them")
        if domain.classes != self.classes:
            lacking = [name for name in self.classes if name not in domain.classes]
            foreign = [name for name in domain.classes if name not in self.classes]
            raise InputError(
                f"domain {domain.name!r} has other classes than the task"
                + (f"; it lacks {', '.join(lacking)}" if lacking else "")
                + (f"; the task does not know {', '.join(foreign)}" if foreign else "")
                + ("; their order differs" if not lacking + foreign else "")
            )
        if len(domain.vocabulary) != self.words:
            raise InputError(
                f"domain {domain.name!r} has a vocabulary of {len(domain.vocabulary)} words and the task one "
                f"of {self.words}; all domains share one"
            )

    def loss(self, logits: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        r"""Cross-entropy, a mean over images.

        .. math:: L = -\frac1n \sum_i w_i \log p_{i, y_i}, \qquad p = \mathrm{softmax}(\text{logits})

        Args:
            logits: (n, K, 1, 1).
            y: int64 (n,).
            weights: w of every image, (n,); 1 by default.

        Returns:
            0-d, float32 at least also inside autocast; 0 for n = 0.
        """
        if not len(y):
            return logits.float().sum()
        each = F.nll_loss(log_probabilities(logits).flatten(1), y, reduction="none")
        return (each if weights is None else weights * each).mean()

    def shares(self, y: Tensor) -> Tensor:
        """Share of each class among labels (..., b), (..., K), float32."""
        return F.one_hot(y, len(self.classes)).float().mean(-2)

    def constant(self, logits: Tensor) -> str:
        """``one class`` where that is predicted for every image, else ``""``."""
        return "one class" if len(logits.flatten(1).argmax(1).unique()) == 1 else ""

    def table(self, logits: Tensor, domain: Content) -> pd.DataFrame:
        """One row an image: group, class, prediction, whether it is right, probability of the class."""
        log_p = log_probabilities(logits).flatten(1)
        true = self.labels(domain).cpu().long()
        predicted = log_p.argmax(1)
        names = np.asarray(self.classes, dtype=str)
        return pd.DataFrame(
            {
                "car": np.asarray(domain.groups, dtype=str),
                "view": domain.views,
                "class": names[true.numpy()],
                "predicted": names[predicted.numpy()],
                "accuracy": (predicted == true).double().numpy(),
                "probability": log_p.gather(1, true[:, None]).exp().flatten().numpy(),
            }
        )
