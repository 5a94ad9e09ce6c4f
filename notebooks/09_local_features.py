# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Do the pieces complete each other?
#
# The paper's picture is a puzzle: every source holds one piece of the target, each sub-network transfers its piece, and
# together they make the whole. A mean Dice cannot say if that is what happens. Rendered cars can, since every pixel knows its part. This
# page asks four questions and answers each with a number:
#
# 1. Does the attention of sub-network $j$ light up the part that its source shows?
# 2. Which sub-network knows which part, and does the whole know more than each of them?
# 3. Leave one source out. Is its part what gets lost?
# 4. Can a fresh classifier still tell source from target, before attention and after it?
#
# | | |
# |---|---|
# | You will see | attention over training, AUC against part maps, recall by sub-network and part, the removal matrix, distances between domains, the best and the worst predictions |
# | Run time | some seconds: nothing is trained here |
# | Device | any |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
import matplotlib.pyplot as plt
from IPython.display import Markdown

from mstl.report import plots, widgets
from mstl.report.local import diagnosis, figures

plots.style()

# %% tags=["parameters"] nbmake={"mock": {}}
data: str = "studio"  # whose results to show
folder: str = "../results/grid"  # folder of the tidy tables
recipe: str = "parts"  # how sources and target were made
labels: int = 4  # labelled target images
method: str = "mstl"  # whose pictures and curves to show; the tables hold all that were diagnosed

# %%
diagnosed = diagnosis.matching(diagnosis.load(folder, data, "runs"), recipe=recipe, labels=labels)
run = diagnosis.shown_run(diagnosed, method)
cars, curves = (diagnosis.swept(folder, data, table) for table in ("cars", "curves"))
setting = diagnosis.setting_of(run, cars, recipe, labels)
runs, heads, domains, attention = (
    diagnosis.matching(diagnosis.load(folder, data, table), **setting)
    for table in ("runs", "heads", "domains", "attention")
)
cars, curves = diagnosis.beside(cars, setting), diagnosis.matching(curves, **setting)
Markdown(diagnosis.describe(runs, data, recipe, labels, len(diagnosed) - len(runs)))

# %% [markdown]
# `python -m mstl diagnose --run <folder>` makes the numbers of this page from a finished run; pictures and the embedding are those of
# one run, named at the end.
#
# ## What attention looks at
#
# {doc}`03_attention` built the module and asked this question of one short run. Here it is asked of the runs of the
# comparison. The maps are those of the coarsest features, where the adversary acts.

# %% tags=["picture"] mystnb={"figure": {"name": "fig-local-montage", "caption": "Test cars with the outlines of their regions (top row) and the attention weights of each sub-network (rows below, black outline: the region its source shows). Weight 1 is the identity. Data: studio."}, "image": {"alt": "A row of rendered cars with coloured outlines of front, cabin and rear, and three rows of coarse maps in red and blue, one row for each sub-network."}}
figures.attention_montage(diagnosis.pictures(folder, run, "attention"))
plt.show()

# %% [markdown]
# Below, the same during training, on validation cars: choose a sub-network, move the slider.

# %%
film = diagnosis.pictures(folder, run, "film")
films = figures.attention_films(film)
if films:
    steps = [f"step {step}" for step in film["steps"]]
    shown = widgets.films(films, steps, "sub-network", "training step")
else:
    shown = Markdown("*No maps were stored while this run trained (`python -m mstl train --film 50`).*")
shown

# %% [markdown]
# ### The number
#
# Take two pixels of a car, one in the region of source $j$ and one in another region. How often does attention give the
# first the larger weight? This AUC is ½ for attention that ignores regions. Each place of a map covers many pixels and counts
# on both sides by its share of them, so no place has to be assigned to one region.
#
# A large number on the diagonal is not enough: some parts are liked by *every* network. Compare within a column.

# %% mystnb={"figure": {"name": "fig-local-auc", "caption": "AUC with which the attention of each sub-network (rows) ranks the pixels of each region (columns) above the other pixels of the car; mean over test images and seeds. Framed: the region that the sub-network's source shows. 0.5 is chance."}, "image": {"alt": "Heat maps of AUC, sub-networks by regions, with framed diagonal; one for each method that has attention."}}
figures.auc_matrix(attention)
plt.show()

# %%
Markdown(diagnosis.attention_verdict(attention))

# %% [markdown]
# And object against background, which is what a segmentation loss would teach:

# %%
Markdown(diagnosis.object_verdict(attention))

# %% mystnb={"figure": {"name": "fig-local-auc-training", "caption": "AUC of each source's own region (left, 0.5 is chance) and entropy of attention over places (right, 1 is uniform) during training, on 24 validation images; lines are means over seeds, bands reach from the lowest to the highest seed."}, "image": {"alt": "Two line charts over the training steps: AUC with a line for each source, and the entropy of attention."}}
shown_method = method if run is None else run["method"]
own_curves = diagnosis.matching(curves, method=shown_method)
figures.auc_over_training(own_curves)
plt.show()

# %% [markdown]
# ## Who knows which part?
#
# Each sub-network has a predictor of its own. Applied alone to the test cars, how much of each part does it find?
# A source of fronts should make a network that finds fronts. "Together" is the prediction of the whole method.
# Recall alone can be bought by calling everything a car, so the Dice coefficient stands beside it.

# %% mystnb={"figure": {"name": "fig-local-heads", "caption": "Dice (first column) and recall of each part (columns) by the whole method and by each sub-network alone (rows), mean over test images that show the part and over seeds. Framed: the part that the sub-network's source shows."}, "image": {"alt": "Heat map of recall with the whole method and the sub-networks as rows and the parts of a car as columns; one for each method."}}
figures.head_recall(heads)
plt.show()

# %%
Markdown(diagnosis.heads_verdict(heads))

# %% [markdown]
# ## Take a piece away
#
# The same method on the same test cars, trained without one of the sources. If the pieces complete each other, the part of the source that is
# gone should suffer most: large losses in the framed cells and small ones elsewhere.

# %%
removing = [m for m in ("mstl_plus", method) if len(diagnosis.removal(cars, recipe, m, labels, draws=10))]
removed = diagnosis.removal(cars, recipe, removing[0] if removing else method, labels)
contrast = diagnosis.own_loss(cars, recipe, removing[0] if removing else method, labels)
Markdown(f"Method: {plots.label(removing[0])}." if removing else "")

# %% mystnb={"figure": {"name": "fig-local-removal", "caption": "Change of Dice (first column) and of the recall of each part (columns) when a source (rows) is left out, in points (hundredths), paired by test car and seed. A star: the 95 % bootstrap interval over seeds and cars leaves out 0. Framed: the part of the source that is gone."}, "image": {"alt": "Heat map of changes in recall, removed sources by parts, with framed cells where source and part agree."}}
figures.removal_matrix(removed)
plt.show()

# %%
Markdown(diagnosis.removal_verdict(removed, contrast))

# %% [markdown]
# So, of the four questions:

# %% tags=["answer"]
of_method = [
    table[table["method"] == method] if len(table) else table for table in (attention, heads, domains)
]
Markdown(diagnosis.puzzle(*of_method[:2], contrast, of_method[2]))

# %% [markdown]
# ## What the discriminator leaves
#
# The discriminators of a run may be fooled or simply weak; their accuracy alone does not tell which
# ({doc}`02_gradient_reversal`).

# %% mystnb={"figure": {"name": "fig-local-game", "caption": "Balanced accuracy of the discriminators (left, chance dotted) and size of the reversed gradient relative to the task's (right) during training, of the diagnosed methods that have an adversary; bands from the lowest to the highest seed."}, "image": {"alt": "Two line charts over training steps with a line and a band for each method."}}
figures.game(curves[curves["method"].isin(runs["method"])] if len(runs) and len(curves) else runs)
plt.show()

# %% [markdown]
# So we ask a classifier that nobody fooled: a logistic regression, trained afterwards on the features of half of the cars and scored on
# the others. With its error $\varepsilon$ the **proxy A-distance** is $2(1 - 2\varepsilon)$: 0 if the
# domains cannot be told apart, 2 if they always can.

# %% mystnb={"figure": {"name": "fig-local-distance", "caption": "Proxy A-distance between each source and the target (test cars) in the features of its sub-network, before and after attention; a line is one source and seed. 0 is indistinguishable, 2 full separation."}, "image": {"alt": "Line charts, one for each method, from before to after attention, with a line for each source."}}
figures.distances(domains)
plt.show()

# %%
Markdown(diagnosis.distance_verdict(domains))

# %% mystnb={"figure": {"name": "fig-local-embedding", "caption": "Images of the source (amber circles) and of the target (blue triangles) in the features of each sub-network, before and after attention: first two principal components of the mean feature vector, with their share of the variance. Data: studio."}, "image": {"alt": "Scatter plots of two clouds of points, source and target, for each sub-network before and after attention."}}
figures.embeddings(diagnosis.points(folder, run))
plt.show()

# %% [markdown]
# ## The best and the worst
#
# Not chosen by us, but by the score:

# %% mystnb={"figure": {"name": "fig-local-cases", "caption": "The test images with the highest Dice (top) and with the lowest (bottom). Dashed amber line: the predicted outline. Blue line: the true one. Above each: its Dice. Data: studio."}, "image": {"alt": "Two rows of four rendered cars with predicted outlines in dashed amber and true outlines in blue."}}
cases = diagnosis.pictures(folder, run, "cases")
figures.best_and_worst(cases)
plt.show()

# %%
Markdown(diagnosis.cases_verdict(cases))

# %% [markdown]
# ## Where the numbers come from
#
# Pictures, films and embedding are those of this run:

# %%
Markdown(
    "*None yet.*" if run is None else f"{plots.label(run['method'])}, seed {run['seed']}: `{run['command']}`"
)

# %%
runs[[c for c in ("method", "seed", "seconds_training", "device", "commit", "command") if c in runs]]

# %% [markdown]
# ## Summary
#
# * The puzzle is a hypothesis with four consequences, and each has a number: the AUC of attention on the own part, the
#   recall of the own part by the own sub-network, the loss of the own part with the source, the distance after attention.
# * All four sentences above are computed from the tables, for this data, recipe and number of labels.
# * A picture of attention that looks right is no evidence. The same question to *all* pairs of sub-network and part is.
#
# ## Exercises
#
# 1. Show `recipe="chimeras"`. There the source objects hold one true part on a foreign body. Which of the four answers change?
# 2. A sub-network finds parts that its source never showed. Name two ways in which it can have learned them.
# 3. Why does the AUC of even the best possible map stay below 1?
#
# ```{dropdown} Solution to 1
# Watch the second and the third: only with chimeras does a network get a reason to call something foreground that is no car.
# ```
#
# ```{dropdown} Solution to 2
# From the labelled target images, which show whole cars. And by generalisation: what separates a
# bumper from the street separates a door from it, too. Run with `labels=0` to take the first way away.
# ```
#
# ```{dropdown} Solution to 3
# A place of the coarsest map covers 8 by 8 pixels. Where a border runs through it, one weight has to serve pixels of both
# regions: such a pair is a tie and counts one half.
# ```
#
# **Next:** {doc}`10_trust`
