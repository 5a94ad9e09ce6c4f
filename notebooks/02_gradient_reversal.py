# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An extractor that hides where an image came from
#
# A network that has learnt from sources carries their habits with it: their light, their backdrop, their blur. The idea of
# adversarial transfer is to make the features *unable to tell* which domain an image is from. One small layer does it,
# the **gradient reversal**. This page lets you watch it in two dimensions, and then on a real sub-network.
#
# | | |
# |---|---|
# | You will see | the game and its one trick; two domains that merge in a plane while two classes stay apart; four games that look alike and are not; a strong and a weak discriminator on images; what hiding costs where classes have other shares |
# | Run time | one to two minutes on one CPU core |
# | Device | CPU |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
from dataclasses import replace
from functools import reduce

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from torch import nn

from mstl.nn import domain_loss, ramp, reverse_gradient
from mstl.report import plots, toys, widgets

plots.style()

# %% tags=["parameters"] nbmake={"mock": {"steps": 30, "image_steps": 4, "digit_steps": 100, "log_every": 2}}
steps: int = 300  # of each game in the plane
image_steps: int = 100  # of each sub-network on images
digit_steps: int = 200  # of each sub-network on digits
log_every: int = 10  # steps between two measurements on images
seed: int = 0  # of weights, points and batches

# %% [markdown]
# ## The game
#
# Three players share one network. The **extractor** $F$ turns an image $x$ into features $f = F(x)$. The **head** $P$ reads
# them and solves the task. The **discriminator** $D$ reads them, too, and guesses the domain: source or target? Its loss is
# a plain cross-entropy, half from each domain,
#
# $$
# \mathcal L_{D} = -\tfrac12\, \mathbb E_{x \sim S} \log D(F(x)) - \tfrac12\, \mathbb E_{x \sim T} \log\big(1 - D(F(x))\big) .
# $$
#
# It is 0 for a discriminator that knows, and $\ln 2$ for one that can only guess. $D$ wants it small, $F$ wants it large:
#
# $$
# \min_{F, P}\ \max_{D}\ \ \mathcal L_{task}(F, P) - \lambda\, \mathcal L_{D}(F, D) .
# $$ (eq-game)
#
# The head keeps the extractor honest. Without it, $F = 0$ would hide every domain, and everything else.
#
# ## One trick
#
# Two players with opposite wishes seem to need two losses and two turns. {cite:t}`ganin2015` found a way to do with one
# of each. Put a layer $\mathcal R_\lambda$ between extractor and discriminator which does nothing on the way forward and
# turns the gradient on the way back:
#
# $$
# \mathcal R_\lambda(f) = f, \qquad \frac{\partial \mathcal R_\lambda}{\partial f} = -\lambda\, I .
# $$
#
# Now *add* the domain loss, $\mathcal L_{task} + \mathcal L_D$, and descend. What lies behind the layer gets the true gradient and
# learns to tell the domains apart. What lies before it gets the opposite one and learns to hide them. Three lines show both:

# %%
x = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64, requires_grad=True)
y = reverse_gradient(x, strength=0.3)
(2 * y).sum().backward()
print(f"forwards  {x.tolist()} → {y.tolist()}\nbackwards 2 for each → {x.grad.tolist()}")

# %% [markdown]
# There is no second minus sign. A minus before the loss *and* a reversal make $D$ learn to be wrong, and nobody plays
# ({ref}`which-sign`).
#
# ### When to start
#
# A fresh discriminator knows nothing. Its gradient is noise, and so λ grows with the progress $p \in [0, 1]$ of the training,
#
# $$
# \lambda(p) = u \left( \frac{2}{1 + e^{-g p}} - 1 \right),
# $$
#
# up to the **strength** $u$. The **gain** $g$ says how early. Move the slider: gain 1 never arrives, gain 50 is a switch.


# %%
def ramp_picture(gain):
    progress = np.linspace(0, 1, 101)
    figure, ax = plt.subplots(figsize=(6.5, 2.8))
    for other in gains:
        ax.plot(progress, [ramp(p, other) for p in progress], color="#dddddd")
    ax.plot(progress, [ramp(p, gain) for p in progress], lw=3)
    ax.set(xlabel="progress p", ylabel="λ(p) / u", ylim=(0, 1.03), title=f"ends at {ramp(1.0, gain):.3f}")
    return widgets.png(figure)


# %%
gains = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
labels = [f"gain {gain:.0f}" + (" (default)" if gain == 10 else "") for gain in gains]
widgets.frames([ramp_picture(gain) for gain in gains], labels, "gain")

# %% [markdown]
# ## A game that one can see
#
# A point $x = (u, v)$ belongs to class $c = \pm 1$ and to a domain. Its first coordinate is *useful*: it follows the class, in
# both domains. Its second is a *flag*: positive in the source, negative in the target. And there is a trap. In the source,
# and only there, the flag leans on the class as well:
#
# $$
# u = c + 0.4\,\varepsilon, \qquad
# v = \begin{cases} +1 + 0.7\,c + 0.6\,\varepsilon' & \text{source} \\ -1 + 0.6\,\varepsilon' & \text{target.} \end{cases}
# $$
#
# A head that learns from the source will trust the flag. On the target it will be sorry. Only the source has labels.

# %% mystnb={"figure": {"name": "fig-toy-points", "caption": "The two domains before any training, with two boundaries that a head could learn from the source. The dotted one leans on the flag: it fits the source, and cuts off much of the target's class 1. The dashed one uses the useful coordinate only. Drawn points, seed 0."}, "image": {"alt": "Four clouds of points. Source points lie above target points, class 1 lies to the right of class 0, and within the source class 1 lies higher. A tilted line separates the source's classes but cuts through the target's; a vertical line separates both."}}
(x_s, y_s), (x_t, y_t) = toys.ToyGame(seed=seed).draw(200)
ax = plt.subplots(figsize=(6, 4))[1]
toys.scatter(ax, x_s, y_s, toys.SOURCE_COLOUR)
toys.scatter(ax, x_t, y_t, toys.TARGET_COLOUR)
ax.plot([-1.6, 1.8], [2.6, -0.5], color="#333333", ls=":")
ax.axvline(0, color="#333333", ls="--")
ax.set(xlabel="u, the useful coordinate", ylabel="v, the flag")
toys.plane_legend(ax, boundary=False)
plt.show()

# %% [markdown]
# The extractor is as small as it can be: a matrix $W$ of two by two, an offset, and a little noise that stands for the
# limited precision of any feature, $F(x) = W x + b + 0.5\,\varepsilon''$. It starts as the identity. So the features form a plane
# that we can draw, and the *second column of $W$* says how much of the flag survives. The discriminator is a network with
# two hidden layers. One step of the game, in full:


# %%
def step(game, strength):
    (x_s, y_s), (x_t, _) = game.draw()
    f_s, f_t = game.features(x_s), game.features(x_t)
    task = nn.functional.binary_cross_entropy_with_logits(game.head(f_s), y_s)
    hidden_s, hidden_t = reverse_gradient(f_s, strength), reverse_gradient(f_t, strength)
    game.step(task + domain_loss(game.discriminator(hidden_s), game.discriminator(hidden_t)))
    game.sharpen(f_s, f_t)


# %% [markdown]
# The last line gives the discriminator two extra updates on the same features. An opponent has to be *ahead*, as we shall
# see. Training is a loop around the step, which keeps a picture and the measurements every now and then.


# %%
def play(strength, **game_options):
    game, snapshots, measured = toys.ToyGame(seed=seed, **game_options), [], []
    for i in range(steps + 1):
        λ = strength * ramp(i / (steps + 1))
        if i % (steps // 10) == 0:
            snapshots.append(game.snapshot())
            measured.append({"step": i, **game.measure(λ)})
        step(game, λ)
    return snapshots, pd.DataFrame(measured).set_index("step")


# %%
alone, measured_alone = play(strength=0.0)
hidden, measured_hidden = play(strength=1.0)

# %% [markdown]
# With strength 0 the discriminator still learns, but the extractor does not hear of it. It is a spectator.

# %% tags=["picture"] mystnb={"figure": {"name": "fig-toy-plane", "caption": "The feature plane. Colour of a point: its domain; shape: its class. Colour of the ground: what the discriminator says there, grey where it does not know. Dashed: the class boundary. Left: at the start. Middle: trained with strength 0, the domains lie apart and the boundary cuts the target's class 1. Right: trained with strength 1, the domains overlap and the classes do not. Seed 0."}, "image": {"alt": "Three square panels of points. In the middle one the ground is blue above and amber below, and the blue and amber points lie on their own sides. In the right one blue and amber points are mixed within two well separated groups, one for each class, on grey ground."}}
figure, axes = plt.subplots(1, 3, figsize=(9.5, 4), sharey=True)
titles = ("start", "strength 0", "strength 1")
for ax, snapshot, title in zip(axes, (alone[0], alone[-1], hidden[-1]), titles, strict=True):
    toys.draw_plane(snapshot, ax).set(title=title, ylabel="")
axes[0].set_ylabel("feature 2")
toys.plane_legend(axes[1])
plt.show()

# %% [markdown]
# What the picture shows can be read off the matrix. Trained alone, the extractor keeps the flag, since the source's classes
# lean on it. Against the adversary the flag's column goes to zero and the useful column stays:

# %%
columns = ["useful coordinate u", "flag v"]
for title, snapshot in zip(titles, (alone[0], alone[-1], hidden[-1]), strict=True):
    size = np.linalg.norm(snapshot.matrix, axis=0)
    print(f"{title:10}", *(f"   {name}: {value:.2f}" for name, value in zip(columns, size, strict=True)))

# %% [markdown]
# And it pays. The head has seen labels of the source only, and this is how often it is right:

# %%
both = {"strength 0": measured_alone.iloc[-1], "strength 1": measured_hidden.iloc[-1]}
pd.DataFrame(both)[["strength 0", "strength 1"]].T.round(2)

# %% [markdown]
# The **probe** in that table is a *fresh* classifier, trained on the finished features. It asks what the discriminator can no longer
# be asked in good faith: *could* somebody tell the domains apart? One half means that nobody can.
#
# Watch it happen. In each frame, strength 0 is left and strength 1 is right.


# %%
def frame(i):
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.7), sharey=True)
    for ax, snapshots, title in zip(axes, (alone, hidden), titles[1:], strict=True):
        toys.draw_plane(snapshots[i], ax).set(title=title)
    return widgets.png(figure, dpi=70)


# %%
widgets.frames(
    [frame(i) for i in range(len(alone))], [f"step {i}" for i in measured_alone.index], "training step"
)

# %% mystnb={"figure": {"name": "fig-toy-curves", "caption": "Accuracy of the discriminator and of the head on the target, over training, at strength 0 and 1. Fresh points for every measurement, seed 0."}, "image": {"alt": "Two panels of two curves. Left, the discriminator's accuracy stays high at strength 0 and falls to one half at strength 1. Right, target accuracy stays low at strength 0 and rises to almost one at strength 1."}}
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for ax, name in zip(axes, ("discriminator accuracy", "target classes right"), strict=True):
    ax.plot(measured_alone[name], color=plots.PALETTE[7], label="strength 0")
    ax.plot(measured_hidden[name], color=plots.PALETTE[0], label="strength 1")
    ax.axhline(0.5, color="#bbbbbb", lw=1)
    ax.set(title=name, xlabel="step", ylim=(0.2, 1.03))
axes[1].legend(loc="lower right")
plt.show()

# %% [markdown]
# ## Games that look alike
#
# Now spoil it, in three ways that happen in real training. In each of them the loop runs, nothing crashes, and the
# extractor learns nothing from its adversary.
#
# * **Weak.** A discriminator with one hidden unit and a slow optimiser.
# * **Saturated.** The domains lie so far apart that $D$ is *certain* at once. A certain sigmoid is flat, so
#   $\partial \mathcal L_D / \partial f \to 0$, and there is nothing left to reverse.
# * **Nothing can be lost.** Without noise in the plane. The best discriminator for given features has the loss
#   $\ln 2 - \mathrm{JS}(p_S, p_T)$, with the Jensen–Shannon divergence of the features' distributions. No invertible map changes
#   that divergence. So a matrix can turn, stretch and shear the plane for ever, and a good $D$ follows. To hide a domain
#   an extractor must be able to *lose* information.

# %%
games = {
    "played": play(1.0),
    "weak": play(1.0, hidden=1, rate=1e-4, updates=0),
    "saturated": play(1.0, gap=6.0),
    "no loss possible": play(1.0, noise=0.0),
}

# %% mystnb={"figure": {"name": "fig-toy-failures", "caption": "The feature plane at the end of four games at strength 1. Only in the first one do the domains overlap. The weak discriminator knows nothing (grey ground) although the domains lie apart; the saturated one is certain everywhere; without noise the plane is only sheared. Seed 0."}, "image": {"alt": "Four square panels of points. In the first, blue and amber are mixed. In the second, blue and amber lie apart on grey ground. In the third they lie far apart on saturated ground. In the fourth they lie apart on two-coloured ground."}}
figure, axes = plt.subplots(1, 4, figsize=(11, 3.6))
for ax, (name, (snapshots, _)) in zip(axes, games.items(), strict=True):
    toys.draw_plane(snapshots[-1], ax).set(title=name, xlabel="", ylabel="", xticks=[], yticks=[])
toys.plane_legend(axes[1])
plt.show()

# %% [markdown]
# How could you notice without a picture? Not by the loss, and not by the accuracy of the discriminator alone. It takes
# three numbers: that accuracy, the probe, and the **gradient ratio**
#
# $$
# r = \frac{\lambda\, \lVert \partial \mathcal L_D / \partial f \rVert}{\lVert \partial \mathcal L_{task} / \partial f \rVert} ,
# $$
#
# the size of the adversary's pull on the features against that of the task. All values are of the last measurement, but
# for the ratio, of which we take the median over the training since it moves about. (In the plane the head sees nothing but
# $f$. In a U-Net, below, skip connections go round $f$, and the ratio is taken over the extractor's weights instead.)

# %%
rows = {name: measured.iloc[-1].copy() for name, (_, measured) in games.items()}
for name, (_, measured) in games.items():
    rows[name]["gradient ratio"] = measured["gradient ratio"].median()
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# | Accuracy of $D$ | Gradient ratio | Probe | It means |
# |---|---|---|---|
# | near ½ | moderate | near ½ | the game is played, and $F$ wins |
# | near ½ | near 0 | **high** | $D$ is weak: it only *looks* fooled |
# | near 1 | near 0 | near 1 | $D$ is saturated: certain, and silent |
# | high | moderate or large | high | $F$ runs, but cannot lose what tells the domains apart |
#
# The first two rows have the same accuracy. That is why {doc}`06_results` shows the probe of every run.
#
# ## On images
#
# Now one sub-network of MSTL, a small U-Net, and one pair of domains: the source shows cars from the front, in blue night
# light, with masks; the target shows them at 45° in the studio, *without a single mask*. This is the recipe
# `views-styled` ({doc}`01_local_data`): domains that differ in appearance, which is what an adversary can hide. Where
# they differ in scale and content, as in `parts`, hiding the difference may do harm ({doc}`../book/questions`).

# %% tags=["remove-stderr"]
from mstl.data import local_task
from mstl.data.batches import Batches
from mstl.measures.probe import probe_accuracy
from mstl.methods.mstl import MSTL, Hyperparameters
from mstl.problems import Segmentation
from mstl.run.evaluate import predict_domain

task = local_task("studio", "views-styled", sources=1, labels=0, seed=seed, size=(32, 48))

# %% mystnb={"figure": {"name": "fig-pair", "caption": "The pair of domains: masks (amber) of the source are known to the network, those of the target are not and are left away here. Data: studio, recipe views-styled, seed 0."}, "image": {"alt": "Two rows of small pictures: cars from the front in dark blue light with amber masks, and cars at an angle in a bright studio."}}
rng = np.random.default_rng(seed)
source, target = task.sources[0], task.unlabelled
rows = [
    [plots.overlay(domain.images[i], domain.masks[i], amber) for i in rng.choice(len(domain), 8)]
    for domain, amber in ((source, 0.5), (target, 0.0))
]
plots.picture_grid(rows, ["source", "target"])
plt.show()

# %% [markdown]
# The discriminator judges the coarsest features of the U-Net *at every location*. Two kinds compete:
#
# * **strong**, the default of this book: three layers, standardised input, and two extra updates a step on a bank of
#   recent features;
# * **weak**, as one often finds it: two layers, no standardisation, no extra updates.


# %%
def sub_network(strength, strong=True, problem=None):
    torch.manual_seed(seed)
    size = {"width": 8, "depth": 3, "hidden": "128-32", "attention": "none"}
    hyper = Hyperparameters(**size, strength=strength, updates=2 * strong)
    method = MSTL(hyper, sources=1, labelled=False, problem=problem)
    if not strong:
        channels = method.subnetworks.channels[-1]
        method.adversary.discriminators[0] = nn.Sequential(
            nn.Conv2d(channels, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 1)
        )
    return method


# %% [markdown]
# Method and loop are separate in this book: a method has losses, a loop has optimisers. The loop of {doc}`05_training`
# does much more; its core is this.


# %%
def descend(losses, *optimisers):
    for optimiser in optimisers:
        optimiser.zero_grad()
    sum(losses.values()).backward()
    for optimiser in optimisers:
        optimiser.step()


# %%
def train(method, batches, steps, rate=4e-3):
    adversary = method.discriminator_parameters()
    network = torch.optim.Adam(method.subnetworks.parameters(), lr=2e-3)
    opponent = torch.optim.Adam(adversary, lr=rate, betas=(0.5, 0.99))
    log = []
    for i in range(steps):
        batch, progress = next(batches), i / steps
        descend(method.train().losses(batch, progress), network, opponent)
        for _ in range(method.discriminator_updates):
            descend(method.discriminator_losses(batch, progress), opponent)
        if (i + 1) % log_every == 0:
            observed = method.eval().observe(batch, progress)
            log.append({"step": i + 1, **{name: float(value) for name, value in observed.items()}})
    return pd.DataFrame(log).set_index("step")


# %%
methods = {
    "no adversary": sub_network(strength=0.0),
    "weak, u = 0.3": sub_network(strength=0.3, strong=False),
    "strong, u = 0.03": sub_network(strength=0.03),
    "strong, u = 0.3": sub_network(strength=0.3),
}
logs = {name: train(method, Batches(task, seed=seed), image_steps) for name, method in methods.items()}

# %% mystnb={"figure": {"name": "fig-pair-curves", "caption": "Accuracy of the discriminator and gradient ratio over training, for four adversaries of one sub-network. The band marks the ratios 0.1 to 0.2 that we aim at. Data: studio, recipe views-styled with one source, no target masks, seed 0."}, "image": {"alt": "Two panels of four curves over the training steps: accuracy of the discriminator, and the gradient ratio on a logarithmic axis."}}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
for (name, log), colour in zip(logs.items(), (plots.PALETTE[i] for i in (7, 1, 0, 3)), strict=True):
    axes[0].plot(log["discriminator_accuracy"], color=colour, label=name)
    if (log["gradient_ratio"] > 0).any():
        axes[1].plot(log["gradient_ratio"], color=colour)
axes[0].axhline(0.5, color="#bbbbbb", lw=1)
axes[0].set(xlabel="step", ylabel="accuracy of the discriminator", ylim=(0, 1.03))
axes[1].axhspan(0.1, 0.2, color="#e6e6e6")
axes[1].set(xlabel="step", ylabel="gradient ratio", yscale="log")
figure.legend(loc="outside lower center", ncols=4)
plt.show()

# %% [markdown]
# And the probe, a fresh logistic regression on the features of source and test images, cars apart; mean of five draws of
# images and places. Beside it the Dice coefficient on the target. Accuracy and ratio are means over the second half of the training.


# %%
def row(name, method):
    log, features = logs[name], lambda images, domain: method.eval().source_features(images, 0, domain)
    probes = [probe_accuracy(features, source, task.test, seed=draw) for draw in range(5)]
    dice = (
        Segmentation()
        .table(predict_domain(method.eval().predict, task.test, "cpu"), task.test)["dice"]
        .mean()
    )
    return {**log[len(log) // 2 :].mean(), "probe": np.mean(probes), "target Dice": dice}


# %%
table = pd.DataFrame({name: row(name, method) for name, method in methods.items()}).T
table.round(2)

# %%
for name in list(methods)[1:]:
    looks = "looks fooled" if table.loc[name, "discriminator_accuracy"] < 0.6 else "does not look fooled"
    change = table.loc[name, "probe"] - table.loc["no adversary", "probe"]
    print(f"{name:17} its discriminator {looks}; the probe moved by {change:+.2f}")

# %% [markdown]
# How to read this:
#
# * **No adversary** says what there was to hide. Its discriminator is a spectator, and its ratio is zero by construction.
# * The **weak** one may show an accuracy near one half and a ratio close to the band: the very picture of success. Judge it
#   by the line above. Where its probe did not fall, the extractor has only learnt to dodge *this* opponent, and running
#   away from a slow opponent can even drive the domains further apart.
# * The **strong** one is harder to fool, and so has more to say. Mind its ratio. It is taken over the extractor's weights; at
#   the coarsest features alone it would be far larger, since skip connections carry most of the task's gradient past them.
#   The ratio, not $u$, is the quantity to compare between networks.
# * A low probe is no free gift: a strength that drowns the task can forget the car along with the domain. Compare the Dice, but with
#   one seed and so few steps no ranking follows from it. That is the business of {doc}`06_results`.
#
# ## On classes
#
# Nothing in the game asks for masks. Let a network say which of ten digits an image shows: the features are then one vector
# an image, a map of one place, and the discriminator reads that. The source are digits drawn from typefaces, with
# labels, the target are handwritten ones, without. Chance is right once in ten times.
#
# Classes show what masks hide: what a *won* game does to shares. If $D$ is beaten for good, the features have one distribution in
# both domains, and whatever head reads them, so have its answers,
#
# $$
# F(x_S) \sim F(x_T) \quad \Rightarrow \quad \mathbb P\big(P(F(x_T)) = k\big) = \mathbb P\big(P(F(x_S)) = k\big) \quad \text{for every class } k .
# $$ (eq-shares)
#
# Half of the source's digits are 5 to 9. Now let the target hold 0 to 4 *only*. A head that is right on the source must
# then call half of the target's images 5 to 9, and be wrong each time: the better the domain is hidden, the worse
# {cite:p}`zhao2019invariant`. The same sub-network as above, a small MLP instead of the U-Net, against both targets:

# %%
from torch.nn.functional import avg_pool2d

from mstl.data import Parts, class_task


def vectors(domain, classes=10):
    """Images of 14 × 14 pixels as vectors of 196, of the first classes."""
    domain = domain.select(np.flatnonzero(domain.labels.numpy() < classes))
    grey = avg_pool2d(domain.images[:, :1].float(), 2) / 64 - 2
    return replace(domain, images=grey.flatten(1)[..., None, None])


digits = local_task("digits", "to-handwritten", seed=seed, labels=0)
drawn = reduce(lambda one, other: one.join(other, "drawn"), digits.sources)


# %%


def digit_task(classes):
    target = Parts(vectors(digits.unlabelled, classes), vectors(digits.test))
    return class_task({"drawn": vectors(drawn)}, target, seed=seed)


# %%
games = {"no adversary": (0.0, 10), "target: 0 to 9": (0.5, 10), "target: 0 to 4": (0.5, 5)}
answers = {}

# %%
for name, (strength, classes) in games.items():
    played = digit_task(classes)
    method = sub_network(strength, problem=played.problem)
    train(method, Batches(played, batch_size=24, target_batch_size=24, seed=seed), digit_steps)
    answers[name] = played.problem.table(
        predict_domain(method.eval().predict, played.test, "cpu"), played.test
    )

# %%
assert answers["no adversary"]["accuracy"].mean() > 0.3, "this network knows little more than chance, 0.1"

# %% mystnb={"figure": {"name": "fig-shares", "caption": "What three networks call the handwritten digits 0 to 4 of the test (rows: what they are, columns: what they are called, in percent of a row). Left of the line: digits that occur in these images. In the last game the target held 0 to 4 only, and the source all ten. Chance is 10 % right. Data: digits, drawn to handwritten, seed 0."}, "image": {"alt": "Three heat maps of five rows and ten columns. In the first two most of the weight lies on the diagonal in the left half; in the last one more of it has moved into the right half, to the digits 5 to 9."}}
figure, axes = plt.subplots(1, 3, figsize=(10.5, 2.6), sharey=True)
for ax, (name, table) in zip(axes, answers.items(), strict=True):
    few = table[table["class"] < "5"]
    called = pd.crosstab(few["class"], few["predicted"], normalize="index")
    called = 100 * called.reindex(columns=sorted(table["class"].unique()), fill_value=0)
    sns.heatmap(called, annot=True, fmt=".0f", cmap="cividis", vmin=0, vmax=100, ax=ax, cbar=False)
    ax.axvline(5, color="white", lw=3)
    ax.set(
        title=f"{name}\n{few['accuracy'].mean():.0%} right, {(few['predicted'] > '4').mean():.0%} called 5 to 9"
    )
    ax.set(xlabel="called", ylabel="")
    ax.tick_params(axis="y", rotation=0)
axes[0].set_ylabel("is")
plt.show()

# %% [markdown]
# Against a target of the same shares the game changes which digits are taken for which. Against a target of other shares more
# answers leave the diagonal, and some cross the line, beyond which none can be right; a won game would send half of them
# there. How far it gets in so few steps depends on the seed. A mask has the same trap, less visible: its two classes
# are car and background, and their shares differ wherever cars fill more or less of the image. That is why MSTL-plus closes
# its adversary where foreground shares differ ({doc}`../book/paper`).
#
# ## Summary
#
# * The reversal layer turns one added loss into a game: what is behind it learns to tell domains apart, what is before it to hide them.
# * λ grows with a ramp, and scales only what the extractor hears.
# * The game is played if the discriminator is ahead, uncertain enough to have a gradient, and if the extractor can lose information.
# * The accuracy of the discriminator cannot tell victory from weakness. The probe can, and the gradient ratio says why.
# * Equal features give equal shares of answers. Where the shares of the classes differ, hiding the domain costs accuracy.
#
# ## Exercises
#
# 1. In the plane, slow the opponent down: `play(1.0, rate=3e-4, updates=0)`, then the same with `updates=5`. Compare the last
#    accuracies of the discriminator, and then the probes.
# 2. Take the trap away: set `toys.ToyGame.LEAN = 0`. Does the adversary still help the target? Does it still merge the domains?
# 3. In the real network, set the strength so that the ratio stays within the band. What does the probe say?
#
# ```{dropdown} Solution to 1
# Both accuracies end near one half. The probe is the one that differs: without extra updates it mostly finds a little more of the
# flag (try several seeds), as the extractor need only hide what its slow opponent has found. The head on the target hardly
# notices. In the plane even a slow opponent is good enough; capacity mattered more, as the *weak* game showed.
# ```
#
# ```{dropdown} Solution to 2
# The domains still merge: the adversary hides what tells domains apart, useful or not. The target gains little, since a
# head without the trap never trusted the flag. Hiding is free of charge only if what is hidden was not needed.
# ```
#
# ```{dropdown} Solution to 3
# Change `strength` in `sub_network` between 0.02 and 0.2 and look at the curve. The ratio is a measure to steer by, the probe a
# measure to judge by. If the probe stays high within the band, the discriminator needs more capacity or more updates, not a larger λ.
# ```
#
# **Next:** {doc}`03_attention`
