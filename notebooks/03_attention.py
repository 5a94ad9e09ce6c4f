# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What attention looks at
#
# After the adversary has worked on the features, the paper lets an *attention* module weight them: suppress what does not
# transfer, enhance what does. It would be lovely if the attention of the front source lit up the front of a target car, and that of the
# rear source the rear. This page builds the module, looks at it while it learns, and then *measures* if that happens.
#
# | | |
# |---|---|
# | You will see | the module in two equations; attention maps over training, one column a source; how often attention ranks its own part first; the same network without attention; on digits, what a weight says about what counts |
# | Run time | about five minutes on one CPU core |
# | Device | CPU; a GPU is used where there is one |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from torch.nn.functional import interpolate

from mstl.nn import LocalAttention
from mstl.report import plots, widgets

plots.style()

# %% tags=["parameters"] nbmake={"mock": {"steps": 8, "profile": "tiny", "frames": 2, "images": 16, "digit_steps": 80}}
recipe: str = "chimeras"  # sources that agree with the target in one part only; or parts
profile: str = "grid"  # grid is 48 by 72 pixels, tiny 32 by 48
steps: int = 180  # of training, with attention and once more without
width: int = 8  # channels of the U-Nets at full resolution
batch_size: int = 4  # images of every source in a step
labels: int = 8  # labelled target images
frames: int = 8  # attention maps kept during training
images: int = 96  # test images on which attention is measured
digit_steps: int = 150  # of training on digits
seed: int = 0  # of splits, weights and batches

# %% [markdown]
# ## The module
#
# Let $f$ be a feature map with $c$ channels, $f_{xy}$ its vector at one place and $\bar f$ its mean over all places.
# **Channel attention** ({cite:p}`hu2018se`) asks which *kinds* of features matter in this image. **Spatial attention** ({cite:p}`roy2018scse`)
# asks which *places* matter. We use their product:
#
# $$
# a_c = 2\,\sigma\big(W_2 \max(0,\, W_1 \bar f + b_1) + b_2\big) \in (0, 2)^c, \qquad
# a_s(x, y) = 2\,\sigma\big(w^\top f_{xy} + b\big) \in (0, 2),
# $$ (eq-attention)
#
# $$
# \tilde f_{xy} = f_{xy} \odot a_c \cdot a_s(x, y) .
# $$
#
# Why twice the sigmoid? Because of the start. With $W_2$, $b_2$, $w$ and $b$ at zero, every weight is $2\,\sigma(0) = 1$: the module begins as the
# *identity* and has to find a reason to be anything else. A weight below 1 then suppresses, one above 1 enhances.

# %%
attend, f = LocalAttention(channels=16), torch.randn(2, 16, 8, 12)
weighted, weights = attend(f)
print(f"largest change of a feature: {(weighted - f).abs().max():.1f}")
print(f"weights from {weights.min():.1f} to {weights.max():.1f}, shape {tuple(weights.shape)}")

# %% [markdown]
# Each sub-network has such a module at *every* level of its U-Net. One at the coarsest level alone could be bypassed: what
# it suppresses would come back through a skip connection. The discriminator reads the features *before* attention, because the
# abstract says that features are extracted first and weighted "then" ({doc}`../book/paper`).
#
# Nobody tells the module what it should look at. It has no loss of its own. Its only teachers are the segmentation
# losses behind it. Whether "what helps the segmentation of source and target" is the same as "the part they share" is an open
# question, and we can answer it here, since in *studio* every pixel knows its part.
#
# ## The task
#
# `chimeras` is made for this question ({doc}`01_local_data`). A source object carries one true part of a car, its front or
# cabin or rear, on a foreign body. All of it is foreground. So the true part is what should be transferred, and the body is what should not.

# %% tags=["remove-stderr"]
from mstl.data import local_task
from mstl.data.recipes.regions import LAYOUTS, by_parts
from mstl.run.config import PROFILES, TrainConfig

task = local_task("studio", recipe, labels=labels, seed=seed, size=PROFILES[profile].size)
names = [source.name for source in task.sources]
print(", ".join(f"{domain.name}: {len(domain)} images" for domain in task.domains()))

# %% mystnb={"figure": {"name": "fig-attention-task", "caption": "Sources and target of the recipe chimeras. Can you find the true part? Data: studio, seed 0."}, "image": {"alt": "Four rows of pictures: strange objects with a car's front, with a car's cabin, with a car's rear, and whole cars."}}
plots.domain_montage(task, columns=6, masks=False, seed=seed)
plt.show()

# %% [markdown]
# ## Training, with a camera
#
# We train a small MSTL by the book's own loop, {doc}`05_training`, and now and then take a picture of its weights on
# target cars from the test. `maps` holds, for each level of a sub-network, the mean weight over channels at each place.

# %%
from mstl.data.augment import to_float
from mstl.run.train import Trainer

config = {"recipe": recipe, "profile": profile, "steps": steps, "width": width, "batch_size": batch_size}
config |= {"labels": labels, "seed": seed, "ema": 0.0, "precision": "32-true"}


@torch.no_grad()
def attention(trainer, images):
    """Weights of every level, fine to coarse, each (J, n, h, w) at the size of the images."""
    images = to_float(images).to(trainer.fabric.device)
    by_source = [network(images).maps for network in trainer.method.eval().subnetworks]
    by_level = [torch.stack(maps)[:, :, 0] for maps in zip(*by_source, strict=True)]
    return [interpolate(maps, images.shape[-2:]).cpu().numpy() for maps in by_level]


def probability(trainer, images):
    """What the whole network predicts, (n, 1, h, w)."""
    return trainer.predict(to_float(images)).float().sigmoid().cpu()


# %% [markdown]
# For the pictures we take one car in three views: three quarters from the front, from the side, and three quarters from the rear.

# %%
views = [3, 5, 11]
one_car = task.test.groups == task.test.groups[0]
chosen = task.test.select([np.flatnonzero(one_car & (task.test.views == view))[0] for view in views])
outlines = by_parts(chosen)

# %%
trainer = Trainer(TrainConfig(**config), task)
pictures_at = set(np.linspace(0, steps, frames).astype(int).tolist())
film = {}
for step in range(steps + 1):
    if step in pictures_at:
        film[step] = attention(trainer, chosen.images), probability(trainer, chosen.images)
    if step < steps:
        losses = trainer.update()
print(", ".join(f"{name} {float(loss):.2f}" for name, loss in losses.items()))

# %% [markdown]
# Does it segment? What a network that finds nothing attends to would explain nothing.

# %%
from mstl.run.evaluate import predict_domain


def mean_dice(trainer):
    logits = predict_domain(trainer.predict, task.test, trainer.fabric.device)
    return task.problem.table(logits, task.test)["dice"].mean()


scores = {"with attention": mean_dice(trainer)}
print(f"Dice {scores['with attention']:.3f}")
assert steps < 150 or scores["with attention"] > 0.8, "train for longer before you look at its attention"

# %% [markdown]
# The first film shows the finest level. Red places weigh more than 1, blue ones less. A line marks the part that the source
# of the column carries.


# %%
def attention_picture(maps, found):
    figure, axes = plt.subplots(len(views), len(names) + 2, figsize=(9.2, 4), layout="compressed")
    for row, (first, *per_source, last) in enumerate(axes):
        first.imshow(plots.to_picture(chosen.images[row]))
        last.imshow(plots.overlay(chosen.images[row], found[row], 0.85))
        for j, ax in enumerate(per_source):
            shown = ax.imshow(maps[j, row], cmap="RdBu_r", vmin=1 - spread, vmax=1 + spread)
            if outlines[j, row].any():
                ax.contour(outlines[j, row], levels=[0.5], colors="black", linewidths=1)
    titles = ["target car", *(f"attention of {name}" for name in names), "prediction"]
    for ax, name in zip(axes[0], titles, strict=True):
        ax.set_title(name, fontsize=10)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, shrink=0.7, label="weight")
    return figure


# %%
spread = max(float(abs(maps[0] - 1).max()) for maps, _ in film.values()) + 1e-6
widgets.frames(
    [widgets.png(attention_picture(maps[0], found)) for maps, found in film.values()],
    [f"step {step}" for step in film],
    "training step",
)

# %% [markdown]
# At step 0 everything is white: the identity. Here is the last frame, for print, and below it the coarsest level, where the
# network knows most about *what* it sees and least about *where*.

# %% tags=["picture"] mystnb={"figure": {"name": "fig-attention-fine", "caption": "Attention weights of the finest level at the end of training, on one test car in three views. Columns: the car, one sub-network each, and what the whole network predicts; black outline: the part that the sub-network's source carries. Data: studio, recipe chimeras, seed 0."}, "image": {"alt": "A grid of three views of a rendered car by three sub-networks. Each cell is a map in red and blue with the outline of front, cabin or rear."}}
maps, found = film[steps]
attention_picture(maps[0], found)
plt.show()

# %% mystnb={"figure": {"name": "fig-attention-coarse", "caption": "The same at the coarsest level, whose places are squares of 8 by 8 pixels. Data: studio, recipe chimeras, seed 0."}, "image": {"alt": "The same grid as before with blocky maps of a few large squares."}}
spread = float(abs(maps[-1] - 1).max()) + 1e-6
attention_picture(maps[-1], found)
plt.show()

# %% [markdown]
# ## Looking is not measuring
#
# In a map one sees what one hopes to see. So let us count, on many images of all test cars. First the mean weight in each
# part of the car, and outside of it:

# %%
rng = np.random.default_rng(seed)
cars = task.test.select(rng.choice(len(task.test), min(images, len(task.test)), replace=False))
weights = attention(trainer, cars.images)
places = {"background": 0} | {name: k for k, name in enumerate(cars.part_names, start=1)}
index = cars.parts[:, 0].numpy()

# %% mystnb={"figure": {"name": "fig-attention-by-part", "caption": "Mean attention weight in every part of the test cars (columns) by each sub-network (rows), at the finest and the coarsest level. 1 is the identity. Data: studio, recipe chimeras, seed 0."}, "image": {"alt": "Two heat maps with three rows, one for each sub-network, and eight columns, the background and seven parts of a car."}}
figure, axes = plt.subplots(2, 1, figsize=(8.5, 3.8), sharex=True)
for ax, level, title in zip(axes, (0, -1), ("finest level", "coarsest level"), strict=True):
    mean = {place: [w[index == k].mean() for w in weights[level]] for place, k in places.items()}
    sns.heatmap(pd.DataFrame(mean, names), annot=True, fmt=".2f", cmap="RdBu_r", center=1, ax=ax, cbar=False)
    ax.set_title(title, loc="left")
    ax.tick_params(axis="y", rotation=0)
plt.show()

# %% [markdown]
# Second, the question itself. Take two pixels of a car at random, one inside the part of source $j$ and one outside. How often does
# attention give the inside one the larger weight? That is the area under the ROC curve, **AUC**. It does not
# depend on the scale of the weights: 1 is always, ½ is chance, and below ½ attention prefers the *rest* of the car.
#
# We ask it of each sub-network (row) *and for each part* (column). If attention finds what source and target share, the
# diagonal must stand out *within its column*: a part that any network likes, such as a dark one, is no discovery.

# %%
from sklearn.metrics import roc_auc_score

parts = by_parts(cars)
car = cars.masks[:, 0].numpy() > 0


def ranked_first(weights, inside, among):
    """Mean AUC over the images where some of the pixels in question are inside and some are not."""
    pairs = [(w[a], p[a]) for w, p, a in zip(weights, inside, among, strict=True)]
    areas = [roc_auc_score(p, w) for w, p in pairs if 0 < p.sum() < len(p)]
    return np.mean(areas)


# %%
auc = np.array([[[ranked_first(w, part, car) for part in parts] for w in level] for level in weights])

# %% mystnb={"figure": {"name": "fig-attention-auc", "caption": "AUC of the attention of each sub-network (rows) for each part (columns) among the pixels of the test cars, at every level from fine to coarse. 0.5 is chance. The diagonal, framed, is where attention would find the part its source shares with the target. Mean over images. Data: studio, recipe chimeras, seed 0."}, "image": {"alt": "Four heat maps of three by three numbers with framed diagonals, one for each level of the network."}}
figure, axes = plt.subplots(1, len(weights), figsize=(11, 2.9), sharey=True)
for level, ax in enumerate(axes):
    table = pd.DataFrame(auc[level], names, LAYOUTS[3])
    sns.heatmap(
        table, annot=True, fmt=".2f", cmap="PuOr_r", vmin=0.2, vmax=0.8, ax=ax, cbar=False, square=True
    )
    for j in range(len(names)):
        ax.add_patch(plt.Rectangle((j, j), 1, 1, fill=False, lw=2.5, color="black"))
    ax.set(title=f"level {level}", xlabel="part")
    ax.tick_params(axis="y", rotation=0)
axes[0].set_ylabel("attention of")
plt.show()

# %% [markdown]
# Is the diagonal special? Three sub-networks can be given to three parts in six ways, and only one way is the true one. If
# attention knew its part, the true way would have the largest mean AUC of all six. By luck alone it does so in one of six cases.

# %%
from itertools import permutations

ways = list(permutations(range(len(names))))
score = np.array([[table[range(len(names)), way].mean() for way in ways] for table in auc])
true = score[:, 0]
rank = (score > true[:, None]).sum(axis=1) + 1
pd.DataFrame(
    {"AUC of the true way": true.round(3), "best AUC": score.max(1).round(3), "rank of the true way": rank}
)

# %%
first = int((rank == 1).sum())
print(
    f"{len(ways)} ways: the true one is first at {first} of {len(rank)} levels; luck alone: {len(rank) / len(ways):.1f}"
)
print(f"mean AUC of the own part over all levels: {true.mean():.3f}, chance is 0.5")

# %% [markdown]
# Third, at the source. Among the pixels of a *chimera*, does attention prefer the true part to the foreign body? It could
# hardly be easier: the network trains on these very images. And for comparison, does it prefer the object to the background?

# %%
rows = {}
for j, source in enumerate(task.sources):
    source = source.select(rng.choice(len(source), min(images, len(source)), replace=False))
    fine, *_, coarse = (level[j] for level in attention(trainer, source.images))
    true, thing = by_parts(source)[j], source.masks[:, 0].numpy() > 0
    everywhere = np.ones_like(thing)
    rows[source.name] = {
        ("true part in object", "finest"): ranked_first(fine, true, thing),
        ("true part in object", "coarsest"): ranked_first(coarse, true, thing),
        ("object in image", "finest"): ranked_first(fine, thing, everywhere),
        ("object in image", "coarsest"): ranked_first(coarse, thing, everywhere),
    }
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# Read the last two columns by their distance from ½, in *either* direction. Telling object from background is what a
# segmentation network needs and what its loss teaches. But a module may do it by giving the object the larger weights or by giving it
# the smaller ones: compare the rows and the levels. For the loss that is all the same: the next layer can turn any sign and undo any
# scale. **A weight is not an importance.** A place with weight 0.9 can be the one that decides.
#
# The first two columns would need a reason to tell the true part from the foreign body, and *both are foreground*. No loss of
# the paper's abstract, as we read it, gives attention that reason. This is an argument about the method, not only about this run.
#
# ## Without attention
#
# The same seed, the same batches, the same number of steps, and `attention=none` (the default of MSTL-plus):

# %%
plain = Trainer(TrainConfig(**config, overrides="attention=none"), task)
for _ in range(steps):
    plain.update()

# %%
scores["without attention"] = mean_dice(plain)
print(*(f"Dice {name}: {score:.3f}" for name, score in scores.items()), sep="\n")

# %% [markdown]
# **No claim follows from these two numbers.** One seed and a few hundred steps measure luck. {doc}`08_ablation` switches
# attention with several seeds and intervals, and {doc}`09_local_features` asks this page's questions of finished runs. In the
# exploratory runs behind our defaults attention never paid, so MSTL has it and MSTL-plus does not ({doc}`../book/paper`).
#
# ## On classes
#
# A class is a mask of one place. Its network has no skip connections, so there is one attention, on the coarsest map, and
# what it leaves is pooled to one vector. That makes a question easy which a mask, with an answer at every place, makes
# hard: *does a place that weighs much also count much?* Take one place of the attended map away and see how far the log
# probability of the answer falls,
#
# $$
# v(x, y) = \log p_k\big(\tilde f\big) - \log p_k\big(\tilde f \text{ with } \tilde f_{xy} = 0\big), \qquad k = \arg\max p(\tilde f) .
# $$
#
# The target are handwritten digits, twenty of them labelled, the sources digits drawn from three kinds of typeface. Each
# sub-network answers by its own head, and chance is right once in ten times. The adversary is switched off.

# %%
from mstl.nn.outputs import log_probabilities

digits = local_task("digits", "to-handwritten", labels=20, seed=seed)
config = {"data": "digits", "recipe": "to-handwritten", "labels": 20, "profile": "tiny", "seed": seed}
config |= {"steps": digit_steps, "batch_size": 16, "ema": 0.0, "precision": "32-true", "device": "cpu"}
reader = Trainer(TrainConfig(**config, overrides="adversarial=false"), digits)
for _ in range(digit_steps):
    reader.update()

x = to_float(digits.test.images)
with torch.no_grad():
    answers = reader.method.eval().head_logits(x)[..., 0, 0].argmax(-1)
right = {
    source.name: float((answer == digits.test.labels).float().mean())
    for source, answer in zip(digits.sources, answers, strict=True)
}
print(*(f"head of {name}: {share:.0%} right" for name, share in right.items()), sep="\n")
assert min(right.values()) > 0.2, "a head knows little more than chance, 0.1"


# %%
@torch.no_grad()
def weights_and_worth(network, x, answer):
    """Weight of each place of the coarsest map, and what the answer loses without it: (n, h, w) each."""

    def log_p(attended):
        logits = network.predictor((network.pool(attended),))
        return log_probabilities(logits)[..., 0, 0].gather(1, answer[:, None])[:, 0]

    attended, weight = network.attention[-1](network.represent(x).features)
    worth = torch.empty_like(weight[:, 0])
    for row, column in np.ndindex(*worth.shape[1:]):
        without = attended.clone()
        without[:, :, row, column] = 0
        worth[:, row, column] = log_p(attended) - log_p(without)
    return weight[:, 0].numpy(), worth.numpy()


# %%
pairs = zip(reader.method.subnetworks, answers, strict=True)
asked = [weights_and_worth(network, x[:images], answer[:images]) for network, answer in pairs]

# %% mystnb={"figure": {"name": "fig-attention-digits", "caption": "Three handwritten digits (outlines) and, for each sub-network, the attention weight of the 4 by 4 places of its map and how far the log probability of its answer falls without the place. A place sees 16 by 16 pixels and is drawn at their middle. Red is more than 1 or more than 0, blue less; each picture has a scale of its own. Data: digits, typefaces to handwritten, seed 0."}, "image": {"alt": "Three rows of seven pictures: a handwritten digit, and for each of three sub-networks a map of four by four squares with its attention weights, large along the stroke, and beside it another one with what each place is worth, mostly in one or two squares."}}
figure, axes = plt.subplots(3, 1 + 2 * len(asked), figsize=(9.5, 4.4))
for i, row in enumerate(axes):
    row[0].imshow(digits.test.images[i, 0], cmap="gray_r")
    maps = [(m[i], centre) for pair in asked for m, centre in zip(pair, (1, 0), strict=True)]
    for ax, (shown, centre) in zip(row[1:], maps, strict=True):
        most = abs(shown - centre).max()
        look = {"cmap": "RdBu_r", "vmin": centre - most, "vmax": centre + most, "extent": (6, 22, 22, 6)}
        ax.imshow(shown, **look)
        ax.contour(digits.test.images[i, 0], levels=[128], colors="black", linewidths=1)
        ax.set(xlim=(0, 28), ylim=(28, 0))
for ax, title in zip(axes[0, 1:], [t for name in right for t in (f"{name}: weight", "worth")], strict=True):
    ax.set_title(title)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The weights follow the stroke; what counts is a place or two of it. Are these the ones that weigh most? Over
# all images asked, by the rank correlation of the two maps of an image: 1 where the places are in the same order, 0 where
# one order says nothing about the other.

# %%
for name, pair in zip(right, asked, strict=True):
    weight, worth = (pd.DataFrame(m.reshape(len(m), -1)) for m in pair)
    alike = weight.corrwith(worth, axis=1, method="spearman")
    print(
        f"{name}: {alike.mean():+.2f}, from {alike.quantile(0.1):+.2f} to {alike.quantile(0.9):+.2f} in 8 of 10 images"
    )

# %% [markdown]
# And of a *vector*, a map of one place, there is no place to choose. Channel attention still weighs its features. Spatial
# attention multiplies all of them by one number, so that it can make an image louder or quieter, and nothing else.

# %%
weights = LocalAttention(channels=16)(torch.randn(5, 16, 1, 1))[1]
print(f"weights of five vectors: {tuple(weights.shape)}")

# %% [markdown]
# ## Summary
#
# * Attention multiplies features by channel and by place, starts as the identity, and acts at every level.
# * It has no loss of its own. It learns what the segmentation asks of it.
# * Whether it finds the part that source and target share is a question with a number: the AUC against the part map, for the
#   true assignment of parts and for all others. The table above holds the answer for this run, and few steps are no verdict.
# * A weight is not an importance, and a map that looks plausible on one car is not evidence.
#
# ## Exercises
#
# 1. Set `recipe="parts"` and run again. The sources are now windows in different styles. Does the true way come first?
# 2. Switch the trained attention off *after* training, by
#    `for m in trainer.method.modules(): m.channel = m.spatial = None` for every `LocalAttention`, and score again. What does
#    the difference tell that the ablation does not?
# 3. Which loss would give attention a reason to prefer the shared part? Invent one that needs no part map.
#
# ```{dropdown} Solution to 1
# Windows hold little but their part, so a sub-network sees other parts of a car only in target images. Look at the rank, not at
# the diagonal alone, and at more than one seed before you believe it.
# ```
#
# ```{dropdown} Solution to 2
# It tells how much the trained network *relies* on its attention. The ablation tells how well the network could do if it
# had never had it. A network can rely on a part that it would not have missed.
# ```
#
# ```{dropdown} Solution to 3
# One idea from the literature: let the *discriminator* say what transfers. Where it cannot tell source from target, its
# entropy is high, and that entropy can weight the features {cite:p}`wang2019tada`. It is built in: train
# `method="mstl_plus"` with `overrides="attention=transferable"`; {doc}`08_ablation` has its row. Another: ask that each sub-network's attention differs from that of the others on the same target image.
# ```
#
# **Next:** {doc}`04_synchronised_batches`
