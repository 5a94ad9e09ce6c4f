# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Full training on a GPU
#
# Everything else in this book was computed on two processor cores, at sizes that fit them. This page is about the profile `full`: images of 128×192,
# networks of width 32, thousands of steps. What does it take, is it the same computation, and where does the time go?
#
# | | |
# |---|---|
# | You will see | what a GPU computes as the CPU does, step times and memory, what several runs gain by sharing one GPU, a T4's settings |
# | Run time | some seconds; with `train=True` about ten minutes on a large GPU |
# | Device | any for reading; a GPU for training |

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

from mstl import TrainConfig
from mstl.report import plots
from mstl.report.grid import gpu

plots.style()

# %% tags=["parameters"] nbmake={"mock": {}}
folder: str = "../results/gpu"  # folder of the tables that `make gpu` writes
train: bool = False  # True trains the run below, on a GPU if there is one
method: str = "mstl_plus"  # what to train
steps: int = 6000  # updates; on Colab's T4 begin with 600
out: str = "../runs-full"  # folder that holds the runs

# %%
tables = gpu.load(folder)
Markdown(gpu.summary(tables))

# %% [markdown]
# ## Train it yourself
#
# Set `train=True` in the parameters cell, choose a GPU (on Colab: *Runtime*, *Change runtime type*) and run all cells. The run writes a checkpoint now and then
# and goes on where it stopped. bfloat16 is taken where the GPU has it, float16 where not; the data set lies on the GPU as bytes.

# %%
if train:
    from mstl.run.train import train as train_run

    config = TrainConfig(profile="full", method=method, steps=steps, ema=1 - 6 / steps, out=out)
    run = train_run(config)

# %% [markdown]
# ## The same computation
#
# A GPU adds up in another order, so nothing is equal to the last bit. But it must be equal up to rounding, for every method. A gradient is not continuous beside the kink of a ReLU: at the first
# start (commit 06eae9e) a pre-activation within rounding of zero moved gradients by up to two per cent, although the losses agreed to six digits, and tests failed for it. Since then these
# tests compare smooth activations.

# %%
Markdown(gpu.proofs(tables))

# %% [markdown]
# ## Where the time goes
#
# A step of MSTL launches thousands of small kernels from Python. For small images the GPU is done before the next launch arrives: a pass of three sub-networks takes as long at 48×72 as at 128×192. Recorded as
# one CUDA graph the same kernels need a fraction of that, and stacking the sub-networks helps where there are many of them. The engine does neither yet: this is what it could still gain.

# %% tags=["picture"] mystnb={"figure": {"name": "fig-gpu-passes", "caption": "Milliseconds of a forward and backward pass of J sub-networks on one batch, three ways, at three profiles; median and range over rounds. From `make gpu STEPS=speed`."}, "image": {"alt": "Three panels of time over the number of sub-networks: one after the other rises steeply, stacked stays flat for small images, a CUDA graph is lowest everywhere."}}
if "speed" in tables:
    gpu.passes(tables)
    plt.show()

# %%
gpu.gains(tables) if "speed" in tables else None

# %% [markdown]
# As long as a run waits for its launches, others can use the GPU: a sweep of small runs should share one. These two tables are of the first start (commit 475dc81), on a machine whose processor launched
# slowly. On another one with the same GPU, and on sources that label parts, a step of MSTL-plus at the profile `full` took 51 to 60 ms where it had taken 102, and sharing gained next to nothing (below).

# %%
gpu.sharing(tables) if "speed" in tables else None

# %% [markdown]
# ## What the full profile takes

# %%
gpu.minutes(tables) if "full" in tables else None

# %% [markdown]
# And on the free GPU of Colab, a T4 with 16 GB and no bfloat16? Its settings were imitated: float16, and 15 GiB of memory allowed. The arithmetic is still that of the GPU named above, so the times are not a
# T4's; memory and losses are.

# %%
gpu.in_float16(tables) if "t4" in tables else None

# %% [markdown]
# ## What came out
#
# Sources that label a part each ({doc}`14_labelled_parts`), photographs, images of 128×192, every method with as much *time* of the GPU as MSTL-plus, measured on the same GPU before the runs began
# (`make gpu STEPS=full`). Fifteen runs side by side: five seeds of three methods, first without target labels, then with four. Together they did no more work than one after the other
# (×1.0 and ×1.3): at this size the GPU itself is busy, and the steps they got are few.
#
# The rows with 90 GPU seconds are the same with thousands of steps, one seed (`make gpu STEPS=sweep SWEEP=full DATA_DIR_CARPARTS=path/to/photographs`).

# %%
gpu.at_equal_time(tables, folder)

# %% tags=["answer"]
Markdown(gpu.answer(tables, folder))

# %% [markdown]
# * Where one network has to learn from sources that contradict, training longer makes it **worse**: it learns the contradiction. On two cores at 48×72
#   it takes ten times the steps on photographs (two seeds), and fewer on rendered cars ({doc}`15_how_far`); here it is seen with one seed after 90 seconds.
# * Heads that are joined by their union hold, with a shared network as with sub-networks. But on that one seed sub-networks, which see one source each, lose eight points to one shared
#   encoder with a head for each source; at 48×72 it is that one which loses. With four labels and few steps they are ahead of it.

# %% [markdown]
# ## Summary
#
# * Losses, predictions, half precision and waiting were tested on a GPU for every method, resumption for three of them.
# * At the sizes of this book a GPU waits for Python; graphs, stacking and sharing are the levers, in this order.
# * MSTL-plus at the profile `full` fits a T4's memory several times over.
# * At 128×192 what page 14 found holds: pooling sources that contradict fails, and on one seed more so the longer it is trained.
#
# ## Exercises
#
# 1. Why does the stacked form lose to the loop at the profile `full`, although it launches fewer kernels?
# 2. Sixteen runs together do less than six times the work of one. What are they waiting for?
#
# ```{dropdown} Solution to 1
# There the kernels are large enough to fill the GPU: launches are hidden behind computing, and a grouped convolution of large images is slower than the same convolutions one by one.
# ```
#
# ```{dropdown} Solution to 2
# Processes take turns on a GPU, and each switch costs; beyond a number of processes the GPU itself is busy all the time.
# ```
#
# **Next:** {doc}`13_rivals`
