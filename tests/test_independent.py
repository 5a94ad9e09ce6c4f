"""Identities the formulas promise, and the same quantities from libraries that know nothing of ours.

A library that is not installed skips its tests, with its name as the reason.
"""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mstl.measures import jmmd2, mean_bandwidths, mmd2, moment_distance
from mstl.measures.attention import attention_entropy, object_auc, part_auc
from mstl.methods.mdan import worst_case, worst_case_weights
from mstl.nn import domain_accuracy, domain_loss, importance_weights, segmentation_loss, soft_dice
from mstl.nn.outputs import mixture
from mstl.problems.segmentation import counts, dice, iou, part_recall
from mstl.report.bootstrap import two_way_bootstrap

MANY = settings(max_examples=60, deadline=None, derandomize=True)
FEW = settings(max_examples=25, deadline=None, derandomize=True)


def library(name):
    return pytest.importorskip(name, reason=f"{name} is the independent implementation; it is not installed")


@st.composite
def samples(draw, least=2, most=9, count=2, equal=False):
    """Samples (n, d) of one width, some with repeated rows, some far apart, some alike."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.integers(1, 4))
    n = draw(st.integers(least, most))
    found = []
    for _ in range(count):
        rows = n if equal else draw(st.integers(least, most))
        scale, shift = draw(st.sampled_from((0.0, 0.1, 1.0, 4.0))), draw(st.sampled_from((-2.0, 0.0, 1.0)))
        x = scale * torch.randn(rows, d, generator=generator, dtype=torch.float64) + shift
        if draw(st.booleans()):
            x[-1] = x[0]
        found.append(x)
    return tuple(found)


bandwidths = st.lists(st.sampled_from((0.1, 0.5, 1.0, 2.0, 10.0)), min_size=1, max_size=5)
estimators = st.sampled_from(("unbiased", "biased", "linear"))
seeds = st.integers(0, 10_000)


def rotation(d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q


# --- Identities ------------------------------------------------------------------------------------------


@pytest.mark.trust(
    "formulas", "The unbiased MMD plus 2m/(n−1), with m kernels, is a sum of squares and never negative."
)
@MANY
@given(samples(), bandwidths)
def test_an_unbiased_mmd_is_negative_by_its_diagonal_at_most(sample, b):
    x, y = sample
    n, o, m = len(x), len(y), len(b)
    z = torch.cat((x, y))
    kernel = sum(torch.exp(-(z[:, None] - z[None]).square().sum(-1) / c) for c in b)
    within_x, within_y, between = kernel[:n, :n].mean(), kernel[n:, n:].mean(), kernel[:n, n:].mean()
    left = mmd2(x, y, b) + m / (n - 1) + m / (o - 1)  # 2m/(n−1) for samples of one size
    right = n / (n - 1) * within_x + o / (o - 1) * within_y - 2 * between
    assert left.item() == pytest.approx(right.item(), abs=1e-10)
    assert left >= -1e-12
    assert mmd2(x, y, b, "biased") >= -1e-12


@pytest.mark.trust("formulas", "Swapping the samples, or moving and turning both, leaves every MMD alone.")
@MANY
@given(samples(equal=True), bandwidths, estimators, seeds)
def test_the_mmd_sees_distances_between_rows_and_nothing_else(sample, b, estimator, seed):
    x, y = sample
    value = mmd2(x, y, b, estimator).item()
    q = rotation(x.shape[1], seed)
    assert mmd2(y, x, b, estimator).item() == pytest.approx(value, abs=1e-10)
    assert mmd2(x + 50, y + 50, b, estimator).item() == pytest.approx(value, abs=1e-9)
    assert mmd2(x @ q, y @ q, b, estimator).item() == pytest.approx(value, abs=1e-9)


@pytest.mark.trust("formulas", "A distance between domains does not depend on the order of rows.")
@MANY
@given(samples(), bandwidths, st.sampled_from(("unbiased", "biased")), st.randoms(use_true_random=False))
def test_rows_may_be_permuted(sample, b, estimator, random):
    x, y = sample
    order = random.sample(range(len(x)), len(x))
    value = mmd2(x, y, b, estimator).item()
    assert mmd2(x[order], y, b, estimator).item() == pytest.approx(value, abs=1e-11)
    joint = jmmd2((x, x**2), (y, y**2), (b, (1.0,)), estimator).item()
    permuted = jmmd2((x[order], x[order] ** 2), (y, y**2), (b, (1.0,)), estimator).item()
    assert permuted == pytest.approx(joint, abs=1e-11)
    moments = moment_distance((x, y), x**2, (1, 2, 3)).item()
    assert moment_distance((x[order], y), x[order] ** 2, (1, 2, 3)).item() == pytest.approx(moments, rel=1e-9)


@MANY
@given(samples(), st.sampled_from((0.25, 8.0, 1024.0)))
def test_bandwidths_that_follow_the_data_make_the_mmd_free_of_scale(sample, scale):
    x, y = sample
    z = torch.cat((x, y))
    assume(torch.cdist(z, z).mean() > 1e-2)
    value = mmd2(x, y, mean_bandwidths(), "biased").item()
    assert mmd2(scale * x, scale * y, mean_bandwidths(), "biased").item() == pytest.approx(value, abs=1e-11)


@pytest.mark.trust("formulas", "Shifting the target grows the distance of first moments linearly.")
@MANY
@given(samples(count=3), seeds, st.lists(st.sampled_from((1, 2, 3, 4)), min_size=1, max_size=4, unique=True))
def test_a_shift_of_the_target_grows_the_first_moment_linearly_and_no_central_one(sample, seed, orders):
    *sources, target = sample
    step = torch.randn(target.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    same = [target] * 3
    grown = [moment_distance(same, target + t * step, (1,)).item() for t in (0, 1, 2, 7)]
    length = step.norm().item()
    assert grown == pytest.approx([0, length, 2 * length, 7 * length], rel=1e-9, abs=1e-12)
    higher = [k for k in orders if k > 1]
    if higher:
        value = moment_distance(sources, target, higher).item()
        assert moment_distance(sources, target + step, higher).item() == pytest.approx(
            value, rel=1e-7, abs=1e-9
        )


@pytest.mark.trust("formulas", "The order of sources, and a move of all domains, leave the moment distance.")
@MANY
@given(st.integers(1, 5).flatmap(lambda j: samples(count=j + 1)), st.sampled_from(("balanced", "all")), seeds)
def test_the_moment_distance_treats_all_sources_alike(sample, pairs, seed):
    *sources, target = sample
    value = moment_distance(sources, target, (1, 2), pairs=pairs).item()
    assert moment_distance(sources[::-1], target, (1, 2), pairs=pairs).item() == pytest.approx(value)
    moved = [x + 3 for x in (*sources, target)]
    assert moment_distance(moved[:-1], moved[-1], (1, 2), pairs=pairs).item() == pytest.approx(
        value, rel=1e-9, abs=1e-9
    )
    q = rotation(target.shape[1], seed)  # lengths of means do not change under rotation
    first = moment_distance(sources, target, (1,), pairs=pairs).item()
    turned = moment_distance([x @ q for x in sources], target @ q, (1,), pairs=pairs).item()
    assert turned == pytest.approx(first, rel=1e-9, abs=1e-9)
    if len(sources) == 1:
        swapped = moment_distance([target], sources[0], (1, 2), pairs=pairs).item()
        assert swapped == pytest.approx(value, rel=1e-9, abs=1e-12)


# --- Other people's implementations ----------------------------------------------------------------------


@pytest.mark.trust("formulas", "MMD and joint MMD agree with scikit-learn's Gaussian kernels.")
@FEW
@given(samples(), bandwidths)
def test_mmd_from_the_kernels_of_scikit_learn(sample, b):
    rbf = library("sklearn.metrics.pairwise").rbf_kernel
    x, y = (z.numpy() for z in sample)

    def means(p, q, off_diagonal=False):
        kernel = sum(rbf(p, q, gamma=1 / c) for c in b)
        if off_diagonal:
            return (kernel.sum() - kernel.trace()) / (len(p) * (len(p) - 1))
        return kernel.mean()

    biased = means(x, x) + means(y, y) - 2 * means(x, y)
    unbiased = means(x, x, True) + means(y, y, True) - 2 * means(x, y)
    assert mmd2(*sample, b, "biased").item() == pytest.approx(biased, abs=1e-9)
    assert mmd2(*sample, b).item() == pytest.approx(unbiased, abs=1e-9)
    joint = [rbf(p, q, gamma=0.5) * rbf(p**3, q**3, gamma=0.1) for p, q in ((x, x), (y, y), (x, y))]
    layers = [(z, z**3) for z in sample]
    ours = jmmd2(*layers, (2.0, 10.0), "biased")
    assert ours.item() == pytest.approx(joint[0].mean() + joint[1].mean() - 2 * joint[2].mean(), abs=1e-9)


@pytest.mark.trust("formulas", "Moments agree with SciPy's.")
@FEW
@given(samples(), st.integers(2, 5))
def test_central_moments_of_scipy(sample, order):
    scipy = library("scipy.stats")
    assume(all(z.std(0).min() > 1e-6 for z in sample))  # SciPy warns of cancellation
    x, y = (scipy.moment(z.numpy(), order, axis=0) for z in sample)
    expected = float(((x - y) ** 2).sum() ** 0.5)
    assert moment_distance(sample[:1], sample[1], (order,)).item() == pytest.approx(
        expected, rel=1e-9, abs=1e-9
    )


@st.composite
def segmentations(draw):
    """Logits and masks of some images; predictions and masks may be empty or full."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    n, h, w = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    shares = st.sampled_from((0.0, 0.2, 0.5, 1.0))
    logits, masks = torch.randn(n, 1, h, w, generator=generator), torch.zeros(n, 1, h, w)
    for i in range(n):
        masks[i] = (torch.rand(1, h, w, generator=generator) < draw(shares)).float()
        logits[i] = logits[i].abs() * torch.where(
            torch.rand(1, h, w, generator=generator) < draw(shares), 1.0, -1.0
        )
    return logits, masks


@pytest.mark.trust(
    "formulas",
    "Counts, Dice and IoU agree with torchmetrics on random images, empty and full masks among them.",
)
@MANY
@given(segmentations())
def test_counts_dice_and_iou_of_torchmetrics(case):
    reference = library("torchmetrics.functional.classification")
    logits, masks = case
    predicted, true, count = (logits > 0).int(), masks.int(), counts(logits, masks)
    for k, row in enumerate(count):
        # One by one: samplewise, the reference drops the axis of a single image.
        tp, fp, tn, fn, _ = reference.binary_stat_scores(predicted[k], true[k])
        assert row.tolist() == [tp, fp, fn, tn]
        ours = dice(row[None]).item(), iou(row[None]).item()
        if row[:3].sum() == 0:  # nothing there and nothing predicted: ours by convention, 0/0 elsewhere
            assert ours == (1, 1)
            continue
        assert ours[0] == pytest.approx(reference.binary_f1_score(predicted[k], true[k]).item(), abs=1e-6)
        assert ours[1] == pytest.approx(
            reference.binary_jaccard_index(predicted[k], true[k]).item(), abs=1e-6
        )


@pytest.mark.trust("formulas", "Dice, IoU and recall of parts agree with scikit-learn, also on empty masks.")
@FEW
@given(segmentations(), seeds)
def test_dice_iou_and_recall_of_scikit_learn(case, seed):
    reference = library("sklearn.metrics")
    logits, masks = case
    predicted, true = (logits > 0).flatten(1).int().numpy(), masks.flatten(1).int().numpy()
    count = counts(logits, masks)
    for k in range(len(count)):
        f1 = reference.f1_score(true[k], predicted[k], zero_division=1)
        jaccard = reference.jaccard_score(true[k], predicted[k], zero_division=1)
        assert dice(count[k : k + 1]).item() == pytest.approx(f1, rel=1e-12)
        assert iou(count[k : k + 1]).item() == pytest.approx(jaccard, rel=1e-12)
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randint(0, 4, masks.shape, generator=generator, dtype=torch.uint8)
    recalls = part_recall(logits, parts, 3)
    for k, row in enumerate(parts.flatten(1).numpy()):
        for part in range(3):
            inside = row == part + 1
            if not inside.any():
                assert recalls[k, part].isnan()
                continue
            expected = reference.recall_score(inside, predicted[k])
            assert recalls[k, part].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.trust("formulas", "The cross-entropy of the segmentation loss agrees with scikit-learn's.")
@FEW
@given(segmentations())
def test_segmentation_cross_entropy_of_scikit_learn(case):
    reference = library("sklearn.metrics")
    logits, masks = case[0].double(), case[1].double()
    ours = segmentation_loss(logits, masks) - (1 - soft_dice(logits, masks)).mean()
    expected = reference.log_loss(masks.flatten(), logits.sigmoid().flatten(), labels=[0, 1])
    assert ours.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.trust(
    "formulas", "Domain loss, weighted or not, and discriminator accuracy agree with scikit-learn's."
)
@FEW
@given(st.integers(1, 9), st.integers(1, 9), seeds)
def test_domain_loss_and_accuracy_of_scikit_learn(n, m, seed):
    reference = library("sklearn.metrics")
    source, target = torch.randn(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    source, target = 3 * source[:n] + 1, 3 * target[:m]
    weights = importance_weights(source, epsilon=0)

    def one_sided(logits, label, sample_weight=None):
        truth = [label] * len(logits)
        return reference.log_loss(truth, logits.sigmoid(), labels=[0, 1], sample_weight=sample_weight)

    expected = (one_sided(source, 1) + one_sided(target, 0)) / 2
    assert domain_loss(source, target).item() == pytest.approx(expected, rel=1e-9)
    weighted = (one_sided(source, 1, weights.numpy()) + one_sided(target, 0)) / 2
    assert domain_loss(source, target, weights).item() == pytest.approx(weighted, rel=1e-9)
    balanced = reference.balanced_accuracy_score([1] * n + [0] * m, torch.cat((source, target)) > 0)
    assert domain_accuracy(source, target).item() == pytest.approx(balanced, abs=1e-6)


@pytest.mark.trust("formulas", "The AUC of attention agrees with scikit-learn's on the map drawn in blocks.")
@FEW
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.sampled_from((2, 5, 1000)), seeds)
def test_attention_auc_of_scikit_learn(h, w, block, levels, seed):
    reference = library("sklearn.metrics")
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(1, levels + 1, (1, 1, 1, h, w), generator=generator).double()  # few levels: ties
    labels = torch.randint(0, 3, (1, h * block, w * block), generator=generator)
    drawn = maps[0, 0, 0].repeat_interleave(block, 0).repeat_interleave(block, 1)
    regions = torch.stack((labels == 1, labels == 2))
    first, second = part_auc(maps, regions)[0]
    if not (regions[0].any() and regions[1].any()):
        assert first.isnan() and second.isnan()
    else:
        inside = labels[0] > 0
        expected = reference.roc_auc_score(labels[0][inside] == 1, drawn[inside])
        assert first.item() == pytest.approx(expected, abs=1e-12)
        assert second.item() == pytest.approx(1 - expected, abs=1e-12)
    if 0 < (labels > 0).sum() < labels.numel():
        expected = reference.roc_auc_score((labels > 0).flatten(), drawn.flatten())
        assert object_auc(maps, labels > 0).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.trust("formulas", "The entropy of attention agrees with SciPy's.")
@FEW
@given(st.integers(1, 3), st.integers(2, 5), seeds)
def test_attention_entropy_of_scipy(n, w, seed):
    scipy = library("scipy.stats")
    maps = torch.rand(2, n, 1, 3, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    maps[maps < 0.3] = 0
    maps[:, :, 0, 0, 0] += 0.1
    expected = scipy.entropy(maps.flatten(2).numpy(), axis=-1).mean(-1) / math.log(3 * w)
    assert attention_entropy(maps).tolist() == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.trust("formulas", "Smooth maximum, its weights and averaged predictions agree with SciPy's.")
@FEW
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=5), st.sampled_from((0.01, 1.0, 10.0, 1e3)), seeds)
def test_sums_in_the_log_domain_of_scipy(values, gamma, seed):
    special = library("scipy.special")
    v = torch.tensor(values, dtype=torch.float64)
    expected = special.logsumexp(gamma * v.numpy()) / gamma
    assert worst_case(v, gamma).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert worst_case_weights(v, gamma).tolist() == pytest.approx(
        special.softmax(gamma * v.numpy()).tolist(), rel=1e-9, abs=1e-300
    )
    generator = torch.Generator().manual_seed(seed)
    z = 4 * torch.randn(3, 2, 1, 4, 5, generator=generator, dtype=torch.float64)
    weights = torch.rand(2, 3, generator=generator, dtype=torch.float64).softmax(1)
    p = special.expit(z.numpy())
    torch.testing.assert_close(mixture(z), torch.from_numpy(special.logit(p.mean(0))))
    mixed = special.logit((weights.numpy().T[:, :, None, None, None] * p).sum(0))
    torch.testing.assert_close(mixture(z, weights), torch.from_numpy(mixed))


@pytest.mark.trust(
    "formulas", "With one seed the two-way bootstrap is SciPy's percentile bootstrap over cars."
)
def test_bootstrap_of_scipy():
    scipy, pandas = library("scipy.stats"), library("pandas")
    values = torch.rand(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64).square().numpy()
    table = pandas.DataFrame({"seed": 0, "car": [f"car {i}" for i in range(40)], "dice": values})
    ours = two_way_bootstrap(table, draws=20_000)
    theirs = scipy.bootstrap(
        (values,), lambda x, axis: x.mean(axis), n_resamples=20_000, method="percentile", random_state=0
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean(), rel=1e-12)
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)
