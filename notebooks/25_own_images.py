# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your images in ten minutes
#
# You have many images, drew a few masks by hand, and want the other masks. Bring a zip file with two folders:
#
# ```text
# my-images.zip
#   images/   a.jpg  b.jpg  c.jpg  …     all of them
#   masks/    a.png  b.png               those that you drew: black background, any other colour for the object
# ```
#
# Nothing at hand? Then run all cells as they are: the page packs such a zip from the studio's rendered cars. Outside of Colab
# open the `.ipynb` in Jupyter or in an editor that runs notebooks, or let it run by itself from the repository's folder:
# `papermill notebooks/25_own_images.ipynb mine.ipynb -k python3 --cwd notebooks -p zip_file /path/to/my-images.zip`.
#
# | | |
# |---|---|
# | You will see | what was read of your images, a network that learns from few masks and many bare images, its masks side by side, and a zip of them |
# | Run time | minutes on two CPU cores; the last line before the summary says how long yours took |
# | Device | chosen by itself: a GPU if there is one, else the CPU |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from mstl import TrainConfig
from mstl.data import task_of
from mstl.data.recipes import bundle
from mstl.report import own, plots
from mstl.run.inference import predict_folder
from mstl.run.train import train
from mstl.system.project import from_notebooks

plots.style()
opened = time.perf_counter()

# %% [markdown]
# ## Bring them
#
# On Colab drop the zip into the file browser at the left, and write its name below. A folder does as well as a zip.

# %% tags=["parameters"] nbmake={"mock": {"profile": "tiny", "images": 24, "out": "../_build/nbmake/own-images"}}
zip_file: str = None  # your zip file or folder, by its full path; without one it is made of the studio's cars
images: int = 64  # of the studio's zip
masks: int = 8  # of the studio's zip
tested: bool = None  # keep a quarter of your masks for a score; None does so from 12 masks on
grouped: bool = True  # names alike up to the last underscore show one object; False where names only count
partial: bool = False  # True where each source marks only a part of the object
method: str = None  # None is target_only, or with sources source_combine, of parts positive_unlabelled
mean_teacher: float = None  # weight of what bare images teach, 0 for nothing; None is 1, or 10 with sources
seed: int = 0  # of the split, the initial weights and the batches
profile: str = "quick"  # full wants a GPU, tiny is for tests
steps: int = None  # of the training; None is the profile's number, 250 of quick
overrides: str = ""  # hyper-parameters, such as an encoder and its weights
out: str = "../runs-own"  # folder for all that is made, in one named after the zip

# %%
out = Path(from_notebooks(out)) / (Path(zip_file).stem if zip_file else "studio")
kept_back = None
if zip_file is None:
    zip_file, kept_back = bundle.write_example(out / "example", images, masks)
found = bundle.opened(zip_file, out / "unpacked")
has_mask = found.has_mask()
few = sum(has_mask.values())
f"{len(has_mask)} images, {few} masks, sources: {', '.join(found.sources) or 'none'}"

# %% [markdown]
# ## What was read
#
# Every image is checked while it is read: size, orientation, colours of the mask, copies. What does not fit stops with
# one sentence that names the file. The line *… images have a mask* is worth a look: a mask whose name differs from its
# image's is an error, so that no typing slip makes an image bare.
#
# An image without a mask trains without one, and is nothing else. From 12 masks on a part of them is put aside to score
# the network; below that each mask is worth more as a teacher, and no score is given.

# %%
asked = TrainConfig(profile=profile)
tested = few >= 12 if tested is None else tested
options = dict(size=asked.profiled("size"), seed=seed, tested=tested, grouped=grouped, partial=partial)
unseen = task_of(found.sources, found.target, labels=0, **options)
labels = int(unseen.unlabelled.has_label.sum())
task = task_of(found.sources, found.target, labels=labels, **options)

# %% mystnb={"figure": {"name": "fig-own-read", "caption": "What was read, at the size at which the network sees it. Amber: masks. If amber lies beside the objects or around them, mend the masks before you train."}, "image": {"alt": "A contact sheet: a row of images with their masks in amber, and a row of images without a mask."}}
own.contact_sheet(task)
plt.show()

# %% [markdown]
# ## Train
#
# The network learns from the masks, and from the bare images through a *mean teacher*: the average of its own recent
# weights predicts each of them, and the network, which sees the image in other colours, must agree. If your zip holds
# `target/` and `sources/`, other images with masks of their own in a folder each, it learns from these, too:
#
# ```text
# my-images.zip
#   target/images/  target/masks/
#   sources/fronts/images/  sources/fronts/masks/
#   sources/cabins/images/  sources/cabins/masks/
# ```
#
# `overrides` changes hyper-parameters: `"encoder=tf_efficientnet_lite0 weights=imagenet"` begins with ImageNet
# ({doc}`../book/howto/trained-networks`).
#
# Do all sources mark the whole object? Then they are pooled, which {doc}`07_comparison` found hard to beat. If one marks fronts and
# another cabins, set `partial=True`: pooled they would contradict each other, and what a source leaves unmarked is
# taken for unknown ({doc}`14_labelled_parts`).

# %%
usual = ("source_combine", 10.0) if found.sources else ("target_only", 1.0)
usual = ("positive_unlabelled", 0.0) if found.sources and partial else usual
recipe = "own-alone" if not found.sources else "own-masks" if partial else "own"
config = TrainConfig(
    data="folder", recipe=recipe + ("" if tested else "-untested"), method=method or usual[0], labels=labels,
    seed=seed, profile=profile, steps=steps, overrides=overrides, out=str(out / "runs"),
    mean_teacher=usual[1] if mean_teacher is None else mean_teacher,
)  # fmt: skip
run = train(config, task=task)

# %% [markdown]
# ## The masks
#
# Every image of the target gets a mask of its own size. The command `python -m mstl predict` does the same
# ({doc}`../book/howto/own-data`).

# %%
device = pd.read_json(run / "manifest.json", typ="series")["device"]
written = predict_folder(str(run), str(found.target / "images"), str(out / "masks"))
minutes = (time.perf_counter() - opened) / 60
f"{len(written)} masks, {minutes:.1f} minutes after this page was opened, on {device}"

# %% [markdown]
# First the least that can be asked: can it redraw the masks in your zip, most of which it learned from? That is no score. A
# network that fails here has not learned yet, and its other masks are worth nothing.

# %%
learned = own.agreement(out / "masks", found.target / "masks")["dice"].mean()
instead = "set steps to 1000, begin with ImageNet, or draw more masks"
f"Dice {learned:.2f} on the masks in your zip: " + ("good" if learned > 0.8 else f"not learned: {instead}")

# %%
if tested:
    scores = pd.read_csv(run / "images.csv").groupby("split").dice.agg(["size", "mean", "min"]).round(3)
scores if tested else "no test: every mask was a teacher, so there is no score"

# %% mystnb={"figure": {"name": "fig-own-masks", "caption": "Images that had no mask, drawn at random, and below each what the network made of it."}, "image": {"alt": "Two rows of pictures: images above, and below each the same image with the predicted mask in amber."}}
own.side_by_side(run, task.unlabelled or task.labelled)
plt.show()

# %% [markdown]
# Of the studio's cars the true masks are known. None of them stood in the zip, so that they can judge now:

# %%
if kept_back:
    judged = own.agreement(out / "masks", kept_back)["dice"].agg(["size", "mean", "min"]).round(3)
judged.to_frame("Dice") if kept_back else "the masks of your own images are known to you alone"

# %% [markdown]
# ## Take them with you
#
# The masks of all images that had none, and the trained network. On Colab both come as downloads; elsewhere they lie in
# the folder `out`.

# %%
new = [file for file in written if not has_mask[file.stem]]
downloads = [own.zipped(new, out / "masks.zip"), own.zipped(run.iterdir(), out / "network.zip", "network")]
own.offer(downloads)

# %% [markdown]
# Unpacked anywhere, `network/` is a finished run: `predict` uses it on other images, and other runs can start from it
# ({doc}`../book/howto/trained-networks`).
#
# ## Summary
#
# * A zip with all images and a few masks is enough. Other labelled images, as sources, help if you have them.
# * Bare images take part in training; they are never scored, and nobody reads a mask of theirs.
# * A score needs masks that did not teach. With few masks there is none rather than a guess.
#
# ## Exercises
#
# 1. Set `mean_teacher=0`. What do the bare images bring?
# 2. Correct the five worst masks by hand, put them into `masks/`, and run again. What changes more: five masks, or
#    twice as many steps (`steps=500`)?
#
# ```{dropdown} Solution to 1
# Then the network learns from the masks alone. With the studio's zip the table after the masks shows the difference;
# with your images keep a quarter of the masks for a test, `tested=True`, and compare its Dice.
# ```
#
# ```{dropdown} Solution to 2
# Masks, as a rule: with few of them each shows an object that none of the others does, and that is where the network is
# wrong. {doc}`07_comparison` shows how the score grows with labels.
# ```
