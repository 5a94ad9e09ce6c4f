# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What it costs
#
# How long does this take, compared with what you would write yourself? How far is it from what the machine can do at best? And
# what happens with more sources, larger images, more data? Seconds answer none of these: they belong to one machine on one day. So this
# page shows **ratios**: two things that took turns in one run. Where seconds appear, they are there to add up.
#
# Each ratio is the median over rounds, with the lowest and the highest round beside it; the range is wide where others used the machine at the same time. A *bar* is what was asked for before anything was measured. Where
# one is missed, the table says by how much and why.
#
# | | |
# |---|---|
# | You will see | our loop against a plain one, the distance to the machine's limit, growth, levers that pay and that do not |
# | Run time | some seconds: nothing is measured here |
# | Device | any; the numbers are those of the device named below |

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

from mstl.report import cost as speed
from mstl.report import plots

plots.style()

# %% tags=["parameters"] nbmake={"mock": {}}
folder: str = "../results/bench"  # folder of the tables that `make bench` writes

# %% tags=["answer"]
rows = speed.load(folder)
Markdown(f"{speed.summary(rows)}\n\n{speed.steps(rows)}")

# %%
Markdown(speed.bars_table(rows))

# %% mystnb={"figure": {"name": "fig-bars", "caption": "Every bar: how many times better than asked the measured ratio is, median and range over rounds. Left of 1 the bar is missed. From `make bench`."}, "image": {"alt": "Dots with ranges on a logarithmic axis, one row for each bar, circles where it is met and crosses where it is missed, a line at one."}}
speed.bar_dots(rows)
plt.show()

# %% [markdown]
# ## Against what you would write
#
# Three loops train the networks of MSTL on the same task, with the same number of threads on the same cores:
#
# * **plain loop**: as released code of this field is written. A `DataLoader` for each domain decodes photographs in every epoch, everything is float32,
#   each domain has a forward pass of its own, each source draws its own target batch, and `.item()` fetches every loss in each step.
# * **plain loop as advised**: the same after what every performance guide says. A worker process for each loader, which stays; mixed precision; no `.item()`.
# * **ours**: decoded once and gathered from memory, one forward pass where sizes agree, mixed precision where it pays, one target batch for
#   all sub-networks, and no mask computed that no loss reads.
#
# What a loop gains depends on what a photograph costs to decode. So there are two sizes: that of Carvana's photographs, the paper's data, and the small ones of the embedded data. The plain loops
# neither augment nor average weights nor train discriminators beyond one update; ours does all three in the same time.

# %% tags=["picture"] mystnb={"figure": {"name": "fig-peers", "caption": "Images a second (further right is better) and peak memory of all processes together (further left is better), three loops on the same cores. Median and range over rounds. From `python benchmarks/bench_train.py`."}, "image": {"alt": "Two dot plots with a row for each size of photographs: images a second and peak memory of the plain loop, the advised loop and ours."}}
speed.peers(rows)
plt.show()

# %%
speed.values_table(speed.choose(rows, "train", "step time"))

# %% [markdown]
# Memory counts every process: the peak of the main one, and what the workers hold for themselves.

# %%
speed.values_table(speed.choose(rows, "train", "peak memory"))

# %% [markdown]
# Fast steps are worth nothing if more of them are needed. So here is the time until the cars held out for validation are segmented with a given Dice,
# reading and decoding of the data included. Ours decodes everything once before its first step; in a second run it finds the result. The weights that
# are evaluated are those a user gets: the last ones of the plain loops, the averaged ones of ours, which lag behind at first.

# %%
Markdown(speed.time_to_dice(rows))

# %% [markdown]
# The distance of Maximum Mean Discrepancy, written down as a textbook does, needs the differences of all pairs of rows: $n^2 d$ numbers.
# From one Gram matrix it needs $n^2$. Bandwidths that double from one to the next need one exponential instead of five:
# $e^{-x/b}$ is the square of $e^{-x/2b}$. Values and gradients are equal, which is checked in the same run.

# %%
speed.values_table(speed.choose(rows, "mmd", "textbook over ours"))

# %% [markdown]
# ## Against the limit
#
# What can no loop avoid? The forward and backward passes of its networks and the update of their weights, on a batch that lies there already. We call this *bare compute*.
# The rest is ours to answer for: drawing, augmenting and gathering a batch, averaging weights, bookkeeping.

# %%
speed.values_table(rows[rows["table"] == "step"])

# %% [markdown]
# And what could the machine do with bare compute? We count the floating-point operations of a step, and the bytes that its operations
# read and write, and divide by what this machine reaches for a large matrix product and for a large copy, measured in the same run. A convolution of
# few channels is no large matrix product, so a ratio near 1 is out of reach for such small networks; the ratio says how much a better
# library could give, and that it is not the loop around it.

# %%
speed.values_table(rows[rows["table"] == "limit"])

# %% [markdown]
# ## Growth
#
# A power law is a straight line when both axes are logarithmic, and its slope is the exponent. An exponent of 1 over the sources means
# that each costs as much as the one before; 2 over the side of an image means that each pixel does.

# %% mystnb={"figure": {"name": "fig-growth", "caption": "Step time over the number of sources, the side of a square image and the batch, one of them varied at a time, with the fitted power law (dashed). Both axes are logarithmic. From `python benchmarks/bench_growth.py`."}, "image": {"alt": "Three panels of step time with dots and a dashed line each: over sources, over pixels on a side and over the batch; all rise."}}
speed.growth(rows)
plt.show()

# %% [markdown]
# Images are decoded once to a file that is mapped into memory. Its pages stay there as long as there is room, and a batch gathered from them costs as much as one from
# plain memory. It rises slowly, because many images fit worse into the processor's caches than few, and stays far below a step. The dotted line is where this machine's memory ends.
# Beyond it pages come from the disk. What grows in proportion to the number of images is opening the store, because a checksum of every pixel is compared before any is believed.

# %% mystnb={"figure": {"name": "fig-store", "caption": "Milliseconds to gather a batch of 32 images with masks from memory and from the mapped file, and to open the store, over the number of images of 64×96 pixels. Both axes are logarithmic. From `python benchmarks/bench_growth.py`."}, "image": {"alt": "Lines over the number of images: gathering from memory and from the mapped file rises slowly, opening the store rises in proportion."}}
speed.store(rows)
plt.show()

# %%
speed.values_table(speed.choose(rows, "growth", "exponent"))

# %% [markdown]
# ## Levers
#
# What every performance guide recommends was tried, at two profiles. Right of the line a lever would pay; each was first checked to compute the same. What
# is missing in the engine is missing because it did not pay here, or paid only where nobody waits.

# %% mystnb={"figure": {"name": "fig-levers", "caption": "How many times faster each lever makes what it acts on, against what the engine does, at two profiles; median and range over rounds. From `python benchmarks/bench_levers.py`."}, "image": {"alt": "Dots with ranges on a logarithmic axis, a row for each lever and a marker for each profile, a line at one."}}
speed.lever_dots(rows)
plt.show()

# %%
speed.values_table(rows[rows["table"] == "levers"])

# %% [markdown]
# One lever has no row: nothing in the loop waits for a device. Between two lines of the log no value that the device computes is read, for any
# method; a test counts the reads. On a CPU that gains nothing, on a GPU it is what lets the next step be prepared while this one runs.
#
# ## Start and the whole
#
# `import mstl` alone loads nothing large. What training needs is loaded when it is asked for, and that is mostly libraries:

# %%
speed.values_table(rows[(rows["table"] == "start") & ~rows["quantity"].str.startswith("make")])

# %% mystnb={"figure": {"name": "fig-minutes", "caption": "Processor-minutes of `make reproduce`: training by method, all seeds together, and the pages of the book. From the results and notebooks that the last one left, by `python benchmarks/bench_start.py`."}, "image": {"alt": "Horizontal bars of minutes, longest first, for the methods that were trained and for each page of the book."}}
speed.minutes(rows)
plt.show()

# %% [markdown]
# ## What this page does not show
#
# * A GPU: that is {doc}`12_gpu`.
# * Another framework. Both peers are PyTorch, as the code of this field is.
# * That a ratio holds on your machine. Slow disks favour us, many cores favour the advised loop.
#
# ## Try it yourself
#
# ```bash
# make bench                                # everything, and what has fallen against the baseline
# python benchmarks --only train mmd        # some of it
# python benchmarks/bench_train.py --help   # sizes, cores, rounds
# ```
#
# `benchmarks/baseline.json` holds the ratios that were reached, with a tolerance. `make bench` prints each beside its baseline and says clearly which one fell.

# %%
speed.commands(rows)

# %% [markdown]
# ## Summary
#
# * {numref}`fig-bars` shows what was asked for and what came out, the bars that are missed included.
# * What a plain loop loses, it loses in decoding the same photographs again and again, and in float32 where the processor can do better ({numref}`fig-peers`).
# * Cost grows about in proportion to sources, pixels and batch, and hardly with the number of images ({numref}`fig-growth`, {numref}`fig-store`).
#
# ## Exercises
#
# 1. Why do the loops take turns, instead of one being measured after the other?
# 2. The advised loop has more processes than ours. Why may it still use no more cores in this comparison?
#
# ```{dropdown} Solution to 1
# A machine gets warmer, and others use it. Whatever changes slowly then meets both alike, and the ratio of one round is not touched by it.
# ```
#
# ```{dropdown} Solution to 2
# With as many cores as it likes it would be compared with another machine. The question is what to do with the cores that are there; free ones could serve a second run of ours, too.
# ```
#
# **Next:** {doc}`12_gpu`
