# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Synchronised batches
#
# MSTL has one sub-network for each source, and at the end it puts together what they found in a target image. That needs
# a small piece of order which is easily lost: in every step, all sub-networks must see **the same target images**. This
# page shows how such a batch is drawn, and what goes wrong without it.
#
# | | |
# |---|---|
# | You will see | one batch; cycles of sources of unequal size; a step replayed; a car put together from three different ones, and a digit |
# | Run time | one to two minutes on one CPU core: a small MSTL is trained on the way |
# | Device | CPU |

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

from mstl import methods
from mstl.data import local_task
from mstl.data.augment import to_float
from mstl.data.batches import Batches, Cycle
from mstl.problems.segmentation import counts, dice
from mstl.report import plots

plots.style()

# %% tags=["parameters"] nbmake={"mock": {"height": 32, "width": 4, "steps": 4, "fusion_steps": 3, "draws": 4, "digit_steps": 60}}
seed: int = 0  # of the splits, the weights and the batches
labels: int = 8  # labelled target images
height: int = 64  # of a target image in pixels; it is half as wide again
width: int = 12  # channels of the small networks at full resolution
steps: int = 120  # updates of the small MSTL
fusion_steps: int = 50  # updates of each fusion that is trained anew
draws: int = 50  # batches on which heads are compared
digit_steps: int = 150  # updates of the small MSTL on digits

# %% [markdown]
# ## What one step draws
#
# Sub-network $j$ turns a target image into attended features $\tilde f_j(x)$. A fusion combines those of all
# sub-networks, and the target predictor $P_T$ makes the mask:
#
# $$
# \hat y = P_T\big( \mathrm{Fuse}( \tilde f_1(x), \dots, \tilde f_J(x) ) \big) .
# $$
#
# Read the equation again: it holds *one* $x$. So a step draws $b$ images from each source, each source for itself, and
# **one** target batch of $m$ images for all, some of them labelled. The paper calls this its *multi-source domain
# independent strategy*.

# %%
task = local_task("studio", "parts", labels=labels, seed=seed, size=(height, height * 3 // 2))
batches = Batches(task, batch_size=8, target_batch_size=8, labelled_share=0.5, seed=seed)
batch = next(batches)
print("source images", tuple(batch.source_x.shape), "  source, image, channel, height, width")
print("target images", tuple(batch.target.x.shape), "  of which labelled:", len(batch.target.y))


# %%
def masked(image, mask):
    weight = 0.5 * mask[0].numpy()[..., None]
    return plots.from_network(image) * (1 - weight) + plots.MASK_COLOUR * weight


# %% mystnb={"figure": {"name": "fig-batch", "caption": "One batch, as the networks get it: eight augmented images of each source and one row of target images that enters all sub-networks. Amber: the masks that training may use; the last four target images have none. Data: studio, recipe parts, seed 0."}, "image": {"alt": "Four rows of eight small images: windows on car fronts, cabins and rears with amber masks, and whole cars of which the first four have a mask."}}
rows = [
    [masked(image, mask) for image, mask in zip(images, masks, strict=True)]
    for images, masks in zip(batch.source_x, batch.source_y, strict=True)
]
target = batch.target
known = [masked(image, mask) for image, mask in zip(target.x, target.y, strict=False)]
rows.append(known + [plots.from_network(image) for image in target.x[len(known) :]])
plots.picture_grid(rows, [*(source.name for source in task.sources), "target"])
plt.show()

# %% [markdown]
# ### The invariant
#
# A batch holds $J$ target batches, one for each sub-network. Synchronised, they are not merely alike: they are one and
# the same object, with the same images, the same augmentation, the same pixels at the same address. It costs nothing, and
# it is easy to check.

# %%
assert all(seen is batch.targets[0] for seen in batch.targets)
assert len({seen.x.data_ptr() for seen in batch.targets}) == 1
print(f"{batch.J} sub-networks, {len(set(map(id, batch.targets)))} target batch")

# %% [markdown]
# For comparison, the same class draws a target batch of its own for each sub-network if it is told to. Some released
# codes of multi-source methods do just that ({doc}`../book/paper`). Which target images do the sub-networks see then?

# %%
apart = Batches(task, batch_size=8, target_batch_size=8, labelled_share=0.5, seed=seed, synchronised=False)
other = next(apart)
ids = {
    (mode, f"sub-network {j + 1}"): drawn.targets[j].ids.tolist()
    for mode, drawn in {"synchronised": batch, "each its own": other}.items()
    for j in range(batch.J)
}
pd.DataFrame(ids).T.rename_axis(columns="row of target image")

# %% mystnb={"figure": {"name": "fig-two-modes", "caption": "What the sub-networks (rows) see of the target in one step. Left four columns: synchronised. Right four: each its own. Data: studio, recipe parts, seed 0."}, "image": {"alt": "Three rows of eight cars. In the left half each column shows the same car three times; in the right half every picture is another car."}}
white = np.ones((height, height * 3 // 2, 3))
rows = [
    [plots.from_network(image) for image in batch.targets[j].x[:4]]
    + [white]
    + [plots.from_network(image) for image in other.targets[j].x[:4]]
    for j in range(batch.J)
]
figure = plots.picture_grid(rows, [f"sub-network {j + 1}" for j in range(batch.J)])
for column, title in {0: "synchronised", 5: "each its own"}.items():
    figure.axes[column].set_title(title, loc="left")
plt.show()

# %% [markdown]
# ## Endless cycles
#
# Sources differ in size. How does one draw from all of them in step? The usual way is to zip their loaders, and `zip` stops
# with the shortest: in each epoch the larger sources lose whatever is left. Here each source runs on its **own endless
# cycle**. Position $p$ of source $j$ with $n_j$ images lies in pass $\lfloor p / n_j \rfloor$, every pass is a fresh
# permutation, and step $t$ takes positions $tb, \dots, tb + b - 1$. There are no epochs, and the sources need not know of
# each other.

# %%
cycle = Cycle(5, seed=seed, stream="a small example")
for step in range(4):
    print(f"step {step}: rows", cycle.rows(step * 3, 3).tolist())

# %% [markdown]
# Five rows, three a step: the second step runs over into the second pass, and nothing is lost or repeated before its
# turn. Now the sources of our task.

# %%
b = batches.batch_size
sizes = {source.name: len(source) for source in task.sources}
shortest = min(sizes.values()) // b
T = 4 * shortest
print(f"images: {sizes}; zipped, an epoch would end after {shortest} steps")

# %% mystnb={"figure": {"name": "fig-cycles", "caption": "Which images (vertical) are drawn in which step (horizontal), for three sources of unequal size; a colour is one pass. Dashed: where an epoch of zipped loaders ends. Data: studio, recipe parts, seed 0."}, "image": {"alt": "Three scatter plots of image against step. Colours change at other steps in each source; dashed vertical lines mark the end of zipped epochs, before the larger sources have been passed through."}}
figure, axes = plt.subplots(1, len(sizes), figsize=(9, 2.8), sharex=True)
for ax, (name, n) in zip(axes, sizes.items(), strict=True):
    positions = torch.arange(T * b)
    rows = Cycle(n, seed, f"source {name} 0").rows(0, T * b)
    colours = np.array(plots.PALETTE)[(positions // n) % 6]
    ax.scatter(positions // b, rows, c=colours, s=3, lw=0)
    for end in range(shortest, T + 1, shortest):
        ax.axvline(end - 0.5, color="#555555", ls="--", lw=0.8)
    ax.set(title=f"{name}: {n} images", xlabel="step")
axes[0].set_ylabel("image")
plt.show()

# %% [markdown]
# What does that do to the largest source? Count how often each of its images has been drawn. On its own cycle, no image
# is ever ahead of another by more than one. Zipped, with a fresh shuffle in each epoch, chance decides.

# %%
n = max(sizes.values())
own = torch.bincount(Cycle(n, seed, "counted").rows(0, T * b), minlength=n)
epochs = [Cycle(n, seed, f"epoch {k}").rows(0, shortest * b) for k in range(T // shortest)]
zipped = torch.bincount(torch.cat(epochs), minlength=n)

# %% mystnb={"figure": {"name": "fig-visits", "caption": "How often each image of the largest source has been drawn after equally many steps, images sorted by it: on an endless cycle (blue) and from zipped loaders (orange). Data: studio, recipe parts, seed 0."}, "image": {"alt": "Two step curves over the sorted images. The endless cycle is almost flat; the zipped one falls from several draws to none."}}
figure, ax = plt.subplots(figsize=(7, 2.6))
for visits, name in ((own, "endless cycle"), (zipped, "zipped loaders")):
    ax.step(range(n), visits.sort(descending=True).values, where="mid", label=name)
ax.set(xlabel="image, sorted", ylabel="times drawn", ylim=(-0.1, None))
ax.legend()
plt.show()

# %%
print(
    f"after {T} steps: drawn {own.min()} to {own.max()} times on its own cycle, {zipped.min()} to {zipped.max()} zipped;"
)
print(f"{(zipped == 0).float().mean():.0%} of the images were never drawn from zipped loaders")

# %% [markdown]
# ### Any step again
#
# All chance comes from generators that depend on the seed, the name of the stream and the step, and on nothing else. So
# any step can be replayed, the draws of one source do not change when another source is added, and the whole state of the
# sampler is one number. A killed run goes on with exactly the batches it would have seen.

# %%
for _ in range(5):
    late = next(batches)
again = Batches(task, batch_size=8, target_batch_size=8, labelled_share=0.5, seed=seed)
again.load_state_dict({**batches.state_dict(), "step": 5})
print("replayed:", torch.equal(batches.at(5).source_x, late.source_x))
print("resumed: ", torch.equal(next(again).target.x, late.target.x))

# %% [markdown]
# ## Without it, part 1: nothing to fuse
#
# To see what breaks one needs something whole. Train a small MSTL for a moment: three sub-networks, a fusion, the
# target predictor. The adversary is switched off, as it has no part in this.

# %%
torch.manual_seed(seed)
model = methods.build("mstl", sources=3, labelled=True, width=width, overrides="adversarial=false")
training = Batches(task, batch_size=4, target_batch_size=4, labelled_share=1.0, seed=seed)


# %%
def fit(parameters, loss, steps, rate=3e-3):
    optimiser = torch.optim.AdamW(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for step in range(steps):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
        schedule.step()


# %%
fit(model.parameters(), lambda step: sum(model.losses(training.at(step), step / steps).values()), steps)

# %% [markdown]
# Now the fused prediction, written so that each sub-network may be given images *of its own*. With the same tensor three
# times it is the equation above.


# %%
def fuse(model, attended):
    levels = zip(model.fusions, zip(*attended, strict=True), strict=True)
    return model.predictor(tuple(fusion(maps) for fusion, maps in levels))


# %% [markdown]
# The test images are put into three orders. In the first they are as they are; in the others every place holds another
# car. The features of each sub-network are computed once and then handed to the fusion in any order.

# %%
test = task.test.select(np.random.default_rng(seed).permutation(len(task.test))[:64])
x, y = to_float(test.images), test.masks
orders = [torch.arange(len(test)).roll(shift) for shift in (0, len(test) // 3, 2 * len(test) // 3)]
with torch.no_grad():
    features = [network(x).attended for network in model.subnetworks]


# %%
@torch.no_grad()
def fused(model, *given):
    return fuse(model, [[level[order] for level in f] for f, order in zip(features, given, strict=True)])


def scored(model, *given):
    return dice(counts(fused(model, *given), y)).numpy()


# %% [markdown]
# Who keeps the first image? Each sub-network in turn, and the scores are averaged, so that no choice of ours matters. The
# score to compare with is that of a mask which belongs to another car altogether: cars stand in the same place, so even
# that overlaps.


# %%
def strangers_at(*places):
    return scored(model, *[orders[places.index(j) + 1] if j in places else orders[0] for j in range(3)])


groups = {
    "same image": scored(model, *orders[:1] * 3),
    "one stranger": np.mean([strangers_at(j) for j in range(3)], axis=0),
    "two strangers": np.mean([strangers_at(1, 2), strangers_at(0, 2), strangers_at(0, 1)], axis=0),
    "another car's\ntrue mask": dice(counts(y[orders[1]].float() - 0.5, y)).numpy(),
}
same, one, two, floor = (scores.mean() for scores in groups.values())
print(
    f"Dice: same image {same:.3f}, one stranger {one:.3f}, two strangers {two:.3f}, another car's mask {floor:.3f}"
)
print(
    f"of the lead over another car's mask, one stranger costs {(same - one) / (same - floor):.0%},", end=" "
)
print(f"two cost {(same - two) / (same - floor):.0%}")

# %%
together = torch.sigmoid(fused(model, *orders[:1] * 3))
mixed = torch.sigmoid(fused(model, *orders))
elsewhere = ((y[orders[1]] | y[orders[2]]) & (1 - y)).bool()
print("mean probability where only the other two cars are:", end=" ")
print(f"same image {together[elsewhere].mean():.3f}, three images {mixed[elsewhere].mean():.3f}")

# %% tags=["picture"] mystnb={"figure": {"name": "fig-ghost", "caption": "What the fusion makes of three cars. Columns 1 to 3: what the sub-networks see. Column 4: the fused probability of the mask where all three see the first car. Column 5: where each sees its own. Outlines: true masks of the cars 1 (blue), 2 (orange) and 3 (green). Rows: the lowest Dice in column 5 and the quartiles above it. Data: studio, recipe parts, seed 0, the small network trained on this page."}, "image": {"alt": "Rows of five pictures: three different cars, a clean probability map of the first car, and a map in which ghosts of the other two cars surround the first."}}
strangers = strangers_at(1, 2)
chosen = np.argsort(strangers)[np.linspace(0, len(test) - 1, 5).astype(int)[:4]]
heat = plt.get_cmap("cividis")
rows = [
    [plots.from_network(x[order[i]]) for order in orders]
    + [heat(m[i, 0].numpy())[..., :3] for m in (together, mixed)]
    for i in chosen
]
figure = plots.picture_grid(rows, [f"Dice {strangers[i]:.2f}" for i in chosen])
for k, ax in enumerate(figure.axes):
    for order, colour in list(zip(orders, plots.PALETTE, strict=False))[: {3: 1, 4: 3}.get(k % 5, 0)]:
        ax.contour(y[order[chosen[k // 5]], 0], [0.5], colors=colour, linewidths=1)
for ax, title in zip(
    figure.axes, ("sees 1", "sees 2", "sees 3", "fused: 1, 1, 1", "fused: 1, 2, 3"), strict=False
):
    ax.set_title(title)
plt.show()

# %% mystnb={"figure": {"name": "fig-mismatch", "caption": "Dice of the fused mask with the first image's true mask, one dot a test image: all sub-networks see that image; one of the three sees another car; two do (means over which). Black: means. Last: the true mask of another car in place of any prediction. Data: studio, recipe parts, seed 0, the small network trained on this page."}, "image": {"alt": "Strip plot with four groups of dots. Dice is high and narrow for the same image, and falls and spreads with every sub-network that sees another car."}}
figure, ax = plt.subplots(figsize=(7.5, 3.2))
sns.stripplot(pd.DataFrame(groups), size=3, alpha=0.6, jitter=0.25, palette=plots.PALETTE[:4], ax=ax)
ax.plot(range(4), [scores.mean() for scores in groups.values()], "_", color="black", ms=34, mew=2)
ax.set(ylabel="Dice")
plt.show()

# %% [markdown]
# The fusion has learned to combine three views *of the same pixels*. It has no means to notice that they belong to
# different cars, and so it lays one over the other: the ghosts in {numref}`fig-ghost`.
#
# ### Could it learn to cope?
#
# That was unfair: the fusion had been trained on matching images. So train two new fusions on the same frozen
# sub-networks, one with synchronised target batches and one where each sub-network draws its own. In the second case one
# has to choose whose mask to ask for; take that of sub-network 1. Theory says what must happen. The images $x_1, x_2, x_3$
# are then drawn independently, and so the best possible prediction of $y_1$ is
#
# $$
# \mathbb E\big[\, y_1 \mid \tilde f_1(x_1), \tilde f_2(x_2), \tilde f_3(x_3) \,\big]
# = \mathbb E\big[\, y_1 \mid \tilde f_1(x_1) \,\big] :
# $$
#
# the others carry *no information* about $y_1$. A fusion that learns this well is no fusion any more.

# %%
from mstl.nn import segmentation_loss

frozen = model.subnetworks.requires_grad_(False)


# %%
def new_fusion(synchronised):
    torch.manual_seed(seed)
    fresh = methods.build("mstl", sources=3, labelled=True, width=width, overrides="adversarial=false")
    fresh.subnetworks = model.subnetworks
    drawn = Batches(
        task, batch_size=1, target_batch_size=4, labelled_share=1.0, seed=seed, synchronised=synchronised
    )

    def loss(step):
        targets = drawn.at(step).targets
        seen = [network(t.x).attended for network, t in zip(model.subnetworks, targets, strict=True)]
        return segmentation_loss(fuse(fresh, seen), targets[0].y)

    fit([*fresh.fusions.parameters(), *fresh.predictor.parameters()], loss, fusion_steps)
    return fresh


# %%
fusions = {"synchronised": new_fusion(True), "each its own": new_fusion(False)}

# %% [markdown]
# Which sub-networks does each fusion listen to? Ask by exchange: hand one sub-network the image of another car and see how
# much Dice that costs. A sub-network that is not listened to costs nothing.

# %%
exchange = {}
for name, fresh in fusions.items():
    whole = scored(fresh, *orders[:1] * 3)
    for j in range(3):
        swapped = scored(fresh, *[orders[k == j] for k in range(3)])
        exchange[name, f"sub-network {j + 1}"] = (whole - swapped).mean()
    print(f"{name}: Dice {whole.mean():.3f} when all see the same image")

# %% mystnb={"figure": {"name": "fig-exchange", "caption": "Loss of mean Dice when one sub-network sees another car, for a fusion trained with synchronised target batches and one trained with separate ones (asked for the first sub-network's mask). Data: studio, recipe parts, seed 0, the small network trained on this page."}, "image": {"alt": "Two groups of three bars. Synchronised, all three sub-networks matter; with separate batches nearly all of the loss belongs to the first."}}
table = pd.Series(exchange).unstack(0)[list(fusions)]
ax = table.T.plot.bar(figsize=(7, 3), rot=0, color=plots.PALETTE[:3], width=0.7)
ax.set(ylabel="loss of Dice")
ax.legend(title="who sees another car", loc="upper left")
ax.grid(axis="x", visible=False)
plt.show()

# %%
share = table / table.sum()
for name in fusions:
    print(f"{name}: sub-network 1 carries {share[name].iloc[0]:.0%} of what the fusion uses")

# %% [markdown]
# So synchronising is not a matter of taste. With separate target batches a fusion can only learn to ignore all sub-networks
# but one, and with them all sources but one.
#
# ## Without it, part 2: heads cannot be compared
#
# The sub-networks' heads $P_j$ do not need each other, and each of them learns just as well from target images of its own:
# the expected gradient is the same. But whoever wants to know *which head is better* on the target, to weight it or to
# stop it, looks at differences of losses, and for those it matters. With $L_j(B)$ the loss of head $j$ on batch $B$,
#
# $$
# \operatorname{Var}(L_i - L_j) = \operatorname{Var} L_i + \operatorname{Var} L_j - 2 \operatorname{Cov}(L_i, L_j) .
# $$
#
# Some batches are hard for every head. If all heads see the same batch, that shared part is in the covariance and cancels.
# If each sees its own, the covariance is zero. It is the old argument for paired comparisons. The networks are frozen now;
# only the batches vary.


# %%
@torch.no_grad()
def head_losses(synchronised):
    drawn = Batches(
        task, batch_size=1, target_batch_size=4, labelled_share=1.0, seed=seed, synchronised=synchronised
    )
    return np.array(
        [[segmentation_loss(network(target.x).logits, target.y).item()
          for network, target in zip(model.subnetworks, batch.targets, strict=True)]
         for batch, _ in zip(drawn, range(draws), strict=False)]
    )  # fmt: skip


# %%
losses = {"synchronised": head_losses(True), "each its own": head_losses(False)}
pairs = [(0, 1), (0, 2), (1, 2)]
gaps = {name: np.stack([of[:, i] - of[:, j] for i, j in pairs]) for name, of in losses.items()}

# %% mystnb={"figure": {"name": "fig-paired", "caption": "Difference of two heads' losses on one target batch, one dot a batch, for the three pairs of heads. Blue: both heads see the same batch. Orange: each sees its own. Black: means. Data: studio, recipe parts, seed 0, the small network trained on this page."}, "image": {"alt": "Strip plot of loss differences for three pairs of heads. The dots of synchronised batches lie close together, those of separate batches are spread much wider around the same means."}}
tidy = pd.concat(
    pd.DataFrame(values.T, columns=[f"$L_{i + 1} - L_{j + 1}$" for i, j in pairs]).melt().assign(batches=name)
    for name, values in gaps.items()
)
figure, ax = plt.subplots(figsize=(8, 3.2))
look = dict(x="variable", y="value", hue="batches", dodge=True, ax=ax)
sns.stripplot(tidy, size=3, alpha=0.7, jitter=0.2, **look)
sns.pointplot(tidy, errorbar=None, linestyle="none", palette=["black", "black"], markers="_", markersize=18,
              legend=False, **(look | {"dodge": 0.4}))  # fmt: skip
ax.set(xlabel="", ylabel="difference of losses")
plt.show()

# %%
spread = {name: values.std(axis=1, ddof=1) for name, values in gaps.items()}
shared = np.mean([np.corrcoef(losses["synchronised"].T)[i, j] for i, j in pairs])
factor = np.mean(spread["each its own"] ** 2) / np.mean(spread["synchronised"] ** 2)
for name, values in spread.items():
    print(f"{name}: standard deviation of the differences {', '.join(f'{v:.3f}' for v in values)}")
print(f"correlation of the heads' losses on the same batch: {shared:.2f}")
print(f"separate batches need {factor:.1f} times as many steps for the same certainty")

# %% [markdown]
# ## Without it, part 3: agreement means something else
#
# Many methods ask the heads to agree on unlabelled target images, by a penalty like
# $\lVert p_i(x) - p_j(x) \rVert^2$ on their predictions. Give them different images, and the same line of code asks for
# something else. For an $x'$ drawn independently of $x$,
#
# $$
# \mathbb E_{x'} \lVert p_i(x) - p_j(x') \rVert^2
# = \lVert p_i(x) - \bar p_j \rVert^2 + \operatorname{Var}(p_j),
# \qquad \bar p_j = \mathbb E_{x'}\, p_j(x') .
# $$
#
# The second term cannot be changed by head $i$. The first pulls every prediction towards the **mean mask** of all target
# images, whatever $x$ shows. Here is what head 1 is pulled to.

# %%
with torch.no_grad():
    first, second = (torch.sigmoid(network(x).logits) for network in list(model.subnetworks)[:2])
mean_mask = second.mean(0)

# %% mystnb={"figure": {"name": "fig-agreement", "caption": "Where a penalty on disagreement pulls the prediction of head 1 (second column). Third: with synchronised batches, to what head 2 says of the same image. Last: with separate ones, to the mean of what head 2 says of all target images. Brightness is the predicted probability. Data: studio, recipe parts, seed 0, the small network trained on this page."}, "image": {"alt": "Rows of four pictures: a car, its predicted mask by head 1, the similar mask of head 2, and the same blurred blob in every row."}}
figure, axes = plt.subplots(2, 4, figsize=(9, 3.2))
for row, i in zip(axes, chosen[[1, 3]], strict=True):
    row[0].imshow(plots.from_network(x[i]))
    for ax, probability in zip(row[1:], (first[i], second[i], mean_mask), strict=True):
        ax.imshow(probability[0], cmap="cividis", vmin=0, vmax=1)
for ax, title in zip(axes[0], ("x", "head 1", "synchronised: head 2", "separate: the mean"), strict=True):
    ax.set_title(title)
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %%
disagreement = {
    "heads, same image": (first - second).square().mean(),
    "heads, different images": (first - second[orders[1]]).square().mean(),
    "true masks, different images": (y - y[orders[1]].float()).square().mean(),
}
pd.Series(disagreement, name="mean squared difference").astype(float).round(4).to_frame()

# %% [markdown]
# The last line is the price of being right: even perfect heads would pay it, and only heads that all say the mean mask
# would not.
#
# ## On classes: masks of one place
#
# None of this is about masks. A class is a mask of one place: where a mask has logits $(1, h, w)$, an image of $K$ classes has
# $(K, 1, 1)$, and everything before them is the same code. Batches, fusion and predictor below are those of this page. Only the
# data change: the target are handwritten digits, twenty of them labelled, the sources digits drawn from three kinds of typeface.

# %%
digits = local_task("digits", "to-handwritten", labels=20, seed=seed)
options = {"sources": 3, "labelled": True, "overrides": "adversarial=false"}
reader = methods.build("mstl", problem=digits.problem, **options)
drawn = Batches(digits, batch_size=8, target_batch_size=8, labelled_share=1.0, seed=seed)
fit(
    reader.parameters(),
    lambda step: sum(reader.losses(drawn.at(step), step / digit_steps).values()),
    digit_steps,
    rate=2e-3,
)


# %%
@torch.no_grad()
def flow(model, images):
    """What sub-network j makes of the j-th images, and the fusion of them all."""
    outputs = [network(x) for network, x in zip(model.subnetworks, images, strict=True)]
    logits = fuse(model, [output.attended for output in outputs])
    return {"image": images[0], "coarsest map": outputs[0].features,
            "fused, last level": outputs[0].attended[-1], "logits": logits}, outputs  # fmt: skip


written = to_float(digits.test.images)
kinds = {"masks": flow(model, [x] * 3)[0], "classes": flow(reader, [written] * 3)[0]}
pd.DataFrame(
    {kind: {what: str(tuple(t.shape[1:])) for what, t in made.items()} for kind, made in kinds.items()}
)

# %% [markdown]
# And what if each sub-network sees another digit? The places of a mask held ghosts of the other cars. One place has no room
# for ghosts beside each other, and so they become probabilities of other classes.

# %%
turned = [torch.arange(len(written)).roll(k * len(written) // 3) for k in range(3)]
same, strange = (flow(reader, [written[o] for o in use])[0]["logits"] for use in (turned[:1] * 3, turned))
truth = [digits.test.labels[o] for o in turned]
called = {"same image": same.flatten(1).argmax(1), "three images": strange.flatten(1).argmax(1)}
assert (called["same image"] == truth[0]).float().mean() > 0.2, "little more than chance, 0.1"
of = {kind: {f"sub-network {j + 1}": float((answer == y).float().mean()) for j, y in enumerate(truth)}
      for kind, answer in called.items()}  # fmt: skip
pd.DataFrame(of).T.rename_axis(columns="called what this one sees").style.format("{:.0%}")

# %% mystnb={"figure": {"name": "fig-one-place", "caption": "One contract. Columns: what the three sub-networks see, their coarsest maps (mean over channels), and the fused probability. First row: a mask, which has a place for every pixel. Second: a digit, whose answer is ten masks of one place. Third: each sub-network sees another digit; of all test images the one whose answer is neither the most nor the least certain. Chance is one tenth. Data: studio, recipe parts, and digits, typefaces to handwritten, seed 0, the small networks trained on this page."}, "image": {"alt": "Three rows of seven pictures. In the first a car three times, three blocky maps, and the mask of the car. In the second a digit three times, three maps of four by four squares, and a column of ten cells of which the digit's own is bright. In the third three other digits, three maps, and a column in which other cells are bright as well."}}
certain = strange.flatten(1).softmax(1).amax(1)
middle = int(certain.argsort()[len(certain) // 2])
three = [written[order[middle]][None] for order in turned]
rows = [(model, [x[chosen[3:4]]] * 3), (reader, three[:1] * 3), (reader, three)]
figure, axes = plt.subplots(3, 7, figsize=(10, 4.6))
for row, (network, seen) in zip(axes, rows, strict=True):
    made, outputs = flow(network, seen)
    for ax, image in zip(row[:3], seen, strict=True):
        ax.imshow(plots.from_network(image[0]))
    for ax, output in zip(row[3:6], outputs, strict=True):
        ax.imshow(output.features[0].mean(0), cmap="cividis")
    logits = made["logits"][0]
    p = logits.sigmoid()[0] if len(logits) == 1 else logits.flatten().softmax(0)[:, None]
    row[6].imshow(p, cmap="cividis", vmin=0, vmax=1, aspect="equal" if len(logits) == 1 else 0.25)
    for ax in row:
        ax.set(xticks=[], yticks=[])
    if len(logits) > 1:
        row[6].set_yticks(range(0, 10, 3), digits.problem.classes[::3], fontsize=9)
        row[6].grid(False)
titles = (*(f"sees {j}" for j in (1, 2, 3)), *(f"map {j}" for j in (1, 2, 3)), "fused")
for ax, title in zip(axes[0], titles, strict=True):
    ax.set_title(title)
plt.show()

# %% [markdown]
# ## Summary
#
# * A step draws each source on its own endless cycle and one target batch for all. That the sub-networks get the same
#   object is asserted, in the code and in the tests.
# * Without it a fusion puts together pieces of different cars, and if it is trained that way it learns to ignore all
#   sub-networks but one.
# * Differences between heads, and penalties on them, lose their meaning with separate batches, or at least their precision.
# * What does *not* break: each sub-network by itself. The gradient of head $j$ needs its own source and some target batch.
#   So a method that never fuses and never compares may draw as it likes.
# * The synchronised batch is a rule to keep, not an invention to claim: several published codes share one target batch.
#
# ## Exercises
#
# 1. Shift the augmentation instead of the image: give the sub-networks the same target images, each with its own crop and
#    flip. Which parts of this page still go wrong?
# 2. A source has 5 images, $b = 8$. What does its cycle do, and what would a zipped loader do?
# 3. `overrides="synchronised=false"` trains MSTL without synchronisation. Why does it then have no fused predictor?
#
# ```{dropdown} Solution to 1
# All of them. Fusion and agreement work pixel by pixel, and a flipped car is another car to them. That is why
# `Batches` shares the *augmented* tensor, not only the rows.
# ```
#
# ```{dropdown} Solution to 2
# The cycle spans two passes within one step, so some images come twice in a batch, and all equally often in the long run. A
# loader that drops its last incomplete batch would give nothing at all, and the zip would be empty.
# ```
#
# ```{dropdown} Solution to 3
# {numref}`fig-exchange` is the reason: it could only learn to ignore sources. The mean of the heads predicts instead.
# ```
#
# **Next:** {doc}`05_training`
