# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How far does the union reach?
#
# Sources that label a part each, and heads that are joined by their union: {doc}`14_labelled_parts` showed one setting of it. Here
# it is pulled at from all sides, until it gives way: more labels, more parts, more steps, sources in styles of their own, sources
# that lie, a source less, and another task.
#
# | | |
# |---|---|
# | You will see | the score over labels, parts and steps; where the adversary pays; what bad sources cost; whether attention finds the own part; what is lost with a source |
# | Run time | some seconds: nothing is trained here, the tables come from `make sweep SWEEP=masks` |
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
import pandas as pd
from IPython.display import Markdown, display

from mstl.report import plots, results
from mstl.report.grid import comparison, text
from mstl.report.grid import figures as draw

plots.style()

# %% tags=["parameters"] nbmake={"mock": {}}
folder: str = "../results/masks"  # tables of the sweep
thin: str = "../results/thin"  # tables of vessels and cracks
photographs: str = "carparts"  # of which curves and matrices are drawn

# %%
cars, curves = (comparison.load(folder, photographs, table) for table in ("cars", "curves"))
every, spent = (comparison.everything(folder, table) for table in ("cars", "runs"))
print(f"{len(spent)} runs on {' and '.join(sorted(spent['data'].unique()))}; curves are of {photographs}")

# %% [markdown]
# In five lines, on photographs:

# %% tags=["answer"]
asked = [
    ("masks", 32, "mstl_plus", "target_only+mean_teacher=1"),
    ("masks-4", 0, "mstl_plus", "multi_head+steps=820"),
    ("masks", 0, "source_combine+steps=3280", "source_combine+steps=820"),
    ("masks-styled", 0, "mstl_plus", "mstl_plus+adversarial=false"),
    ("masks", 4, "mstl+fusion=union", "mstl"),
]
Markdown(text.asked_lines(results.load(folder, photographs, "cars"), asked))

# %% [markdown]
# ## How many labels?

# %%
methods = [
    "target_only+mean_teacher=1",
    "source_combine+steps=820",
    "source_combine+mean_teacher=10+steps=400",
    "multi_head",
    "positive_unlabelled",
    "mstl_plus",
    "oracle",
]
budget = comparison.label_budget(cars, "masks", methods)

# %% tags=["picture"] mystnb={"figure": {"name": "fig-far-labels", "caption": "Score against the number of labelled target images, with 95 % bootstrap bands over seeds and cars. Source combine has as much time as MSTL-plus; target only and the controls have as many steps, which take about half the time. The oracle sees all labels. From `make sweep SWEEP=masks`."}, "image": {"alt": "Line chart of the score over the number of labels, a line with its own marker and band for each method."}}
figure, ax = plt.subplots(figsize=(7.5, 4))
draw.interval_curves(budget, "labels", ax, "labelled target images")
plt.show()

# %% [markdown]
# MSTL-plus minus target only with a mean teacher, which needs no source at all, after as many steps and on the same cars:

# %%
alone = comparison.paired(cars[cars["recipe"] == "masks"], "mstl_plus", "target_only+mean_teacher=1")
Markdown(text.difference_lines(alone.dropna(subset=["difference"]), "MSTL-plus", "target only, mean teacher"))

# %% [markdown]
# And minus the best control that knows of the parts, named after the fact, which had about half the time:

# %%
from mstl.report.grid.part_bars import best_control

budgeted = cars[(cars["recipe"] == "masks") & cars["method"].isin(methods)]
Markdown(text.difference_lines(comparison.against_best(budgeted, best_control), "MSTL-plus", "{rival}"))

# %% [markdown]
# ## How many parts?
#
# With more sources each labels a smaller part, and one pot hears of a pixel more often that it is background
# ({eq}`eq-pooled-balance`). Two sources are left and right, three front, cabin and rear, four are quadrants: not only the number
# differs. All methods had as much time.

# %% mystnb={"figure": {"name": "fig-far-parts", "caption": "Score without target labels against the number J of sources, which divide the same car, with 95 % bootstrap bands over seeds and cars. From `make sweep SWEEP=masks`."}, "image": {"alt": "Line chart of the score over the number of sources, a line with its own marker and band for each method."}}
runs_of_all = results.load(folder, photographs, "cars")
numbers = ("source_combine+steps=820", "multi_head+steps=820", "mstl_plus")
figure, ax = plt.subplots(figsize=(7.5, 3.4))
draw.interval_curves(comparison.source_numbers(runs_of_all, "masks", 0, numbers), "sources", ax, "sources J")
plt.show()

# %% [markdown]
# MSTL-plus minus one network with as many heads, and minus one pot:

# %%
divided = runs_of_all[
    runs_of_all["recipe"].isin(["masks-2", "masks", "masks-4"]) & (runs_of_all["labels"] == 0)
]
rows = [comparison.paired(divided, "mstl_plus", other).assign(other=other) for other in numbers[:2]]
rows = pd.concat(rows).assign(other=lambda table: table["other"].map(comparison.variant_label))
text.for_readers(rows[["sources", "other", "difference", "low", "high", "seeds"]].sort_values("sources"))

# %% [markdown]
# The pot falls from 72 to 41. One network with heads is level with sub-networks for two parts, ahead for three, and **behind for
# four**: there, after as much time and without a label, separate sub-networks pay.

# %% [markdown]
# ## How long?
#
# What does training longer do? Each row is a longer run minus the same method with fewer steps, without target labels, on the
# same cars. The longest ones have two seeds so far.

# %%
longer = {
    "source_combine+steps=820": "source_combine",
    "source_combine+steps=3280": "source_combine+steps=820",
    "dann+strength=0.5+steps=580": "dann+strength=0.5",
    "multi_head+steps=820": "multi_head",
    "multi_head+steps=3280": "multi_head+steps=820",
    "mstl_plus+steps=1200": "mstl_plus",
    "mstl_plus+stem=4+steps=1200": "mstl_plus+stem=4",
    "mstl_plus+adversarial=false+steps=1200": "mstl_plus+adversarial=false",
}
plain = every[(every["recipe"] == "masks") & (every["labels"] == 0)]
rows = [comparison.paired(plain, a, b).assign(longer=a, than=b) for a, b in longer.items()]
rows = pd.concat(rows).dropna(subset=["difference"])
rows[["longer", "than"]] = rows[["longer", "than"]].map(comparison.variant_label)
text.for_readers(rows[["data", "longer", "than", "difference", "low", "high", "seeds"]])

# %% [markdown]
# Some more steps help one pot and one network with heads on photographs. With ten times as many **both fall** some twelve points below
# what they were after 300, while sub-networks stay where they were. After as much time:

# %%
ends = ["multi_head+steps=3280", "source_combine+steps=3280", "mstl_plus+stem=4+steps=1200"]
rows = [comparison.paired(plain, "mstl_plus+steps=1200", other).assign(than=other) for other in ends]
rows = pd.concat(rows).dropna(subset=["difference"])
rows["than"] = rows["than"].map(comparison.variant_label)
text.for_readers(rows[["data", "than", "difference", "low", "high", "seeds"]])

# %% [markdown]
# Two seeds are few, and on a GPU, at 128×192 with thousands of steps and one seed, it was the other way round: the pot fell farther,
# one network with heads stayed and MSTL-plus lost six points ({doc}`12_gpu`). So what long training does to heads on one network and to
# sub-networks is **open**. What it does to one pot is not.
#
# ## Where the adversary pays
#
# On plain photographs the adversary has nothing to do: sources and target look alike as a whole. Now let each source have a
# style of its own, as collections of different owners have. A head has then seen one style only, and the target is of none of
# them. Two remedies that need no label: an adversary, and giving the sources' images the colour mean and deviation of the
# target's (`appearance=target`).

# %% mystnb={"figure": {"name": "fig-far-styles", "caption": "Sources in styles of their own, no target label: mean score on test cars with the 95 % bootstrap interval over seeds and cars. From `make sweep SWEEP=masks`."}, "image": {"alt": "Dot-and-interval charts, one for each data set; methods with and without matched colours as rows."}}
styled = comparison.summarise(every[every["recipe"] == "masks-styled"])
draw.score_dots(styled)
plt.show()

# %%
bare, matched = "mstl_plus+adversarial=false", "mstl_plus+appearance=target"
pairs = [
    ("mstl_plus", bare, "the adversary"),
    (f"{matched}+adversarial=false", bare, "matched colours"),
    (matched, "mstl_plus", "matched colours, where there is an adversary"),
    (matched, f"{matched}+adversarial=false", "the adversary, where colours are matched"),
]
styles = every[every["recipe"] == "masks-styled"]
rows = [comparison.paired(styles, a, b).assign(brings=what) for a, b, what in pairs]
text.for_readers(pd.concat(rows)[["data", "brings", "difference", "low", "high", "seeds"]])

# %% [markdown]
# So the adversary pays where sources differ in appearance. Matched colours do the same on rendered cars and nothing on photographs,
# and beside an adversary they win 3.6 points there and cost 5.2 here. And is it sub-networks, or would one network with a head a
# source do? MSTL-plus minus each variant of it, after as many steps and after as much time:

# %%
variants = [v for v in styles["method"].unique() if comparison.family(v) == "multi_head"]
rows = [comparison.paired(styles, "mstl_plus", other).assign(other=other) for other in variants]
rows = pd.concat(rows).assign(other=lambda table: table["other"].map(comparison.variant_label))
text.for_readers(rows[["data", "other", "difference", "low", "high", "seeds"]].sort_values("data"))

# %% [markdown]
# On photographs sub-networks are **5 to 10 points ahead** of each; the interval leaves out zero for three of four, for the best of them
# only just, and not for the plain one, whose seeds differ most. More steps do not help one network there. On rendered cars matched
# colours make one network level with sub-networks. Sources that differ as a whole and share a part are what the paper is about, and
# where they are photographs its sub-networks earn their price.
#
# ## Sources that lie
#
# A source is added to the three that are right ({doc}`../book/data-card`): *shifted* has its masks a quarter of the image too
# far to the right, *useless* is noise, *harmful* is inverted. What does it cost, on the same cars?

# %%
bad = comparison.robustness(cars)
text.for_readers(bad[["method", "labels", "extra", "difference", "low", "high", "seeds"]])

# %% mystnb={"figure": {"name": "fig-far-bad", "caption": "Score with an added bad source minus the score without it, no target label, on the same cars, in points, with the 95 % paired bootstrap interval over seeds and cars. From `make sweep SWEEP=masks`."}, "image": {"alt": "Dot-and-interval chart with methods as rows and the change by each kind of bad source, a line at zero."}}
draw.robustness_dots(bad[bad["labels"] == 0])
plt.show()

# %% mystnb={"figure": {"name": "fig-far-bad-labels", "caption": "The same with 4 labelled target images."}, "image": {"alt": "Dot-and-interval chart with methods as rows and the change by each kind of bad source, a line at zero."}}
draw.robustness_dots(bad[bad["labels"] == 4])
plt.show()

# %% [markdown]
# Without labels the union has **no defence**: a head that says car in the background is believed, since noisy-or believes
# whoever is sure. Noise does it, and so does a source with inverted masks; one pot, which averages, loses less to noise. A
# shifted source even helps: most of what it marks lies on the car after all. Four labelled images of the target, which
# teach the union as a whole, liars included, cure one network with heads. Sub-networks they cure by half at most: perhaps
# because each has an encoder of its own that can fit four images and go on believing its source elsewhere. Two to three seeds with
# labels so far.
#
# ## A source less
#
# If the union completes a car from its parts, then the part whose source is gone must be lost, and no other.

# %% mystnb={"figure": {"name": "fig-far-removal", "caption": "MSTL-plus without target labels: change of Dice (first column) and of the recall of each part (columns) when a source (rows) is left out, in points, paired by test car and seed. A star: the 95 % bootstrap interval leaves out 0. From `make sweep SWEEP=masks`."}, "image": {"alt": "Heat map of changes in recall, removed sources by parts of the car."}}
from mstl.report.local import diagnosis
from mstl.report.local import figures as local

swept = diagnosis.swept(folder, photographs, "cars")
local.removal_matrix(diagnosis.removal(swept, "masks", "mstl_plus", 0))
plt.show()

# %% [markdown]
# ## Does attention find the own part?
#
# Here, if anywhere, it should: the sub-network of fronts has to tell fronts from the rest of the car. Bar P5 asks for an AUC of
# 0.8 of each sub-network's attention for the part that its source labels, on validation images, for every source.
# Cabins reach it, fronts nearly, rears do not: the bar is **missed**.

# %%
from mstl.report.grid.part_bars import attention_auc

tables = [comparison.load(folder, name, "curves") for name in sorted(spent["data"].unique())]
areas = attention_auc(pd.concat(tables))
areas.assign(method=areas["method"].map(comparison.variant_label)).style.format(precision=2).hide(
    axis="index"
)

# %% [markdown]
# ## The literal reading, one ingredient at a time
#
# MSTL as its abstract has it; each row is the changed model minus the literal one. Without labels no loss teaches its fused
# predictor anything: the union of its heads is all that it lacks. With four labels one ingredient is changed at a time.

# %%
literal = comparison.ablation(every, "mstl")
Markdown(text.ablation_lines(literal))

# %%
text.for_readers(literal[["change", "data", "recipe", "labels", "difference", "low", "high", "seeds"]])

# %% [markdown]
# Two ingredients carry it with four labels, and two do not. The **union** in place of the fused predictor wins 6.8 points. Without the
# **synchronised batch** it falls to 19: a predictor that fuses what sub-networks make of *different* target images cannot be taught
# by the mask of one ({doc}`04_synchronised_batches`). Adversary and attention change nothing that could be told from chance, nor
# does an adversary of 25 times the strength, whose gradient has 8 % of the size of the task's in place of 1 %.
#
# ## Another task: thin dark curves
#
# Vessels of the retina and cracks in roads share thin dark curves and nothing else. Target: 40 retinal images (Staal and
# others, 2004). Sources: 28 retinal images of children (Fraz and others, 2012) and 118 photographs of roads (Shi and others,
# 2016), all labelled whole; so this is neither of the two readings. Tiles of 48×72 pixels at full resolution
# (`python -m mstl tiles`), no image in two splits, `labels` counts tiles (`make sweep SWEEP=thin DATA_DIR_FOLDER=path/to/tiles`).

# %%
for name in results.available(thin):
    both = [comparison.load(thin, name, table) for table in ("cars", "runs")]
    for labels in sorted(both[0]["labels"].unique()):
        display(Markdown(f"{labels} labelled tiles:"), comparison.setting_table(*both, "own", labels))

# %% [markdown]
# No weight was tuned for this task. Nothing in these sources contradicts, and pooling is ahead of sub-networks, as on windows:
# 44.5 against 37.5 with four labelled tiles, and 41.3 against 39.4 with none, where an adversary on the pool adds 1.4. The
# source of eyes does nearly all of it: roads alone give 17. Four tiles are little, and what they show decides: seeds differ by
# twenty points and more, so that the first of these two differences is open (-7.0, -17.6 to 0.3).
#
# **Next:** {doc}`16_pool_or_split`
