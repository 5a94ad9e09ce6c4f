# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train one run
#
# This notebook is one run of the default comparison. papermill runs it once for each method, number of labels and
# seed; {doc}`06_results` puts the runs side by side. You can run it by hand just as well: change one line in the
# parameters cell and run all cells below. (The large comparison of {doc}`07_comparison` calls the same training loop
# without a notebook, which saves half of the time.)
#
# | | |
# |---|---|
# | You will see | what a run consists of, how its losses fall, whether the adversary plays, what the network predicts |
# | Run time | a few minutes on two CPU cores at `profile="quick"`; the run's own figure is printed below |
# | Device | chosen by itself: a GPU if there is one, else the CPU |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl[weights] @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
import json

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

from mstl import TrainConfig
from mstl.report import plots, results, scores
from mstl.run.config import with_start
from mstl.run.train import train as train_run
from mstl.system.project import from_notebooks

plots.style()

# %% [markdown]
# ## What to train
#
# The names are those of `python -m mstl train`. Whatever you leave at `None` is filled in by the profile. `encoder` and `weights`
# let any method start from a trained network ({doc}`../book/howto/trained-networks`).

# %% tags=["parameters"] nbmake={"mock": {"profile": "tiny", "out": "../_build/nbmake/runs"}}
data: str = "studio"  # carparts, carvana or folder; of classes studio-styles, digits, amazon, surf or classes
recipe: str = "parts"  # how sources and target are made: parts, views, chimeras, own
sources: int = 0  # number J of sources; 0 is the recipe's own
method: str = "mstl"  # or mstl_plus, source_combine, dann ... all: python -m mstl methods
labels: int = 8  # labelled target images
encoder: str = "auto"  # or any network of timm's: resnet18, tf_efficientnet_lite0
weights: str = "none"  # what it starts from: imagenet, or the folder of a finished run
seed: int = 0  # of the splits, the initial weights and the batches
profile: str = "quick"  # full wants a GPU, grid is the sweep's, tiny is for tests
overrides: str = ""  # hyper-parameters: name and value with an equals sign between them, separated by spaces
mean_teacher: float = None  # weight of the consistency with averaged weights; None is the method's own
steps: int = None  # updates; None is the profile's number
precision: str = "auto"  # what the hardware does best; 32-true is float32 everywhere
data_dir: str = None  # folder of the data, where it is not embedded
out: str = "../runs"  # folder that holds all runs
folder: str = "../results"  # folder of the tidy tables, where nothing is trained
train: bool = True  # False draws the page from the tables instead of training

# %%
config = TrainConfig(
    data=data, recipe=recipe, sources=sources, method=method, labels=labels, seed=seed, profile=profile,
    overrides=with_start(overrides, encoder, weights), mean_teacher=mean_teacher, steps=steps, precision=precision,
    data_dir=data_dir, out=from_notebooks(out),
)  # fmt: skip
pd.Series(config.settings(), name="value").to_frame()

# %% [markdown]
# ## One step
#
# The loop is short enough to tell. A step draws one synchronised batch ({doc}`04_synchronised_batches`): $b$ images
# from every source and one target mini-batch for all. The method turns it into named losses, for MSTL
#
# $$
# \mathcal L = \mathcal L_{source} + \mathcal L_{target} + \mathcal L_{adversarial},
# $$
#
# AdamW follows the gradient of their sum, and where there are discriminators they take two extra steps of their own on
# features they have seen lately. MSTL-plus has other terms: with labels a consistency and no adversary
# ({doc}`../book/paper`). The weights that are evaluated are an exponential average of those that are trained. The *last*
# checkpoint is scored, never the one that happens to be best on the test cars.
#
# Training writes a line of metrics every few steps and a checkpoint now and then. Kill it and start it again: it
# goes on where it stopped, and on the same processor it ends with the same weights, bit for bit.

# %%
run = train_run(config) if train else None

# %% [markdown]
# ## Do the losses fall?

# %%
if run:
    curves = pd.read_json(run / "metrics.jsonl", lines=True)
else:  # the run that was asked for, or the first of the table
    table = results.load(folder, data, "runs")
    asked = {"recipe": config.setting, "method": config.variant, "labels": labels, "seed": seed}
    same = (table[list(asked)] == pd.Series(asked)).all(axis=1)
    key = table[same if same.any() else table.index == 0][results.RUN_KEYS].iloc[0]
    table = results.load(folder, data, "curves")
    curves = table[(table[results.RUN_KEYS] == key).all(axis=1)]
terms = [c for c in curves if c.startswith("loss_") and c != "loss_discriminator" and curves[c].notna().any()]

# %% mystnb={"figure": {"name": "fig-losses", "caption": "Each loss of the run over its steps (mean over the steps between two log points). Losses of masks are BCE plus 1 - Dice, of classes the cross-entropy; where there is an adversarial loss, that of a discriminator that knows nothing is ln 2, the dotted line."}, "image": {"alt": "Line chart with a line for each loss over the training steps, and a dotted line at ln 2."}}
figure, ax = plt.subplots(figsize=(7.5, 3.4))
for term in terms:
    ax.plot(curves["step"], curves[term], label=term.removeprefix("loss_").replace("_", " "))
ax.axhline(0.6931, color="#555555", ls=":", lw=1)
ax.set(xlabel="step", ylabel="loss", ylim=(0, None))
ax.legend(ncols=2)
plt.show()

# %% [markdown]
# ## Does the adversary play?
#
# A discriminator at 50 % may be fooled, or too weak to see anything. Two more numbers tell which. The **gradient
# ratio** compares the reversed gradient with that of the segmentation losses, at the weights of the extractors: far
# below 0.1 the extractor does not notice its adversary. The **probe** is a fresh classifier trained on the final
# features: if it separates source and target well above 50 %, the features still carry the domain
# ({doc}`02_gradient_reversal`). A method that plays no game leaves the two pictures empty.

# %% mystnb={"figure": {"name": "fig-adversary", "caption": "Left: balanced accuracy of the discriminators on the batch of the logged step, chance dotted. Right: size of the reversed gradient relative to the gradient of the segmentation losses, over the weights of the extractors."}, "image": {"alt": "Two line charts over the training steps: discriminator accuracy against the dotted chance line, and the gradient ratio."}}
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3))
for ax, column in zip(axes, ("discriminator_accuracy", "gradient_ratio"), strict=True):
    if column in curves:
        ax.plot(curves["step"], curves[column], color=plots.PALETTE[0])
    ax.set(xlabel="step", ylabel=column.replace("_", " "))
axes[0].axhline(0.5, color="#555555", ls=":", lw=1)
plt.show()

# %%
if run:
    manifest = json.loads((run / "manifest.json").read_text())
    display(pd.Series(manifest["domain_probe"], name="accuracy of a fresh probe", dtype=float).to_frame())

# %% [markdown]
# ## What it predicts
#
# Scores are kept for each test image, with its car and view. Below: the best, the middle and the worst of them, so
# that no choice of ours flatters the method. (Pictures are drawn for our own rendered cars only: photographs of others
# do not appear in this book.)

# %%
if run:
    images = pd.read_csv(run / "images.csv", dtype={"car": str}).query("split == 'test'").reset_index()
else:
    table = results.load(folder, data, "images")
    images = table[(table[results.RUN_KEYS] == key).all(axis=1)]
images[scores.columns(images)].describe().loc[["mean", "std", "min", "50%", "max"]].round(3)

# %% tags=["picture"] mystnb={"figure": {"name": "fig-predictions", "caption": "Test images of the run with the highest, the middle and the lowest Dice. Amber: the prediction. Blue line: the true outline."}, "image": {"alt": "Three rows of rendered cars with the predicted mask in amber and the true outline in blue; the rows are the best, median and worst cases."}}
if run and data == "studio":
    plots.best_and_worst(run, config.task(), images)
    plt.show()

# %% [markdown]
# ## What is left behind
#
# The run's folder holds everything that the results need: the metrics, the checkpoint, the scores, and a manifest that
# says where the numbers come from.

# %%
if run:
    rows = {k: manifest[k] for k in ("command", "commit", "device", "precision", "parameters")}
    rows |= {"training": f"{manifest['seconds_training']:.0f} s", **manifest["versions"]}
    display(pd.Series(rows, name="value").to_frame())

# %% [markdown]
# ## Summary
#
# * A run is one set of parameters: a notebook here, one line on the command line.
# * Every loss has a name and a curve. The adversary is judged by three numbers, not by one.
# * The last checkpoint is scored on cars that no split of the training has seen.
#
# ## Exercises
#
# 1. Train with `overrides="strength=0"`. What do accuracy and probe say now?
# 2. Which of `attention=none`, `fusion=gated` and `synchronised=false` changes the score by more than another seed does?
# 3. Train `method="mstl_plus"` with `labels=8` and again with `labels=0`. Which losses are there, and why not the same?
#
# ```{dropdown} Solution to 1
# Without a reversed gradient the extractor does not resist: the discriminators' accuracy climbs towards 1, the gradient
# ratio is exactly 0, and the probe separates the domains at least as well as before.
# ```
#
# ```{dropdown} Solution to 2
# Run each with at least two seeds and compare the differences with the spread between seeds; {doc}`06_results` shows
# how to put an interval around such a difference, and {doc}`08_ablation` does it for every switch.
# ```
#
# ```{dropdown} Solution to 3
# With labels: source, target heads, target fused, consistency. Without: source and adversarial. What no label anchors must
# not be made consistent, or errors spread; and the adversary is for those who have nothing better.
# ```
#
# **Next:** {doc}`06_results`
