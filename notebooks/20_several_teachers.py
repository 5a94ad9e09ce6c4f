# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Several teachers
#
# There is more than one trained network to start from, and nobody says which is the right one. **AMCF** {cite:p}`feng2024amcf` takes them
# all: each gets a fresh head for the target's classes, all are fine-tuned together, what they say is drawn together, and the mean of
# it counts. How many layers of each stand still is searched. This page does both with small networks and asks what is left of the
# gain once an ensemble that does *not* collaborate has its share.
#
# | | |
# |---|---|
# | You will see | two networks taught by typefaces learn handwriting alone and together, a pull that does not weaken with distance, a search of layers, what it promises when it looks at test images, and real photographs with intervals |
# | Run time | about two minutes, most of it for the search; the tables come from `make sweep SWEEP=teachers` |
# | Device | CPU or GPU |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl[weights] @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from mstl.report import plots, results
from mstl.report.grid import comparison, text
from mstl.report.starting import bars, figures
from mstl.run.config import TrainConfig
from mstl.run.layers import scores, search_layers
from mstl.run.train import train

plots.style()

# %% tags=["parameters"] nbmake={"mock": {"taught": 20, "steps": 6, "particles": 2, "iterations": 1}}
taught: int = 300  # steps of each teacher
steps: int = 100  # of each training on the target
labels: int = 20  # two a class
particles: int = 4  # of the search
iterations: int = 2  # of the search, which tries particles·(iterations + 1) places
seed: int = 0  # of splits, weights and batches
folder: str = "../results/teachers"  # tables of the sweep

# %% [markdown]
# ## Two teachers
#
# LeNets that read digits drawn from typefaces, one with serifs and one without. Each is a finished run, and a run starts from another
# by its folder.

# %%
place = Path(tempfile.mkdtemp())
common = {"data": "digits", "profile": "digits", "seed": seed, "precision": "32-true", "out": str(place)}
for name in ("serif", "sans"):
    teacher = TrainConfig(
        recipe=f"{name}-to-handwritten", method="source_combine", labels=0, steps=taught, **common
    )
    (place / name).symlink_to(train(teacher))

# %% [markdown]
# ## Alone, side by side, together
#
# The logits $o_j$ of $J$ networks, their mean $\bar o$, and
#
# $$
# \min \; \sum_{j=1}^J \mathrm{CE}(o_j, y) + \lambda\, \frac1B \sum_b \frac1J \sum_j \| o_{jb} - \bar o_b \|_2 .
# $$ (eq-teachers-loss)
#
# With $\lambda = 0$ the networks know nothing of each other: an ensemble. {py:mod}`mstl.methods.amcf` is this equation.

# %%
student = {
    "recipe": "serif-to-handwritten",
    "labels": labels,
    "steps": steps,
    "weights_dir": str(place),
} | common
TRIED = {
    "serif alone": ("fine_tuning", "weights=serif weight=1e-5"),
    "sans alone": ("fine_tuning", "weights=sans weight=1e-5"),
    "both, λ = 0": ("amcf", "models=serif,sans weight=0"),
    "both, λ = 0.2": ("amcf", "models=serif,sans"),
}

# %%
found = {}
for name, (method, overrides) in TRIED.items():
    folder_of_run = train(TrainConfig(method=method, overrides=overrides, **student))
    found[name] = 100 * scores(folder_of_run, "accuracy")["test"]
pd.Series(found, name="accuracy (%)").to_frame().style.format("{:.1f}")

# %% [markdown]
# One seed; intervals come below. The norm in {eq}`eq-teachers-loss` is not squared, and that is no detail: its pull on two networks is the same
# however far apart they are, so a network that has gone astray is not torn back, and two that nearly agree are made to agree.

# %% mystnb={"figure": {"name": "fig-teachers-pull", "caption": "Length of the gradient that draws two networks together, by the distance of their logits: of AMCF's norm, and of its square."}, "image": {"alt": "A horizontal line that is zero only at distance zero, and a line that rises from zero."}}
figures.pull()
plt.show()

# %% [markdown]
# Where they agree exactly the norm has no derivative. It is taken as 0, as it must be: networks that agree are not drawn anywhere.
# Written as the root of a sum of squares it would be 0/0, and the run would end with weights that are no numbers. Two copies of one
# network are a test of that.
#
# ## Which layers stand still
#
# A cut for each network: the convolutions in front of it keep their weights and their statistics. A swarm of particles searches the cuts;
# each place it visits is a short training of its own, scored on *validation* images.

# %%
config = TrainConfig(method="amcf", overrides="models=serif,sans", **student)
run, table = search_layers(config, max(1, steps // 4), particles, iterations)
tries = pd.read_csv(table, dtype={"cuts": str})

# %% mystnb={"figure": {"name": "fig-teachers-search", "caption": "A search of layers, two networks of three layers each. Left: the places that were tried; colour is accuracy on validation images, the ring is the one chosen. Right: every evaluation, on validation and on test images, and the best so far. Data: digits, seed 0."}, "image": {"alt": "A scatter plot on a small grid, and a plot with two rising staircases."}}
figures.search(tries)
plt.show()

# %% [markdown]
# ## What looking at test images promises
#
# The released code scores a place by its best epoch on the images it reports. The table of a search has both scores, so that one can
# see what that would have promised here, and what a choice on validation images gives:

# %%
pd.Series(figures.flattery(tries), name="test accuracy of the place (%)").to_frame().style.format("{:.1f}")

# %% [markdown]
# ## With intervals

# %%
cars, spent = (comparison.everything(folder, name) for name in ("cars", "runs"))
Markdown(
    "\n\n".join(text.describe(comparison.load(folder, name, "runs")) for name in results.available(folder))
)
