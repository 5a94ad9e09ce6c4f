"""The switches of a method in words: one dictionary for figures, sentences and the pages' own controls."""

from __future__ import annotations

from mstl.run.names import separate

WORDS = {
    "adversarial=false": "no adversary",
    "agreement=false": "the game plays on where shares of foreground differ",
    "aim=0.5": "adversary led to half of the task's gradient",
    "appearance=target": "sources in the target's colours",
    "attention=both": "attention on channels and places",
    "attention=channel": "attention on channels",
    "attention=none": "no attention",
    "attention=spatial": "attention on places",
    "attention=transferable": "attention where domains are alike",
    "attention=uniform": "uniform attention",
    "bridges=all": "all bridges",
    "bridges=none": "no bridges",
    "bridges=random": "bridges at random",
    "condition=hard": "one class as condition",
    "condition=random": "conditions at random",
    "consensus=false": "all sources weigh the same",
    "consistency=0": "no consistency with the averaged weights",
    "consistency=fixmatch": "FixMatch's consistency",
    "discriminator=image": "one verdict for each image",
    "discriminator_reads=attended": "discriminator behind the attention",
    "first=0": "no first stage",
    "fusion=concat": "fusion by concatenation",
    "fusion=cross": "fusion by attention between sources",
    "fusion=gated": "fusion by gates",
    "fusion=mean": "mean of the heads (no fusion)",
    "fusion=union": "union of the heads (no fusion)",
    "gain=1": "weaker game that rises slowly",
    "graph=identity": "each unit linked to itself",
    "graph=none": "no graph",
    "graph=random": "random graph",
    "graph=scratch": "graph learned on the labels",
    "graph=uniform": "all units linked evenly",
    "heads_see_target=false": "heads do not learn from target labels",
    "heads_see_target=true": "heads learn from target labels",
    "match=logits": "logits matched",
    "norm=batch": "normalised over a batch",
    "norm=domain": "normalised for source and target apart",
    "paste=true": "pieces of sources pasted into target images",
    "shared=true": "one encoder for all sources",
    "source_threshold=0": "source left out",
    "stem=1": "finest level of the encoder shared",
    "stem=4": "four levels of the encoder shared",
    "synchronised=false": "each sub-network has its own target images",
    "updates=0": "no extra updates",
    "with_labels=true": "adversary plays although there are labels",
}

# What an option is called before its value, where that is not its own name without underscores.
FORMS = {
    "aim": "adversary led to {} of the task's gradient",
    "bridge_threshold": "bridges up to {}",
    "depth": "{} levels",
    "encoder_rate": "encoder learns at {} of the rate",
    "first": "first stage {} of the steps",
    "hidden": "{} hidden units",
    "mean_teacher": "mean teacher {}",
    "source_threshold": "source up to {}",
    "steps": "{} steps",
    "weight_channels": "weight of channels {}",
    "weights": "from {}",
}

# The paper's ideas by the switch that MSTL-plus has for each, and the sign of its effect if the idea helps.
IDEAS = {
    "the adversary": ("adversarial=false", -1),
    "attention": ("attention=both", 1),
    "fusion": ("fusion=mean", -1),
    "synchronised batches": ("synchronised=false", -1),
}


def in_words(change: str) -> str:
    """A `Variant.change` for readers: by `WORDS`, or by `FORMS`, or the option's name and its value.

    ``attention=both+steps=1200`` is *attention on channels and places, 1200 steps*.
    """
    return ", ".join(_words(part) for part in separate(change) if part)


def _words(change: str) -> str:
    if change in WORDS:
        return WORDS[change]
    name, _, value = change.partition("=")
    if name == "mean_teacher" and not float(value):
        return "no mean teacher"
    if name == "models":
        return "from " + " + ".join(value.replace("@", " ").split(","))  # an encoder and its weights
    return FORMS.get(name, f"{name.replace('_', ' ')} {{}}").format(value)
