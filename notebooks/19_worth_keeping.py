# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which features are worth keeping
#
# So far every network began with random numbers. Most that are used today begin with what a million photographs taught, and learn
# on from the few labelled images at hand: **fine-tuning**. It can forget on the way. Five methods hold the network to where it
# began: its weights (L2-SP {cite:p}`li2018l2sp`), its maps (fea-map), the channels of its maps that the target needs (DELTA {cite:p}`li2019delta`), and, by an attention that
# learns along, places first and channels then (**AFA** {cite:p}`xie2021afa`). This page trains two of them, looks at the attention, and
# shows why it is paid for looking away.
#
# | | |
# |---|---|
# | You will see | a network that knows photographs learn rendered cars from 30 labels, where its attention lies, a minimum that no one wants, its entropy while it learns, and three data sets with intervals |
# | Run time | about two minutes for two short trainings; the tables come from `make sweep SWEEP=starting` |
# | Device | CPU or GPU |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl[weights] @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from mstl.report import plots, results
from mstl.report.family.bars import load
from mstl.report.grid import comparison, text
from mstl.report.starting import bars, figures
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

plots.style()

# %% tags=["parameters"] nbmake={"mock": {"steps": 6, "encoder": "resnet18", "weights": "none"}}
data: str = "studio-styles"  # of the networks that are trained here
recipe: str = "whole-styled"  # its sources are not used: what they could tell lies in the weights
encoder: str = "tf_efficientnet_lite0"  # any network of timm's with stages
weights: str = "imagenet"  # what it starts from; "none" begins with random numbers
labels: int = 30  # five a class
steps: int = 60  # of each training; the sweep has 100
seed: int = 0  # of splits, weights and batches
folder: str = "../results/starting"  # tables of the sweep

# %% [markdown]
# ## Thirty labels
#
# Cars of six body styles, five labelled images of each. The network has seen ImageNet's photographs {cite:p}`deng2009imagenet`, never a
# rendered car. L2 is plain fine-tuning; AFA adds
#
# $$
# \Omega_{sp} = \sum_l \frac1{2B} \sum_{b,p} \big\| n\, a^l_{bp} (T^l_{b,:,p} - S^l_{b,:,p}) \big\|^2
# $$ (eq-keeping-places)
#
# in its first half: $T^l$ are the maps of the network that learns, $S^l$ those of the one it began as, of the same image; $a^l$ are weights
# of the $n$ places, read off $S^l$ by a small network and summing to 1. In its second half channels are weighed in place of places,
# and the network it is held to is that of the first half. {py:mod}`mstl.methods.afa` has both, {py:mod}`mstl.methods.delta`,
# {py:mod}`mstl.methods.feature_map`, {py:mod}`mstl.methods.l2_sp` and {py:mod}`mstl.methods.fine_tuning` the others.

# %%
start = f"encoder={encoder} weights={weights}"
common = {"data": data, "recipe": recipe, "labels": labels, "seed": seed, "profile": "photos", "steps": steps}
task = TrainConfig(**common).task()
moments = sorted(set(np.linspace(1, steps, 13).round().astype(int)))

# %%
trained, seen = {}, {"places": [], "channels": []}
HELD = {"fine_tuning": "weight=1e-3", "afa": "weight=1e-5 weight_channels=1e-5"}
for method, held in HELD.items():
    trained[method] = trainer = Trainer(
        TrainConfig(method=method, overrides=f"{start} {held}", **common), task
    )
    for step in range(1, steps + 1):
        trainer.update()
        if method == "afa" and step in moments:
            observed = trainer.method.observe(trainer.batches.at(step), step / steps)
            seen["places"].append(observed["place_entropy"].item())
            seen["channels"].append(observed["channel_entropy"].item())

# %%
scores = {name: figures.accuracy(trainer, task.test) for name, trainer in trained.items()}
pd.Series(scores, name="accuracy (%)").rename(plots.label).to_frame().style.format("{:.1f}")

# %% [markdown]
# One seed; chance is one in six. From random numbers the same network had 36.2 after as many steps: see the intervals below.
#
# ## Where attention lies

# %% mystnb={"figure": {"name": "fig-keeping-attention", "caption": "Test images and the attention over places of AFA at the four stages that are held, finest first: n·a, 1 where all places count alike. Data: studio-styles, seed 0."}, "image": {"alt": "Three rendered cars, each with four maps that get coarser; most places have the same colour, some are darker or brighter."}}
maps = figures.attention_maps(trained["afa"].method, task.test.images[:3])
figures.attention_over(task.test.images[:3], maps, [f"{m.shape[1]}×{m.shape[2]}" for m in maps])
plt.show()

# %% [markdown]
# ## Paid for looking away
#
# The attention learns from the loss that it weighs. So it need not find out what is worth keeping: it lowers the loss by giving
# little weight to places that *moved*. Over all attentions that sum to 1, {eq}`eq-keeping-places` is least at
#
# $$
# a_p \propto \frac{1}{\| T_p - S_p \|^2},
# $$ (eq-keeping-away)
#
# which the tests find again by descent. What moved is let go; what stayed anyway is held. Two places, of which one moved
# twice as far as the other:

# %% mystnb={"figure": {"name": "fig-keeping-away", "caption": "Ω of two places, by the weight of the one that moved less; squared distances 1 and 4. Dotted: both count alike. Dot: the minimum."}, "image": {"alt": "A parabola; its lowest point lies right of the dotted line, at 0.8."}}
figures.looking_away()
plt.show()

# %% [markdown]
# How far attention goes there can be read off its entropy, which the log of every run of AFA has (`place_entropy`,
# `channel_entropy`): 1 says that all count alike, and then AFA is a distance of maps and nothing more.

# %% mystnb={"figure": {"name": "fig-keeping-entropy", "caption": "Entropy of both attentions while AFA learns, as a share of its maximum, means over stages. Right of the dotted line channels are weighed. Data: studio-styles, seed 0."}, "image": {"alt": "Two lines over training; the one of places stays near 1."}}
figures.entropies(moments, seen, steps / 2)
plt.show()

# %% [markdown]
# ## With intervals
#
# Photographs of ten objects (Office-Caltech10, from `caltech` to `amazon`) and rendered cars from ImageNet's weights; handwritten digits from a
# LeNet that learned typefaces. 5, 10 and 20 labels a class. `weight` of every method was chosen among three values on validation
# images of two other seeds, at the fewest labels; steps are equal.

# %%
rows, spent = (load(folder, table) for table in ("cars", "runs"))
Markdown(
    "\n\n".join(text.describe(comparison.load(folder, name, "runs")) for name in results.available(folder))
)

# %% mystnb={"figure": {"name": "fig-keeping-labels", "caption": "Accuracy on test images by the number of labelled ones: means over seeds with 95 % bootstrap intervals over seeds and images. Dotted: AFA whose attention is uniform. From `make sweep SWEEP=starting`."}, "image": {"alt": "A panel for each data set. The line of training from scratch lies far below the others, which lie close together."}}
figures.by_labels(comparison.summarise(rows), bars.names(rows))
plt.show()

# %% [markdown]
# The claims, fixed before the sweep ran: AFA is a point above L2 at the fewest labels (S1); AFA ≥ DELTA ≥ L2-SP ≥ L2 ≥ scratch (S2);
# attention that learns is better than one that cannot (S3).

# %%
from mstl.report.grid.bars import bar_lines

judged = bars.chain_bars(rows, spent)
Markdown(bar_lines(judged))

# %% tags=["full-width"]
text.for_readers(judged)

# %% [markdown]
# ## Exercises
#
# 1. AFA's weight of a place counts squared, that of a channel once. What does that do to the minimum {eq}`eq-keeping-away`?
# 2. DELTA's distance is a sum over the batch and a mean over places, AFA's a mean over the batch and a sum over places. By what factor do
#    they differ when all weights are equal, and what follows for a comparison at one `weight`?
#
# ```{dropdown} Solution to 1
# A loss linear in its weights has its minimum in a corner: all weight on the channel that moved least. Squared, it is inside: every
# place keeps some, in inverse proportion to how far it moved.
# ```
#
# ```{dropdown} Solution to 2
# By $B / (hw)$: DELTA's is AFA's, times the batch, over the places. At one `weight` AFA would hold fine maps thousands of times more
# firmly. Each needs a range of its own, and the same number of tries.
# ```
#
# **Next:** {doc}`../book/howto/trained-networks`
