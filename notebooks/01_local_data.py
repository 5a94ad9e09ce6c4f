# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sources that are similar in part
#
# Most methods of transfer learning want a source that looks like the target. Here there is none: each source shares
# only *one part* with it. This page shows what that means, in pictures, and how such data are made from photographs.
#
# | | |
# |---|---|
# | You will see | the cars, the turntable, the part maps; how a window is cut; four recipes side by side; which car goes where |
# | Run time | less than a minute on one CPU core |
# | Device | CPU |

# %% tags=["colab"]
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mstl") is None:
    source = "mstl @ git+https://github.com/OWNER/mstl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from PIL import Image

from mstl.data import load, local_task
from mstl.report import plots, widgets

plots.style()

# %% tags=["parameters"] nbmake={"mock": {"height": 32, "width": 48}}
seed: int = 0  # of the splits and of the windows
labels: int = 8  # labelled target images
height: int = 64  # of a target image in pixels, a multiple of 8
width: int = 96  # of a target image in pixels, a multiple of 8

# %% [markdown]
# ## Local similarity
#
# Cut an image $x$ into regions $x_1, \dots, x_R$: the front of a car, its cabin, its rear, the background. Let $p_T$ be
# the distribution of the target's images and $p_{S_j}$ that of source $j$. The usual assumption is
# $p_{S_j}(x) \approx p_T(x)$. **Local similarity** asks for much less:
#
# $$
# p_{S_j}(x) \not\approx p_T(x) \ \text{ for every } j, \qquad \text{but} \qquad
# p_{S_j}(x_r) \approx p_T(x_r) \ \text{ for } r \in R_j .
# $$
#
# Source $j$ knows its own regions $R_j$ and nothing else. If the sets $R_1, \dots, R_J$ together cover the object, the
# sources *together* know the object, although none of them has ever shown it. That is the premise of MSTL, and the
# reason for its fusion ({doc}`04_synchronised_batches`).
#
# ## The studio
#
# To study this one needs images whose parts are known exactly, and which may be passed on. So we rendered our own: cars
# on a turntable in a photo studio, six body styles, with random proportions, paint and light. They come with this book.

# %%
from mstl.data.readers.studio import PART_NAMES, listing, locate
from mstl.system.cache import cache_folder

folder = locate(None, cache_folder())
cars = pd.read_csv((folder / "metadata.csv").open("rb"), dtype={"id": str})
one_of_each = cars.drop_duplicates("body_style").set_index("body_style")["id"]
print(f"{len(cars)} cars in {len(one_of_each)} body styles, {len(listing(folder).records)} images")

# %% [markdown]
# An image is found by its car and its view. Beside it lie two more files: the mask, and a map that says for every pixel
# which part of the car it shows.


# %%
def pixels(car, view, kind="train", ending=".jpg"):
    array = np.array(Image.open((folder / kind / f"{car}_{view:02d}{ending}").open("rb")))
    return torch.from_numpy(array).reshape(*array.shape[:2], -1).permute(2, 0, 1)


# %% mystnb={"figure": {"name": "fig-body-styles", "caption": "The six body styles of studio, one car each, in six of the sixteen views. Rendered by `make studio`."}, "image": {"alt": "A grid of rendered cars in a photo studio: a sedan, a hatchback, an estate, an SUV, a pickup and a van, each seen from the front, the side, the rear and between."}}
shown = (1, 3, 5, 7, 9, 15)
rows = [[plots.to_picture(pixels(car, view)) for view in shown] for car in one_of_each]
figure = plots.picture_grid(rows, list(one_of_each.index))
for ax, view in zip(figure.axes, shown, strict=False):
    ax.set_title(f"view {view}")
plt.show()

# %% [markdown]
# The view numbers are those of Carvana's photographs: 1 is the front, 5 a side with the front at image left, 9 the rear,
# 13 the other side. One step is 22.5°. Turn the table with the slider; it needs no running kernel.
#
# Mask and part map are *rendered*, from the same geometry as the image. Nobody drew them, so they have no errors of
# drawing: even a mirror is exact to the pixel.


# %%
def three_pictures(car, view):
    image = pixels(car, view)
    mask = pixels(car, view, "train_masks", "_mask.gif")
    parts = pixels(car, view, "parts", ".png")
    return [plots.to_picture(image), plots.overlay(image, mask), plots.part_overlay(image, parts)]


# %%
turning = one_of_each["hatchback"]
turn = [
    widgets.jpeg(plots.picture_grid([three_pictures(turning, view)], [""], width=9.5))
    for view in range(1, 17)
]
widgets.frames(turn, [f"view {view}" for view in range(1, 17)], "turntable")

# %% mystnb={"figure": {"name": "fig-part-maps", "caption": "Image, mask (amber) and part map of three cars. The body is cut into front, cabin and rear; wheels, glass, lights and mirrors are parts of their own."}, "image": {"alt": "Three rows of three pictures: a rendered car, the same car with its mask in amber, and the same car with its parts in seven colours."}}
chosen = [("sedan", 3), ("suv", 12), ("pickup", 7)]
figure = plots.picture_grid(
    [three_pictures(one_of_each[s], view) for s, view in chosen], [s for s, _ in chosen]
)
for ax, title in zip(figure.axes, ("image", "mask", "part map"), strict=False):
    ax.set_title(title)
plots.legend(PART_NAMES, plots.PART_COLOURS, figure)
plt.show()

# %% [markdown]
# ## On disk
#
# The files lie as Carvana's do: images in `train/`, masks in `train_masks/`, one line a car in `metadata.csv`. So one
# reader serves both. The folder `parts/` is our addition. All of it comes in one file, `data/studio.zip`, out of which
# it is read without unpacking.

# %%
places = {"train/*.jpg": ["train"], "train_masks/*.gif": ["train_masks"], "parts/*.png": ["parts"]}
places["chimeras/*/train/*.jpg"] = [f"chimeras/{part}/train" for part in ("front", "cabin", "rear")]
for pattern, names in places.items():
    files = sorted((file for name in names for file in (folder / name).iterdir()), key=str)
    size, first = sum(len(file.read_bytes()) for file in files), str(files[0]).removeprefix(f"{folder}/")
    print(f"{len(files):5} × {pattern:24} {size / 1e6:5.1f} MB   {first}")

# %%
cars.head(3)

# %% [markdown]
# A **domain** is what a reader makes of such a folder: images, masks and part maps as tensors of bytes, with the car and
# the view of each. It is read at the working size, here that of the parameters cell.

# %%
whole = load("studio", (height, width))
print(
    f"images {tuple(whole.images.shape)} {whole.images.dtype}, {whole.images.nbytes / 1e6:.0f} MB in memory"
)
print(f"masks  {tuple(whole.masks.shape)}, parts {tuple(whole.parts.shape)}: {', '.join(whole.part_names)}")

# %% [markdown]
# ### Decode once, then gather
#
# Decoding a JPEG costs far more than copying the pixels it holds, and training would do it again in every epoch. So the
# **store** decodes each file once, keeps the bytes on disk under a hash of their content, and hands them out as one
# tensor. A batch is then a plain gather. How much is that worth? Measured here and now, on the same eight images:

# %%
from timeit import repeat

from mstl.data.readers.pixels import read_image

records = listing(folder).records
rows = np.random.default_rng(seed).choice(len(whole), 8, replace=False)
stored = read_image(records[0].image, whole.size)[1]
decoding = min(repeat(lambda: [read_image(records[row].image, whole.size) for row in rows], number=1))
gathering = min(repeat(lambda: whole.images[rows], number=10, repeat=50)) / 10
print(f"8 images: decoded in {1e3 * decoding:.2f} ms, gathered in {1e3 * gathering:.3f} ms,")
print(f"{decoding / gathering:.0f} times faster. On disk each has {' × '.join(map(str, stored))} pixels.")

# %% [markdown]
# Carvana's photographs measure 1918 × 1280 pixels, and there the ratio is larger still.
#
# ### Which part is seen from where
#
# Part maps answer that by counting. It is the first hint at what a recipe can do *without cutting anything*: a view from
# the front shows no rear, and a view at 45° shows a little of everything.

# %% mystnb={"figure": {"name": "fig-part-by-view", "caption": "Share of the car's pixels that show a part (rows), for each view (columns), mean over all cars of studio. Below the view: its use in the recipe views, explained further down."}, "image": {"alt": "Heat map of seven parts by sixteen views. The front is seen in the first and last views, the rear in the middle ones, the cabin and the glass in all."}}
from mstl.data.recipes.local import VIEWS

share = pd.DataFrame(
    {name: ((whole.parts == k).sum((1, 2, 3)) / whole.masks.sum((1, 2, 3))).numpy()
     for k, name in enumerate(PART_NAMES, start=1)}
)  # fmt: skip
ax = plt.subplots(figsize=(9, 3))[1]
by_view = share.groupby(whole.views).mean().T
sns.heatmap(by_view, annot=True, fmt=".0%", cmap="cividis", ax=ax, cbar=False, annot_kws={"size": 8})
use = {view: name for name, members in VIEWS.items() for view in members}
ax.set_xticklabels([f"{view}\n{use.get(view, 'target')}" for view in by_view], fontsize=8)
plt.show()

# %% [markdown]
# ## Cutting a window
#
# The paper's authors made their data set from Carvana's photographs, and how they cut them is not public. Our recipe
# `parts` is a reconstruction of the *idea* ({doc}`../book/data-card`). Source $j$ sees its cars through a window over one
# region $R_j$: the front, the cabin or the rear. The window is a square of about half the height of a target image, at the
# same scale. Of all its positions $w$ we take the one with the least
#
# $$
# \ell(w) = \Big|\, |w \cap R_j| - \tfrac12 |w| \,\Big| + |w \cap (C \setminus R_j)| ,
# $$
#
# where $C$ is the whole car and $|\cdot|$ counts pixels. The first term wants half of the window filled: a window full of
# car leaves no outline to learn. The second keeps the other parts out. Equally good positions are decided by the
# distance to the region's centre, and then a few pixels of jitter are added.

# %%
from mstl.data.recipes import regions, windows
from mstl.data.recipes.local import window_size

names = regions.LAYOUTS[3]
window = window_size(whole.size, names)
row = np.flatnonzero((whole.groups == one_of_each["estate"]) & (whole.views == 4))
where = regions.regions(whole.select(row), names)
corners = [windows.over(where, j, window)[0][0] for j in range(len(names))]
print(f"windows of {window[0]} × {window[1]} pixels in images of {height} × {width}")

# %% mystnb={"figure": {"name": "fig-windows", "caption": "Left: one car with the windows over its front, cabin and rear. Right: what the three sources would see of it, at the target's scale, with the mask in amber. In the task each car gives windows to one source only."}, "image": {"alt": "A side view of an estate car with three coloured rectangles over front, cabin and rear, and beside it the three cut-out windows with their masks."}}
car = whole.select(row)
figure, axes = plt.subplots(1, 4, figsize=(9, 2.1), width_ratios=(width / height, 1, 1, 1))
axes[0].imshow(plots.to_picture(pixels(one_of_each["estate"], 4)), extent=(0, width, height, 0))
for ax, name, (y, x), colour in zip(axes[1:], names, corners, plots.PART_COLOURS, strict=False):
    axes[0].add_patch(plt.Rectangle((x, y), *window[::-1], fill=False, color=colour, lw=2.5))
    cut = windows.cut(car, np.array([[y, x]]), window)
    ax.imshow(plots.framed(plots.overlay(cut.images[0], cut.masks[0]), colour, 1))
    ax.set_title(name)
for ax in axes:
    ax.axis("off")
plt.show()

# %% [markdown]
# The mask is cut with the image, so a source's mask never says "the car goes on over there". And two kinds of image are
# left out: those that hide the region, and those whose best window shows mostly other parts.

# %%
print(f"hidden: the region holds less than {windows.VISIBLE:.0%} of the car's pixels")
print(f"impure: less than {windows.PURE:.0%} of the car's pixels in the window belong to the region")

# %% [markdown]
# ### How pure are the windows?
#
# The task knows. For each source, below: how much of a window the car fills, in the mean and at least, and how much of that
# car belongs to front, cabin and rear. What
# remains to 100 % are wheels and lights, which no region claims. (A cabin window holds the side of the car, so some of the
# neighbours always comes with it; and jitter moves windows off their best place.)

# %%
task = local_task("studio", "parts", labels=labels, seed=seed, size=(height, width))


# %%
def contents(source):
    held = regions.by_parts(source).sum((1, 2, 3)) / int(source.masks.sum())
    filled = source.masks.float().mean((1, 2, 3))
    counts = {"images": len(source), "cars": len(set(source.groups))}
    counts |= {"car in a window, mean": filled.mean(), "least": filled.min()}
    return counts | dict(zip(names, held, strict=True))


table = pd.DataFrame({source.name: contents(source) for source in task.sources}).T
table.style.format("{:.0%}").format("{:.0f}", subset=["images", "cars"])

# %% [markdown]
# ## A style for each source
#
# Collections differ in more than their motif. Each source of `parts` therefore has a photographic **style** of its own:
# its light, its backdrop, its blur. The styles are integer arithmetic on bytes, so that everyone gets the same bytes. The
# target keeps its photographs as they are. The recipe `parts-plain` leaves the styles away, which tells the two
# differences, in content and in appearance, apart.

# %% mystnb={"figure": {"name": "fig-styles", "caption": "The same windows without (recipe parts-plain) and with their style (recipe parts)."}, "image": {"alt": "Three pairs of rows of cut-out windows. Each pair shows the same windows in studio light and in a style: blue night, warm tungsten light before bricks, pale fog before stripes."}}
from mstl.data.recipes.styles import STYLES

plain = local_task("studio", "parts-plain", labels=labels, seed=seed, size=(height, width))
some = np.random.default_rng(seed).choice(min(map(len, task.sources)), 8, replace=False)
rows, titles = [], []
for before, after, style in zip(plain.sources, task.sources, STYLES, strict=False):
    rows += [[plots.to_picture(domain.images[i]) for i in some] for domain in (before, after)]
    titles += [before.name, style.name]
plots.picture_grid(rows, titles)
plt.show()

# %% [markdown]
# ## Four recipes
#
# A **recipe** turns a data set into $J$ labelled sources and a target.
#
# ### `parts`: the parts of other cars
#
# The default, just described. No source image shows a whole car; every target image does.

# %% tags=["picture"] mystnb={"figure": {"name": "fig-recipe-parts-montage", "caption": "Recipe parts, J = 3: random images of the three sources and of the target, masks in amber. Data: studio, seed 0."}, "image": {"alt": "Four rows: windows on car fronts in blue night light, on cabins in warm light, on rears in fog, and whole cars in the studio."}}
plots.domain_montage(task, seed=seed)
plt.show()

# %% [markdown]
# ### `masks`: whole cars, of which each source labels one part
#
# "Local" has a second reading: not in what a source *shows* but in what it *labels*. Three collections of whole cars, the
# first annotated for fronts, the second for cabins, the third for rears: every annotator knows such data. With the whole
# car $M$ and its parts $P_1, \dots, P_J$, source $j$ says "object" on $P_j$ and "background" on all else,
#
# $$
# P_j \cap P_k = \emptyset , \qquad \bigcup_j P_j = M .
# $$
#
# What no region claims, such as wheels, belongs to the nearest one, so that the union is the whole. Where a view hides the
# part, the mask is empty. The target is that of `parts`, to the last image.

# %% mystnb={"figure": {"name": "fig-recipe-masks-montage", "caption": "Recipe masks, J = 3: random images of the three sources and of the target, masks in amber. Data: studio, seed 0."}, "image": {"alt": "Four rows of whole cars in one studio light. Amber lies on the fronts in the first row, on the cabins in the second, on the rears in the third, and on whole cars in the fourth."}}
masks = local_task("studio", "masks", labels=labels, seed=seed, size=(height, width))
plots.domain_montage(masks, seed=seed)
plt.show()

# %% [markdown]
# Windows do not contradict each other, for what a window hides it does not call background. These sources do. Below: how
# many images of a source show its part, how much of the car that part is, and what a network hears that is trained on all
# sources at once: how often a pixel of a car is called car. Below a half, the likelier answer is always "background";
# {doc}`14_labelled_parts` says what our loss makes of that.

# %%
cars_of = [(source.parts > 0).sum() for source in masks.sources]
rows = {
    source.name: {
        "images": len(source),
        "show the part": source.masks.flatten(1).amax(1).float().mean(),
        "part of the car": source.masks.sum() / car_pixels,
    }
    for source, car_pixels in zip(masks.sources, cars_of, strict=True)
}
called = sum(source.masks.sum() for source in masks.sources) / sum(cars_of)
print(f"of all car pixels in the sources, called car: {called:.0%}")
print(f"test images as in parts: {torch.equal(masks.test.images, task.test.images)}")
pd.DataFrame(rows).T.style.format("{:.0%}").format("{:.0f}", subset=["images"])

# %% [markdown]
# (`masks-styled` gives each source its style, `masks-overlap` lets parts share their borders, and `masks-mixed` has one
# source that labels the whole.)
#
# ### `views`: whole cars from other sides
#
# Nothing is cut. Sources show cars from the front, from the rear and from the sides, and the target shows them at 45°,
# where each image shares one visible side with two of the sources. It is the control: source and target are *similar*, and
# a clever method should have little to win. (`views-styled` adds the styles.)

# %% mystnb={"figure": {"name": "fig-recipe-views-montage", "caption": "Recipe views, J = 3: front, rear and side views, and three-quarter views as target. Data: studio, seed 0."}, "image": {"alt": "Four rows of whole cars: from the front, from the rear, from the sides, and at an angle of 45 degrees."}}
views = local_task("studio", "views", labels=labels, seed=seed, size=(height, width))
plots.domain_montage(views, masks=False, seed=seed)
plt.show()

# %% [markdown]
# ### `chimeras`: one true part on a foreign body
#
# A window hides the rest of the car. A **chimera** shows a rest, and it is wrong: an object that carries one true part of a
# car on a body of random shape and material. The *whole object* is foreground. So source and target agree in one part
# *and nowhere else*, in content, not only in view. For the attention of MSTL ({doc}`03_attention`) this is the hardest
# and the fairest test: there is something in every source that should not be transferred.

# %% mystnb={"figure": {"name": "fig-recipe-chimeras-montage", "caption": "Recipe chimeras, J = 3: objects with the front, the cabin or the rear of a car on a foreign body, and whole cars as target. Data: studio, seed 0."}, "image": {"alt": "Four rows: strange objects that end in a car's front, carry a car's cabin or end in a car's rear, and whole cars."}}
chimeras = local_task("studio", "chimeras", labels=labels, seed=seed, size=(height, width))
plots.domain_montage(chimeras, masks=False, seed=seed)
plt.show()

# %% [markdown]
# ### What each domain contains
#
# The definition of local similarity, counted. In `parts`, the diagonal: each source shows much of its own part and little of
# the others, and the target has it all. In `views` every source has every part that can be seen from its side. In `chimeras` the
# largest share of every source is foreign.

# %% mystnb={"figure": {"name": "fig-contents", "caption": "Share of the object's pixels (columns: parts) in each domain (rows), for three recipes. Chimeras have an eighth part, the foreign body. Data: studio, seed 0."}, "image": {"alt": "Three heat maps of domains by parts. For parts and chimeras each source holds mostly one part of a car; for views all sources hold several; the target holds all parts."}}
figure, axes = plt.subplots(3, 1, figsize=(8, 5.6), sharex=True)
for ax, (recipe, made) in zip(
    axes, {"parts": task, "views": views, "chimeras": chimeras}.items(), strict=True
):
    held = {}
    for domain in (*made.sources, made.test):
        count = torch.bincount(domain.parts.flatten().int(), minlength=9)[1:]
        held["target" if domain is made.test else domain.name] = (count / count.sum()).numpy()
    columns = [*PART_NAMES, "foreign"]
    sns.heatmap(
        pd.DataFrame(held, columns).T, annot=True, fmt=".0%", cmap="cividis", vmax=0.8, ax=ax, cbar=False
    )
    ax.set_title(recipe, loc="left")
    ax.tick_params(axis="y", rotation=0)
plt.show()

# %% [markdown]
# Look at more of them. The menu holds twenty-four random images of every domain of these three.


# %%
def sheet(domain):
    some = np.random.default_rng(seed).permutation(len(domain))[:24]
    columns = 8 if domain.size[1] > domain.size[0] else 12
    figure, ax = plt.subplots(figsize=(8, 2.4))
    ax.imshow(plots.mosaic([plots.to_picture(domain.images[i]) for i in some], columns))
    ax.axis("off")
    return widgets.jpeg(figure)


# %%
looked_at = {
    f"{made.name.split('/')[1]}: {domain.name}": domain
    for made in (task, views, chimeras)
    for domain in (*made.sources, made.test)
}
widgets.menu([sheet(domain) for domain in looked_at.values()], list(looked_at), "show")

# %% [markdown]
# ## Splits, by car
#
# A car appears in sixteen images. If one of them were in training and another in the test, the test would measure memory.
# So *cars* are dealt, never images: to the sources, and within the target to training, validation and test. The deal
# depends on the data, the recipe and the seed, and on nothing else, so every method of a comparison gets the same.

# %%
pieces = {domain.name: domain for domain in task.domains()}
pd.DataFrame(
    {name: {"images": len(d), "cars": len(set(d.groups)), "height × width": "{} × {}".format(*d.size)}
     for name, d in pieces.items()}
).T  # fmt: skip

# %% [markdown]
# Labelled and unlabelled images may show the same car, as both are training data of the target. No other two pieces may.
# And the labelled images of a small number must be among those of a larger one, or more labels could mean *other* labels.
# Both are checked here, not promised:

# %%
from itertools import combinations

training = set(task.labelled.groups) | set(task.unlabelled.groups)
seen = [set(source.groups) for source in task.sources] + [
    training,
    set(task.validation.groups),
    set(task.test.groups),
]
shared = sum(len(one & other) for one, other in combinations(seen, 2))
print(f"{len(seen)} pieces, {len(set.union(*seen))} cars, cars in more than one piece: {shared}")

# %%
from mstl.data.recipes.local import image_names
from mstl.data.splits import split_target

target = np.flatnonzero(np.isin(whole.groups, list(training | seen[-1] | seen[-2])))
few, more = (set(split_target(whole.groups, target, image_names(whole), n, seed).labelled) for n in (4, 8))
print(f"labelled images of 4 that are not among those of 8: {len(few - more)}")

# %% mystnb={"figure": {"name": "fig-deal", "caption": "Every car of studio once, its frame saying where the recipe parts sends it: to a source, or to the target's training, validation or test. Data: studio, seed 0."}, "image": {"alt": "A sheet of small pictures of all cars with coloured frames: blue, green and amber for the three sources, grey, pink and black for the pieces of the target."}}
roles = [*names, "target: training", "validation", "test"]
colours = (*plots.PART_COLOURS[:3], "#bbbbbb", plots.PALETTE[3], "#000000")
side = {car: i for i, car in enumerate(whole.groups) if whole.views[i] == 4}
dealt = [
    plots.framed(plots.to_picture(whole.images[side[car]]), colour, height // 12)
    for cars_of_role, colour in zip(seen, colours, strict=True)
    for car in sorted(cars_of_role)
]
figure, ax = plt.subplots(figsize=(9, 0.5 + 0.42 * -(-len(dealt) // 16)))
ax.imshow(plots.mosaic(dealt, 16, gap=height // 8))
ax.axis("off")
plots.legend(roles, colours, figure)
plt.show()

# %% [markdown]
# ## Real photographs
#
# Rendered cars are cleaner than photographs. What holds here has to be shown again on real ones, and nothing but a
# parameter changes: `local_task("carvana", data_dir="...")`, or for everything at once
#
# ```bash
# make reproduce DATA=carvana DATA_DIR=path/to/carvana
# make reproduce DATA=carparts DATA_DIR=path/to/Car-Parts-Segmentation
# ```
#
# Carvana has no part maps: front, cabin and rear then follow from the view number and the bounding box of the mask. The
# photographs of `carparts` carry polygons of their parts, and regions come from those. Neither set may be passed on, so
# you find their numbers in this book, but none of their pictures ({doc}`../book/data-card`). A folder of your own images
# works, too ({doc}`../book/howto/own-data`).
#
# ## Summary
#
# * Local similarity: no source resembles the target as a whole; each resembles it in some regions, and together they
#   cover it.
# * `parts` cuts windows, `views` chooses views, `chimeras` put one true part on a foreign body. All three come from one
#   set of cars with exact masks and part maps.
# * Files are decoded once; a batch is a gather.
# * Cars are dealt, not images. The deal is the same for every method.
#
# ## Exercises
#
# 1. Cut with `sources=2` and with `sources=4`. What do the sources show, and how large are their windows?
# 2. Why does the recipe aim at a window that is *half* full? Set the target to all of it in your head: what would a
#    network learn from such masks?
# 3. The target's test cars come from the same studio as its training cars. Which question does the test therefore *not*
#    answer?
#
# ```{dropdown} Solution to 1
# `local_task("studio", "parts", sources=2)` cuts left and right halves of the car at the full height of the image;
# `sources=4` cuts quadrants. Both follow the mask's bounding box and need no part map. `plots.domain_montage` shows them.
# ```
#
# ```{dropdown} Solution to 2
# Masks that are one everywhere are learned without looking: a bias is enough. Half car and half background puts the
# outline, which is what a segmentation has to find, into every image.
# ```
#
# ```{dropdown} Solution to 3
# How well the prediction holds in another place: other light, other backgrounds, dirt, people, occlusion. That is what
# the real photographs are for.
# ```
#
# **Next:** {doc}`02_gradient_reversal`
