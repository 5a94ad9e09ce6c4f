# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The family on one page
#
# Nine systems of transfer learning, of which this book's MSTL is one. They do not compete for one task: each starts from something else
# that is left of a source. So the first question is not which is best, but *what do you have?*
#
# | | |
# |---|---|
# | You will see | what each system needs, what it freezes, what it aligns, and which to take for what you have |
# | Run time | seconds: nothing is trained |
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

from mstl.report import plots
from mstl.report.family import systems

plots.style()

# %% tags=["parameters"]
have: str = "trained source network, target labels"  # what is at hand: names of the columns below

# %% mystnb={"figure": {"name": "fig-family-needs", "caption": "What each system needs. Full: it must be there; open: it is used if it is there, or allowed for. A test holds every row against what the losses look at (`tests/test_systems.py`)."}, "image": {"alt": "A chart of nine systems by seven needs. MSTL, SAN, IWAN and JAN need source images and labels and unlabelled target images; AFA, AMCF and PP + P-SSL need a trained source network and target labels; DDTL needs source images with labels and target labels; GLoMo needs target labels."}}
systems.needs()
plt.show()

# %% [markdown]
# | | classes of source and target | stands still while the target is learned | is made alike | page |
# |---|---|---|---|---|
# | **MSTL** | the same; a source may mark a part | nothing | features of each source and of the target, in a network for each source | {doc}`03_attention` |
# | **SAN** {cite:p}`cao2018san` | the target has some of the source's | nothing | features, by a discriminator for each class | {doc}`17_partial` |
# | **IWAN** {cite:p}`zhang2018iwan` | the target has some of the source's | the source's extractor | features; a source image weighs by how much it looks like the target | {doc}`17_partial` |
# | **JAN** {cite:p}`long2017jan` | the same | nothing | joint distributions of features and outputs, by a kernel | {doc}`18_kernels` |
# | **DDTL** {cite:p}`tan2017ddtl` | two of each; unlabelled images of others between them | nothing; who takes part, within a round | nothing; one code rebuilds all that take part | {doc}`../book/howto/own-classes` |
# | **GLoMo** {cite:p}`yang2018glomo` | any | the graph predictors | nothing | {doc}`../book/howto/trained-networks` |
# | **AFA** {cite:p}`xie2021afa` | any | the network it began as | maps of the network and of what it began as | {doc}`19_worth_keeping` |
# | **AMCF** {cite:p}`feng2024amcf` | any | the first layers of each network | outputs of all networks | {doc}`20_several_teachers` |
# | **PP + P-SSL** {cite:p}`yamaguchi2022` | any | the source's classifier and generator | outputs on a drawn image and on its variation | {doc}`21_unseen_source` |
#
# Read along a row of the figure, three groups stand out. The upper four have the source's images and align *distributions*: they need many
# target images and no label. The lower three have what was learned from the source and align *functions*: they need labels, and no source
# image. DDTL and GLoMo align nothing; they choose, or relate.
#
# ## What do you have?
#
# Change `have` at the top to what is at hand; these run:

# %%
print(", ".join(systems.possible(have.split(", "))))

# %% [markdown]
# * **Images of several sources, no label of the target:** MSTL, where each source shares a part with the target; where each *labels* a
#   part, it wins clearly ({doc}`14_labelled_parts`). Where they share all classes and a few are missing in the target: SAN, PADA or IWAN
#   ({doc}`17_partial`); where none is missing: JAN, which needs no discriminator ({doc}`18_kernels`).
# * **A trained network and a few labels:** fine-tune it, and hold on to what it was; how precisely matters less than its papers say
#   ({doc}`19_worth_keeping`).
# * **Several trained networks, about equally good:** AMCF ({doc}`20_several_teachers`).
# * **A classifier and a generator, and no image:** pre-train on what is drawn; look twice at the second stage ({doc}`21_unseen_source`).
# * **Unlabelled images or texts, of anything:** GLoMo or DDTL ({doc}`../book/howto/trained-networks`, {doc}`../book/howto/own-classes`).
#   Both are built and held against their papers' equations; what they gain has not been measured here.
#
# ## Exercises
#
# 1. Which column of the figure would have to be empty for a system to run where the source may not be seen?
# 2. Why does nobody who aligns distributions allow for other classes in the target, as IWAN and SAN allow for fewer?
#
# ```{dropdown} Solution to 1
# *Source images*, and with them *source labels*. AFA, AMCF and PP + P-SSL qualify, and GLoMo, whose graphs learn from anything.
# ```
#
# ```{dropdown} Solution to 2
# Aligned features are read by one predictor, which learned its classes from the source. A class that the source lacks has no output. Fewer
# are no obstacle: an output may stay silent.
# ```
#
# **Next:** {doc}`../book/howto/own-data`
