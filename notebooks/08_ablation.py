# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which ingredient carries it, and when does it not?
#
# MSTL has five ideas, and each is a switch. This page turns one switch at a time, then changes the situation: more
# labels, more sources, a bad source. Numbers are drawn from `results/grid/`, made by `make sweep SWEEP='main labels more ablation'`.
#
# | | |
# |---|---|
# | You will see | the effect of every ingredient with its interval, the score against labels, sources and time, and what a harmful source costs |
# | Run time | about a minute: nothing is trained here |
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
from IPython.display import HTML, Markdown, display

from mstl.report import plots, results
from mstl.report.grid import comparison, explorer
from mstl.report.grid import figures as draw
from mstl.report.grid import text as text

plots.style()

# %% tags=["parameters"] nbmake={"mock": {}}
photographs: str = "carparts"  # whose curves to show, as numbers only, if they were run
data: str = "studio"  # whose curves to show otherwise
folder: str = "../results/grid"  # folder of the sweep's tables
recipe: str = "parts"  # recipe of the curves
labels: int = 4  # labelled target images where they are not what varies

# %%
shown = photographs if photographs in results.available(folder) else data
runs, cars = (comparison.load(folder, shown, table) for table in ("runs", "cars"))
every = comparison.everything(folder, "cars")
whole = comparison.unchanged(cars)
recipe, labels, instead = comparison.shown_setting(whole, recipe, labels)
Markdown("\n\n".join(filter(None, (text.describe(runs) + comparison.left_out(folder, shown), instead))))

# %% [markdown]
# ## One switch at a time
#
# Turn one switch: MSTL-plus with that one thing changed, minus MSTL-plus as it is, on the same cars and seeds, in every
# setting in which it was run. Left of zero, the
# change costs points, so what it removes was useful. An interval that holds zero means: not distinguishable with these
# seeds and cars, which is not the same as *no effect*. And with so many rows about one in twenty would stay clear of zero by chance
# alone: a single row is a hint, not a finding.
#
# In some runs a switch of the adversary changes nothing at all. MSTL-plus closes the adversarial game for a source whose share of
# foreground is far from the target's, and while it is closed such a switch has nothing to act on: the gradient ratio in the log of that
# run is 0.

# %%
HTML(explorer.switchboard("grid"))

# %%
changes = comparison.ablation(every)
Markdown(text.ablation_lines(changes))

# %% tags=["answer"]
here = {"data": shown, "recipe": recipe, "labels": labels}
chosen = changes[(changes[list(here)] == pd.Series(here)).all(axis=1)]
Markdown(f"{text.ablation_lines(chosen)}\n* {text.ideas_line(changes)}")

# %% tags=["picture"] mystnb={"figure": {"name": "fig-ablation", "caption": "Effect of each change of MSTL-plus on the score, in points, with its 95 % paired bootstrap interval over seeds and cars; one marker for each setting. Left of zero the change does harm. An effect beyond the edge is written beside its arrow. From `make sweep SWEEP=ablation`."}, "image": {"alt": "Forest plot with changes as rows and their effect on the score with intervals, a line at zero."}}
draw.ablation_forest(changes)
plt.show()

# %%
text.for_readers(changes[["change", "data", "recipe", "labels", "difference", "low", "high", "seeds"]])

# %% [markdown]
# ## How many labels?
#
# Transfer is for those who have few labels. With many, target only catches up, and there is nothing left to win.

# %%
few = [
    "target_only",
    "source_combine",
    "source_combine+mean_teacher=10+steps=770",  # the control at equal time
    "mstl",
    "mstl_plus",
    "oracle",
]
budget = comparison.label_budget(cars, recipe, few)
numbers = comparison.source_numbers(cars, recipe, labels, few)

# %% mystnb={"figure": {"name": "fig-budget", "caption": "Score against the number of labelled target images, with 95 % bootstrap bands over seeds and cars. The oracle always sees the labels of all target training images. From `make sweep SWEEP='main labels'`."}, "image": {"alt": "Line chart of the score over 0, 4, 8, 16 and 32 labels, a line with its own marker and band for each method."}}
figure, ax = plt.subplots(figsize=(7.5, 4))
draw.interval_curves(budget, "labels", ax, "labelled target images")
plt.show()

# %%
best = comparison.against_best(whole[whole["recipe"] == recipe])
Markdown(text.difference_lines(best, "MSTL-plus", "{rival}, the best rival there"))

# %% [markdown]
# ## How many sources?

# %% mystnb={"figure": {"name": "fig-sources", "caption": "Score against the number J of sources, with 95 % bootstrap bands over seeds and cars. The recipe divides the same car in J parts, so more sources also mean smaller parts. From `make sweep SWEEP='main more'`."}, "image": {"alt": "Line chart of the score over the number of sources, a line with its own marker and band for each method."}}
figure, ax = plt.subplots(figsize=(7.5, 3.6))
draw.interval_curves(numbers, "sources", ax, "sources J")
plt.show()

# %% [markdown]
# ## What does a bad source cost?
#
# A *useless* source is noise with random masks. A *harmful* one repeats a source with its masks inverted: it teaches the
# opposite. Both are added to the true sources. {term}`Negative transfer` is what they cost.

# %%
rows = cars[cars["labels"] == labels]
bad = comparison.unchanged(comparison.robustness(rows).query("recipe == @recipe"))
text.with_and_without(comparison.unchanged(rows), recipe)

# %%
Markdown(text.difference_lines(bad, "{method} with a {extra} source", "without it"))

# %% [markdown]
# Is the source called harmful harmful? The line of source combine says so: where its interval holds zero, pooling hardly suffers, and
# what a method gains over pooling there is no protection against harm.

# %% mystnb={"figure": {"name": "fig-robustness", "caption": "Score with an added useless or harmful source minus the score without it, on the same cars, in points, with the 95 % paired bootstrap interval over seeds and cars. From `make sweep SWEEP=main`."}, "image": {"alt": "Dot-and-interval chart with methods as rows and the change by a useless and by a harmful source, a line at zero."}}
draw.robustness_dots(bad)
plt.show()

# %% [markdown]
# ## What does it cost in time?
#
# Equal steps are not equal work: J sub-networks take J times the work of one. Open markers are the same methods with other
# numbers of steps, half-filled ones have a mean teacher added.

# %% mystnb={"figure": {"name": "fig-time", "caption": "Seconds of training (logarithmic) against the score with its 95 % interval; thin lines join variants of one method. Seconds are those of the machine that ran the sweep, several runs at a time. From `make sweep SWEEP=main`."}, "image": {"alt": "Scatter plot of training seconds on a logarithmic axis against the score, one marker for each method."}}
summary = comparison.summarise(comparison.choose(whole, recipe, labels))
draw.time_against_score(summary, comparison.choose(runs, recipe, labels))
plt.show()

# %% [markdown]
# ## And on other data?

# %%
for other in results.available(folder, besides=shown):
    elsewhere = comparison.load(folder, other, "cars")
    cost = text.difference_lines(
        comparison.robustness(elsewhere), "{method}, {extra} source added,", "without it"
    )
    display(Markdown(f"A bad source on **{other}**:\n\n{cost}"))

# %% [markdown]
# ## Summary
#
# What the switches did is in {numref}`fig-ablation`, and in words, computed, above it. An ingredient whose interval holds
# zero has not earned its place *in this setting*: it may in another, or at another size. The studies that led to the
# defaults are in {doc}`../book/paper`.
#
# ## Exercises
#
# 1. Two changes each cost one point. May you conclude that both together cost two?
# 2. Why are the intervals in {numref}`fig-ablation` narrower than the bands in {numref}`fig-budget`?
#
# ```{dropdown} Solution to 1
# No. Ingredients can replace each other, so that removing one costs nothing while the other is there. One switch at a
# time does not show that.
# ```
#
# ```{dropdown} Solution to 2
# They are paired: the same cars stand on both sides, and how hard a car is cancels.
# ```
#
# **Next:** {doc}`09_local_features`
