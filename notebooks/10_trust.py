# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How we know it is right
#
# You should not believe a number because it stands in a table. Research code has a way of being wrong that shows nowhere: a loss
# that is constant still falls together with the others, a run that was resumed with other random numbers still ends, a mean
# over the wrong axis is still a number between 0 and 1. {ref}`paper-and-code` lists what we found in code that others build on.
#
# So this page goes through eight reasons to doubt. For each it says what went wrong elsewhere, and **how many claims and
# cases were tried against it**. All claims stand in [one table](all-claims) that can be searched. Nothing in it is typed: it is what the
# tests wrote when they ran last. A claim that was not tried, or did not hold, is named as such.
#
# | | |
# |---|---|
# | You will see | claims with cases and outcomes, measured differences, faults planted to see if tests notice |
# | Run time | some seconds: no test runs here |
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
import torch
from IPython.display import HTML, Markdown

from mstl.nn.reverse import reverse_gradient
from mstl.report import plots, trust

plots.style()

# %% tags=["parameters"] nbmake={"mock": {}}
folder: str = "../results/trust"  # folder of the tables that `make trust` and `make mutants` write

# %%
claims = trust.load(folder, "claims")
made = trust.load(folder, "provenance").iloc[0]
Markdown(f"{trust.summary(claims)} Tried on {made['date']} at commit `{made['commit']}`.")

# %% mystnb={"figure": {"name": "fig-trust", "caption": "Claims of each area by outcome, and the number of cases that were tried for them. From `make trust`."}, "image": {"alt": "Horizontal bars, one for each of eight areas, with the number of claims that passed, were skipped or failed, and the number of cases written beside."}}
trust.outcome_bars(claims)
plt.show()

# %% [markdown]
# A claim is one sentence that a test carries as a mark. *Cases* counts how often it was tried: parameters, random inputs, kills. *Skipped*
# means that the machine lacked something, a GPU for instance. *Measured* is what the test wrote down, such as the largest difference it saw.
#
# ## Five claims that matter most
#
# That a test passed says little. What it would *not* pass says more:

# %%
Markdown(trust.starred(claims))

# %% [markdown]
# ## Formulas
#
# **The doubt:** the code computes something else than the equation beside it.
#
# It happens in the best-known places. The official M3SDA code centres the target before it takes the first moment, so
# a target that is moved as a whole costs it nothing: the first moment is lost {cite:p}`peng2019m3sda`.
# Transfer-Learning-Library corrects its MMD with $m$ kernels by $2/(n-1)$ where $2m/(n-1)$ belongs, and users ask why an MMD is negative.
# The released MDAN overflows in its soft form {cite:p}`zhao2018mdan`. Such code cannot be an oracle. So our values were computed beforehand in
# double precision, by independent implementations where one exists, and identities that hold for *every* input are tested on random ones.

# %%
Markdown(trust.area_line(claims, "formulas"))

# %% [markdown]
# ## Adversaries
#
# **The doubt:** the adversary does nothing, and the rest of the loss hides it.
#
# The default domain classifier of skada applies a softmax to a single logit. That is 1 for every input, so its gradient is zero and it never
# learns; its tests pass because the *task* loss falls. The reversal of pytorch-adapt reads its strength when gradients flow, so a schedule
# that moves on between forward and backward changes the past. In DeepDA, discriminators of both domains get the same label. A wrong sign
# turns an adversary into a helper. So tests ask about behaviour: can the discriminator separate what is separable,
# does its gradient arrive turned round, does a feature that only tells the domain fade? Then we plant those very faults,
# and the tests must turn red.

# %%
Markdown(trust.area_line(claims, "adversaries"))

# %% [markdown]
# One of those faults, told as a story. The extractor shall *ascend* what the discriminator descends, so the gradient comes back
# times minus the strength. Somebody forgets the minus. The values are the same, every loss falls, the discriminator even falls
# faster, since the extractor now helps it. Only a test that asks for the gradient sees it:

# %%
x = torch.ones(1, requires_grad=True)
planted = {"ours": reverse_gradient, "minus forgotten": lambda x, s: x.detach() * (1 - s) + x * s}
for name, reverse in planted.items():
    (slope,) = torch.autograd.grad(reverse(x, 0.3), x)
    colour = "green" if torch.allclose(slope, torch.tensor(-0.3)) else "RED"
    print(f"{name}: value {reverse(x, 0.3).item():.1f}, gradient {slope.item():+.1f}, test {colour}")

# %% [markdown]
# ## Limits and symmetries
#
# **The doubt:** it works for the three sources of the example, and for nothing else.
#
# With one source a multi-source method must become the single-source method it grew from. Sources have no order, so another order must change
# nothing. A Dice loss that costs nothing on an empty mask, as in segmentation_models.pytorch, looks right on
# whole objects and is fatal for local crops, many of which are empty. Limits find such faults without any reference implementation.

# %%
Markdown(trust.area_line(claims, "limits"))

# %% [markdown]
# ## Synchronised batches
#
# **The doubt:** the sub-networks do not see the same target images.
#
# The fusion adds up what J sub-networks say about *one* image ({doc}`04_synchronised_batches`). The official MFSAN draws another target batch
# for each source, and agreement is then asked of answers to different questions {cite:p}`zhu2019mfsan`. Sharing a batch is not new; testing that it *is*
# shared, pixel by pixel, with augmentation, after a resume and in every process, seems to be.

# %%
Markdown(trust.area_line(claims, "synchronisation"))

# %% [markdown]
# ## Equalities
#
# **The doubt:** the number depends on how it was computed: on an interruption, on the number of processes, on the precision.
#
# A checkpoint without the state of the random numbers continues as another run. Released SAN keeps as its "best model" an
# alias of the live network, so what is evaluated is the last one {cite:p}`cao2018san`. Resuming is where most code of this field has nothing at all. Here a run that was killed
# must end in the same bits as one that was not.

# %%
Markdown(trust.area_line(claims, "equalities"))

# %% [markdown]
# ## Faults
#
# **The doubt:** something breaks in the night, and in the morning a half-written file counts as a result.
#
# Disks fill up, machines go down, cells hang, one run of a hundred fails. Then what is finished must stay finished, what is begun must go on, and
# what is broken must be named.

# %%
Markdown(trust.area_line(claims, "faults"))

# %% [markdown]
# ## Hostile input
#
# **The doubt:** a file from the internet does more than be read.
#
# A checkpoint that is unpickled runs code of whoever made it. An archive member may be called `../../somewhere`. A picture of a few kilobytes may unfold to gigabytes.
# A column of numbers may hold a formula that a spreadsheet executes.

# %%
Markdown(trust.area_line(claims, "hostile input"))

# %% [markdown]
# ## Ageing
#
# **The doubt:** it will not run in a year.
#
# "It no longer imports" is the first complaint in every tracker of this field. Versions are locked with checksums for those who repeat our numbers; bounds are
# loose for those who build on the package; and both ends of the bounds are tried.

# %%
Markdown(trust.area_line(claims, "ageing"))

# %% [markdown]
# (all-claims)=
# ## All claims
#
# Search for a word: a method, a file, a fear. *Faults planted and noticed* is what the [next section](planted) counts: small faults made in
# the code that a test guards, and how many of them turned its file red.

# %%
mutants = trust.load(folder, "mutants")
HTML(trust.claims_html(claims, mutants))

# %% [markdown]
# (planted)=
# ## Would the tests notice?
#
# A test that cannot fail proves nothing. So a program makes small faults in our code, one at a time: it turns `+` into `-`, `<` into `<=`, a constant into another, a condition into its
# opposite, it drops an argument or a statement. Each such *mutant* should make a test fail, be *killed*. The share that is killed says how much the tests
# see.

# %%
Markdown(trust.mutants_table(mutants))

# %% tags=["answer"]
Markdown(f"{trust.summary(claims)} {trust.killed(mutants)}")

# %% [markdown]
# Those that survived, and why. Many cannot be killed: they are *equivalent*, no input tells them from the original. The others are gaps, and called so.

# %%
HTML(trust.survivors_html(trust.load(folder, "survivors")))

# %% [markdown]
# ## Try it yourself
#
# ```bash
# make test       # every test but the long ones
# make test-long  # runs killed at random points, a hundred thousand damaged masks, ...
# make trust      # all tests that carry a claim, and the tables of this page
# make mutants    # the planted faults; half an hour
# ```
#
# Take one claim that you doubt, find its test in [the table](all-claims), break the code on purpose, and run it.

# %%
made.rename("with").to_frame()

# %% [markdown]
# ## What this page does not show
#
# * That the *method* is good. Right code can compute a bad idea; {doc}`07_comparison` and {doc}`08_ablation` ask about that.
# * That the paper's authors computed the same. Only its abstract is public ({doc}`../book/paper`).
# * That a claim holds on your machine. It holds where the tests ran, and the table above says where that was.
#
# ## Summary
#
# * Every sentence in the table is a test with an outcome, and {numref}`fig-trust` counts them all, those that were skipped included.
# * Properties find more than examples: limits, symmetries and identities need no reference that could be wrong itself.
# * Tests are tested, too, by faults that were planted for them.
#
# ## Exercises
#
# 1. A test asserts that the loss of an adversarial method falls in training. Which of the faults above would it find?
# 2. Why is a mutant that survives not always a gap in the tests?
#
# ```{dropdown} Solution to 1
# None of those under *Adversaries*. The sum falls because the task loss does. Look at the parts: gradient of the domain loss,
# accuracy of the discriminator with the reversal switched off.
# ```
#
# ```{dropdown} Solution to 2
# `x * 1` for `x / 1` is another text and the same function. Whether two programs compute the same cannot be decided in general, so somebody has to
# look at each survivor.
# ```
#
# **Next:** {doc}`11_cost`
