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
from IPython.display import Markdown

from mstl.report import plots, results
from mstl.report.family import systems
from mstl.report.family.bars import common_answer, load
from mstl.report.grid import comparison, text
from mstl.report.grid.figures import score_dots, time_against_score

plots.style()

# %% tags=["parameters"]
have: str = "trained source network, target labels"  # what is at hand: names of the columns below
folder: str = "../results/common"  # tables of the sweep

# %% mystnb={"figure": {"name": "fig-family-needs", "caption": "What each system needs. Full: it must be there; open: it is used if it is there, or allowed for. For images and labels a test holds every row against what the losses look at (`tests/test_systems.py`)."}, "image": {"alt": "A chart of nine systems by eight needs. MSTL, SAN, IWAN and JAN need source images and labels and unlabelled target images; AFA, AMCF and PP + P-SSL need a trained source network and target labels, the last a generator, too; DDTL needs source images with labels and target labels; GLoMo needs target labels."}}
systems.needs()
plt.show()

# %% [markdown]
# | | classes of source and target | stands still while the target is learned | is made alike | page |
# |---|---|---|---|---|
# | **MSTL** | the same; a source may mark a part | nothing | features of each source and of the target, in a network for each source | {doc}`14_labelled_parts` |
# | **SAN** {cite:p}`cao2018san` | the target has some of the source's | nothing | features, by a discriminator for each class | {doc}`17_partial` |
# | **IWAN** {cite:p}`zhang2018iwan` | the target has some of the source's | the source's extractor and classifier | features; a source image weighs by how much it looks like the target | {doc}`17_partial` |
# | **JAN** {cite:p}`long2017jan` | the same | nothing | joint distributions of features and outputs, by a kernel | {doc}`18_kernels` |
# | **DDTL** {cite:p}`tan2017ddtl` | two of each; unlabelled images of others between them | nothing; who takes part, within a round | nothing; one code rebuilds all that take part | {doc}`23_strangers` |
# | **GLoMo** {cite:p}`yang2018glomo` | any | the graph predictors | nothing | {doc}`22_relations` |
# | **AFA** {cite:p}`xie2021afa` | any | the network it began as | maps of the network and of what it began as | {doc}`19_worth_keeping` |
# | **AMCF** {cite:p}`feng2024amcf` | any | nothing, or the first layers of each, searched | outputs of all networks | {doc}`20_several_teachers` |
# | **PP + P-SSL** {cite:p}`yamaguchi2022` | any | the source's classifier and generator | outputs on a drawn image and on its variation | {doc}`21_unseen_source` |
#
# Down the rows of the figure three groups stand out. The upper four have the source's images and align *distributions*: they need many
# target images and no label. The lower three have what was learned from the source and align *functions*, or hold on to one: they need
# labels, and no source image. DDTL and GLoMo align nothing; they choose, or relate.
#
# ## What do you have?
#
# Change `have` at the top to what is at hand; these run:

# %%
print(", ".join(systems.possible(have.split(", "))))

# %% [markdown]
# * **Images of several sources, no label of the target:** where each source *shows* a part, pooling is as good or better ({doc}`07_comparison`);
#   where each *labels* one, MSTL-plus wins clearly over all that pool, and one network with a head for each part does as well or
#   better ({doc}`14_labelled_parts`). Where the target lacks some classes: SAN, PADA or IWAN, which gained on digits and not on histograms
#   ({doc}`17_partial`); where it has all: DAN, to which JAN adds nothing that could be told ({doc}`18_kernels`).
# * **A trained network and a few labels:** fine-tune it, and hold on to what it was; how precisely matters less than its papers say
#   ({doc}`19_worth_keeping`).
# * **Several trained networks, about equally good:** AMCF ({doc}`20_several_teachers`).
# * **A classifier, a generator and a few target labels:** fine-tune the classifier, or distil it with soft targets; PP gained nothing that
#   could be told, and its second stage did harm ({doc}`21_unseen_source`).
# * **A labelled source of other classes, and unlabelled images between:** pool source and target; DDTL was nowhere above that, and its bridges
#   hardly acted ({doc}`23_strangers`).
# * **Unlabelled images or texts, of anything, and target labels:** GLoMo's graph gained 1.5 points on digits over no graph and nothing that
#   could be told on sentences; on questions it was 2.0 above a random graph. Nowhere was it clear of spending its steps on the labels
#   ({doc}`22_relations`).
#
# ## One task that all can be run on
#
# Handwritten digits, ten labelled images a class, and three sets of typefaces for sources. It is nobody's home ground: the classes are
# the same, which SAN and IWAN do not need, and no bridge lies between, without which DDTL is a supervised autoencoder. Every system gets
# the same 300 steps and the weights that earlier tuning gave it; DDTL has its defaults. GLoMo spends half of its steps without labels, and
# has five times the rate of the others, since its network learns too slowly with theirs; rate and start of $s$ were tried on digits. What
# AFA, AMCF and PP + P-SSL start from was trained on the same sources before, with steps of its own.

# %%
cars, spent = (load(folder, name) for name in ("cars", "runs"))
about = [text.describe(comparison.load(folder, name, "runs")) for name in results.available(folder)]
Markdown("\n\n".join(about))

# %% tags=["answer"]
Markdown(common_answer(cars))

# %% mystnb={"figure": {"name": "fig-family-scores", "caption": "Accuracy on handwritten digits with ten labelled images a class: mean with the 95 % bootstrap interval over seeds and images. From `make sweep SWEEP=family WEIGHTS_DIR=weights`."}, "image": {"alt": "A dot-and-interval chart, a row for each system."}}
score_dots(comparison.summarise(cars))
plt.show()

# %% mystnb={"figure": {"name": "fig-family-cost", "caption": "The same scores against seconds of training on one core."}, "image": {"alt": "Scatter plot, seconds on a logarithmic axis against accuracy, a marker with a bar for each system."}}
time_against_score(comparison.summarise(cars), spent)
plt.show()

# %% [markdown]
# Rows are the nine systems, their nearest kin and references. JAN, AMCF, MSTL, MSTL-plus, IWAN and plain fine-tuning come out together, 94.3 to 94.8 %, each 2.4 to 3.0 points above target only and clear of
# it: a kernel, a weighted discriminator, one for each source, several networks or one that was trained before, all lead to the same place. The
# cheapest, if its own training is not counted, is the network that was trained before. AFA is 0.6 points [0.2, 1.1] *below* plain fine-tuning. Pooling, DANN, SAN, PP + P-SSL and DDTL are
# not to be told from target only: with a hundred labels, typefaces that are merely thrown in teach nothing about handwriting that could be
# told, and neither does the plain discriminator. GLoMo
# stands far below for its network of patches, which begins from random numbers and has 150 steps with labels. Seconds were taken on a busy
# machine; read them to a factor of two.
#
# ## Exercises
#
# 1. Which column of the figure would have to be empty for a system to run where the source may not be seen?
# 2. Why does nobody who aligns distributions allow for other classes in the target, as IWAN and SAN allow for fewer?
#
# ```{dropdown} Solution to 1
# *Source images*, and with them *source labels*. AFA, AMCF and PP + P-SSL qualify; and GLoMo, whose circle is open there: its graphs
# learn from anything.
# ```
#
# ```{dropdown} Solution to 2
# Aligned features are read by one predictor, which learned its classes from the source. A class that the source lacks has no output. Fewer
# are no obstacle: an output may stay silent.
# ```
#
# **Next:** {doc}`../book/howto/own-data`
