"""What two views of one unlabelled image should agree on, and when: UDA's consistency, and FixMatch's."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mstl.nn.outputs import full


def confident(weak: Tensor, threshold: float) -> Tensor:
    r""":math:`\mathbb 1[\max_k p_k > \beta]`, p = softmax(weak), not sharpened: (n, K) → (n,) of 0 and 1.

    Source: Xie, Dai, Hovy, Luong and Le, "Unsupervised data augmentation for consistency training", NeurIPS
    2020, section 2.3, as released.
    """
    p = full(weak).softmax(1)
    return (p.max(1).values > threshold).to(p.dtype)


def uda_consistency(weak: Tensor, strong: Tensor, threshold: float, temperature: float) -> Tensor:
    r"""How far the prediction on a strongly varied image is from that on the image itself.

    .. math::

        \frac1B \sum_b \mathbb 1[\max_k p_{bk} > \beta]\; \mathrm{KL}\big(\mathrm{softmax}(w_b / \tau) \,\|\,
        \mathrm{softmax}(s_b)\big), \qquad p_b = \mathrm{softmax}(w_b)

    The target is sharpened and sends no gradient; who is confident enough is asked of the unsharpened one;
    the mean is over all images, those that are not included. (TLlib's loss of that name divides the
    *student's* logits by τ, and by the number of confident images.)

    Args:
        weak: w, logits on the images, (B, K).
        strong: s, on their variations, (B, K).
        threshold: β.
        temperature: τ > 0.

    Returns:
        0-d.

    Source: as `confident`.
    """
    log_q = (full(weak.detach()) / temperature).log_softmax(1)
    log_p = full(strong).log_softmax(1)
    each = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(1)
    return (confident(weak.detach(), threshold) * each).mean()


def fixmatch_consistency(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
    r"""The same with the most probable class for target.

    .. math:: -\frac1B \sum_b \mathbb 1[\max_k p_{bk} > \beta] \log \mathrm{softmax}(s_b)_{\hat y_b},
        \qquad \hat y_b = \arg\max_k w_{bk}

    Args:
        weak, strong, threshold: as of `uda_consistency`.

    Returns:
        0-d.

    Source: Sohn et al., "FixMatch: simplifying semi-supervised learning with consistency and confidence",
    NeurIPS 2020, equation 4.
    """
    each = F.cross_entropy(full(strong), weak.argmax(1), reduction="none")
    return (confident(weak.detach(), threshold) * each).mean()
