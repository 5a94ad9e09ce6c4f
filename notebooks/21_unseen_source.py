# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Inheriting from data one may not see
#
# Patients' or customers' images stay where they are. What was *learned* from them may travel: a classifier, and a generator
# that draws images of each class. Can a target with ten labelled images, other classes and another network use that? PP + P-SSL
# {cite:p}`yamaguchi2022` says yes, twice: learn to name what the generator draws, then let it draw what the target's images look like to
# the source, and ask for consistency on it.
#
# | | |
# |---|---|
# | You will see | digits 0 to 4 that nobody wrote, judged by a network that has never seen their source; how they answer to a 5 or an 8; each of the two stages against training from nothing, with intervals |
# | Run time | about two minutes: a source and four small networks are trained here; the tables come from `make sweep SWEEP=family WEIGHTS_DIR=weights` |
# | Device | any |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from mstl.report import plots, results
from mstl.report.grid import comparison, text
from mstl.report.starting import inherited
from mstl.report.starting.figures import accuracy, taken_for
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.train import Trainer, train

plots.style()

# %% tags=["parameters"] nbmake={"mock": {"steps": 6, "source_steps": 6}}
labels: int = 10  # labelled images of the target, of five classes
steps: int = 300  # of each network of the target
source_steps: int = 400  # of the source's classifier and generator
seed: int = 0  # of splits, networks and batches
folder: str = "../results/inherited"  # tables of the sweep

# %% [markdown]
# ## What is left of the source
#
# The source has the digits 0 to 4, in typefaces with serifs. A classifier $C$ and a generator $G(z, y)$ learn from them: a variational
# autoencoder {cite:p}`sohn2015cvae` of which both halves know the class. After that the images are gone; nothing but the run's folder
# is used from here on.

# %%
common = {"seed": seed, "profile": "digits", "precision": "32-true", "out": mkdtemp()}
left = train(
    TrainConfig(
        data="digits-low",
        recipe="serif-to-handwritten",
        method="cvae",
        labels=0,
        steps=source_steps,
        **common,
    )
)
source = load_method(left)

# %% tags=["picture"] mystnb={"figure": {"name": "fig-unseen-drawn", "caption": "Eight images of each class that the generator draws. Seed 0."}, "image": {"alt": "Five blocks of eight drawn digits each, 0 to 4, white on black, in varied typefaces."}}
inherited.drawn(source)
plt.show()

# %% [markdown]
# Does somebody who does not know the generator read them? A network that learned the same digits from typefaces *without* serifs, and
# their share that it takes for what they were to be:

# %%
config = TrainConfig(
    data="digits-low", recipe="sans-to-handwritten", method="source_combine", labels=0, steps=200, **common
)
judge = Trainer(config, config.task())
for _ in range(config.steps):
    judge.update()
print(f"{inherited.recognised(source, judge):.1f} % of the drawn digits are read as meant")

# %% [markdown]
# ## First stage: learn to name what is drawn
#
# The target is handwritten, has the digits 5 to 9, and a network of its own, $f = h \circ g$. *Pseudo pre-training* gives $g$ a head
# $h_s$ for the source's classes and as many images as it likes:
#
# $$
# \min_{g, h_s} \; \mathbb E_{y \sim U,\, z \sim N(0, I)}\; \mathrm{CE}\big(h_s(g(G(z, y))),\, y\big) .
# $$ (eq-unseen-pretraining)
#
# No class of the target occurs in it. What it can give is strokes.
#
# ## Second stage: draw what the target looks like to the source
#
# What does $C$, which knows 0 to 4, take a handwritten 7 for? A mixture of what it knows; and the generator draws mixtures, too, for a
# class is a vector $E_k$ to it. *Pseudo semi-supervised learning* asks it for
#
# $$
# \tilde x = G\Big(z, \sum_k C(x)_k E_k\Big), \qquad
# \min_{g, h} \; \mathbb E\,\mathrm{CE}(f(x), y) + \lambda\, \mathbb E\; \ell\big(f(\tilde x), f(A(\tilde x))\big),
# $$ (eq-unseen-consistency)
#
# where $\ell$ is a consistency {cite:p}`xie2020uda`: $f$ should say the same of a drawn image and of its strong variation $A$, where it is
# confident of the first. Three networks of the target, and as many steps for each:

# %%
common |= {"data": "digits-high", "recipe": "serif-to-handwritten", "labels": labels, "steps": steps}
common |= {"weights_dir": str(Path(left).parent)}
task = TrainConfig(method="target_only", **common).task()
generator = f"generator={Path(left).name}"
runs = {
    "scratch": ("target_only", ""),
    "PP": ("pp_pssl", f"{generator} weight=0"),
    "PP + P-SSL": ("pp_pssl", f"{generator} weight=0.01"),
}
trainers, found = {}, {}
for name, (method, changes) in runs.items():
    trainers[name] = Trainer(TrainConfig(method=method, overrides=changes, **common), task)
    for _ in range(steps):
        trainers[name].update()
    found[name] = accuracy(trainers[name], task.test)
pd.DataFrame({"right (%)": found}).style.format("{:.1f}")

# %% [markdown]
# One seed, and a source of fewer steps than below: no verdict, but a look at what happens.

# %% mystnb={"figure": {"name": "fig-unseen-followed", "caption": "Labelled target images, what the source classifier takes them for, and three images that are drawn in answer. Seed 0."}, "image": {"alt": "A column for each handwritten digit from 5 to 9: the digit, a bar chart over 0 to 4, and drawn digits that look like the classes with high bars, some of them like two at once."}}
inherited.followed(trainers["PP + P-SSL"].method, task.labelled.images[: 2 * len(task.problem.classes)])
plt.show()

# %% [markdown]
# More than half of the 5s, 7s and 9s look like a 3 to somebody who knows 0 to 4, most 6s like a 4, and 8s like a 1, a 2 or a 3. The
# consistency asks $f$ to be of one mind about what is drawn in answer, which is neither a 5 nor an 8; some class of the target has to
# take it in:

# %% mystnb={"figure": {"name": "fig-unseen-confusions", "caption": "Of each class of the target (rows), the share that is taken for each class (columns). Seed 0."}, "image": {"alt": "Three squares of five rows and columns. From scratch the diagonal is dark; with the second stage more lies beside it, most of all in the row of one class."}}
from mstl.report.family.figures import confusions

taken = {name: taken_for(trainer, task.test) for name, trainer in trainers.items()}
confusions(task.test.labels, taken, range(5), task.problem.classes)
plt.show()

# %% [markdown]
# ## With intervals
#
# Five seeds, an inherited source of 1,000 steps. What $\lambda$ is was chosen among three values on validation images of two other seeds
# (`make sweep SWEEP=family-tuning WEIGHTS_DIR=weights`), for distillation, too. *Distillation* asks $C$ alone: a second head learns to say
# of the target's images what $C$ says. *Fine-tuning* begins with the encoder of $C$, which asks for the same architecture; it is the
# measure of what there is to inherit.

# %%
cars, spent = (comparison.everything(folder, name) for name in ("cars", "runs"))
about = [text.describe(comparison.load(folder, name, "runs")) for name in results.available(folder)]
Markdown("\n\n".join(about))

# %% mystnb={"figure": {"name": "fig-unseen-scores", "caption": "Accuracy on handwritten digits: all ten from a source of all ten, and 5 to 9 from a source of 0 to 4. *Weight 0* is PP alone, *no first stage* is P-SSL alone. Mean with the 95 % bootstrap interval over seeds and images. From `make sweep SWEEP=family WEIGHTS_DIR=weights`."}, "image": {"alt": "Dot-and-interval charts, one for each source and number of labels. Fine-tuning stands highest in each; with ten labels of 5 to 9 every form of the second stage is far below the others, with 50 all lie close together."}}
from mstl.report.family.bars import alike
from mstl.report.grid.figures import score_dots

score_dots(comparison.summarise(alike(cars)))
plt.show()

# %% [markdown]
# The bars, written before the sweep was run: PP + P-SSL is at least 3 points above scratch at the fewest labels (I1), above distillation
# (I2), and its second stage is worth something beside the first (I3).

# %%
from mstl.report.grid.bars import bar_answer, bar_lines

judged = inherited.inherited_bars(cars, spent)
Markdown(bar_lines(judged))

# %% tags=["answer"]
Markdown(bar_answer(judged))

# %% [markdown]
# With ten labels all three are missed. Fine-tuning of $C$ gains 4.6 points [−1.5, +9.1] over scratch, and distillation with soft targets, which asks for no
# architecture and draws nothing, 3.7 [−1.0, +7.7]: neither is clear of zero with five seeds. (One inherited source serves all seeds, so
# its own chance is in no interval.) The first stage adds 0.5 [−4.6, +4.7]; two fifths of the steps go into it, so that its target had 180
# where scratch had 300. The second takes away 7.0 [−14.0, −1.1], whatever the generator is asked for: soft conditions are no better than
# hard or random ones. With the first stage before it 9.8 points more are left [+2.9, +18.5], or because there are fewer steps of the second
# then; which of the two it is was not separated. UDA's consistency and FixMatch's take every test image for the same class here: sharpened
# targets are nearly hard ones.
#
# Why so much harm from a λ of 0.01? Images drawn of 0 to 4 have no class among 5 to 9; whichever the network is confident of is wrong for
# them, and {numref}`fig-unseen-confusions` shows what goes under with it. We suppose, and have not tested, that the consistency pulls at
# least as hard as ten labelled images that are long learned, and that Adam shrinks steps far less than gradients; a run with SGD would tell.
#
# With 50 labels of the same digits there is hardly anything left to inherit: scratch is right on 94.5 %, fine-tuning has 0.3 more [−0.8, +1.3],
# distillation 2.1 less [0.5, 4.0], the whole method 1.6 less [0.0, 3.3]. And from a source that has the target's classes, all ten digits drawn from
# typefaces, with 50 labels? There nothing does harm: PP gains 1.5 over scratch [−0.9, +4.1], the whole method 1.3 [−1.1, +3.6], distillation
# 0.3 [−1.7, +2.2]; fine-tuning, which may keep the weights themselves, 3.0 [+0.5, +5.2] and alone is clear of zero. That is the sign of the paper's
# claim, and not its size: its targets have thousands of labelled images, its source a thousand classes.
#
# ## Exercises
#
# 1. What would the consistency do if source and target had the same classes, in one order?
# 2. The classifier $C$ says 3 for most of the target. What would soft conditions need to be worth more than random ones?
#
# ```{dropdown} Solution to 1
# What it does in semi-supervised learning: a drawn 3 has the class 3, confidence is right more often than not, and strong variations of it
# are new labelled images in all but name.
# ```
#
# ```{dropdown} Solution to 2
# Classes of the target must look like *different* mixtures. With five source classes and a classifier that is sure of itself there are
# hardly more than five; with a thousand, or a classifier at a higher temperature, there are many.
# ```
#
# **Next:** {doc}`22_relations`
