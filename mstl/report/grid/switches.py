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
    "consensus=false": "all sources weigh the same",
    "consistency=0": "no consistency with the averaged weights",
    "discriminator=image": "one verdict for each image",
    "discriminator_reads=attended": "discriminator behind the attention",
    "fusion=concat": "fusion by concatenation",
    "fusion=cross": "fusion by attention between sources",
    "fusion=gated": "fusion by gates",
    "fusion=mean": "mean of the heads (no fusion)",
    "fusion=union": "union of the heads (no fusion)",
    "gain=1": "weaker game that rises slowly",
    "heads_see_target=false": "heads do not learn from target labels",
    "heads_see_target=true": "heads learn from target labels",
    "norm=batch": "normalised over a batch",
    "norm=domain": "normalised for source and target apart",
    "paste=true": "pieces of sources pasted into target images",
    "shared=true": "one encoder for all sources",
    "stem=1": "finest level of the encoder shared",
    "stem=4": "four levels of the encoder shared",
    "synchronised=false": "each sub-network has its own target images",
    "with_labels=true": "adversary plays although there are labels",
}

# The paper's ideas by the switch that MSTL-plus has for each, and the sign of its effect if the idea helps.
IDEAS = {
    "the adversary": ("adversarial=false", -1),
    "attention": ("attention=both", 1),
    "fusion": ("fusion=mean", -1),
    "synchronised batches": ("synchronised=false", -1),
}


def in_words(change: str) -> str:
    """A `Variant.change` for readers; one that `WORDS` lacks stands as it is written.

    ``attention=both+steps=1200`` is *attention on channels and places, 1200 steps*.
    """
    return ", ".join(_words(part) for part in separate(change) if part)


def _words(change: str) -> str:
    if change in WORDS:
        return WORDS[change]
    name, _, value = change.partition("=")
    if name == "source":
        return f"source {value}"
    if name == "steps":
        return f"{value} steps"
    if name == "mean_teacher":
        return f"mean teacher {value}" if float(value) else "no mean teacher"
    return change
