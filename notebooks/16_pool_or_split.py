# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pool, share or split?
#
# You have several labelled collections and a target. All sources into one network, one network with a
# head for each, or a sub-network for each? The answer
# does not depend on how clever the method is. It depends on one question: **do your sources contradict each other?**
#
# | | |
# |---|---|
# | You will see | a rule of a few lines, each with the difference it was measured to make |
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
import pandas as pd
from IPython.display import Markdown

from mstl.report import plots
from mstl.report.grid import comparison, text
from mstl.report.grid.rule import rule_answer, rule_table

plots.style()

# %% tags=["parameters"] nbmake={"mock": {}}
masks: str = "../results/masks"  # tables of sources that label parts
windows: str = "../results/grid"  # tables of sources that show parts

# %% [markdown]
# 1. **Take one pixel of the object. Does every source that shows it call it object?**
#    If yes, *pool*: one network sees all images, and needs no fusion. If one source calls object what another calls
#    background, since each was annotated for another part, go on.
# 2. **Do you know which part each source labels, and do the parts together make the whole?** Then give each source a *head of
#    its own* and join the heads by their union. It works without a single label of the target ({doc}`14_labelled_parts`).
#    If you do not know it, take a source's background for unlabelled (*nnPU*).
# 3. **One network for all heads, or a sub-network for each?** That is the paper's question, and here it is the smaller one: see
#    the line *these heads on one network*. In the same time one network makes more steps. Where four sources divide the object,
#    sub-networks are ahead ({doc}`15_how_far`).
# 4. **Do the collections differ in style, from each other and from the target?** Then a head has seen one style only. Train
#    against an adversary, and take *sub-networks*: on photographs they are ahead of one network with heads that gets as much time,
#    and just so of the best one. Giving the sources' images the target's colours did as well on rendered cars and nothing on photographs
#    ({doc}`15_how_far`).
# 5. **Do you trust every source?** The union believes whoever is sure, and has no defence without labels. If you do not, label
#    four images of the target and take one network with heads: there a lying source cost about a point ({doc}`15_how_far`).
# 6. **Labelled images of the target?** Train on these alone first: it is what everything else has to beat. Four rendered cars were
#    nearly enough, four photographs were not (*sources beside the target*). The last line says what sources still added to 32.
#
# Each line below is one branch of the rule: what was taken, minus what it is an alternative to, on the same cars and
# seeds, in points of Dice. *Open* means that the interval holds zero.

# %%
cars = pd.concat([comparison.everything(folder, "cars") for folder in (masks, windows)])
rule = rule_table(cars)
text.for_readers(rule)

# %% tags=["answer"]
Markdown(rule_answer(rule))

# %% [markdown]
# Both sides are the best variant of their kind, chosen on these scores, and MSTL-plus is taken as it is: that favours what
# it is compared with. Where a line says *no*
# or *open*, the rule claims more than was measured there, and the line says by how much.
#
# ## What it does not say
#
# * **Small networks, short training.** Images of 48×72 pixels, some hundred steps. An encoder from ImageNet was compared where
#   sources show parts ({doc}`07_comparison`), larger images and networks where they label parts ({doc}`12_gpu`); neither is in
#   these lines.
# * **Only cars.** Photographs and renderings of one kind of object.
# * **Parts that overlap, or miss something.** The union can be no more than what the sources label together. What none of them
#   labels, the target's own labels have to teach.
#
# **Next:** {doc}`17_partial`
