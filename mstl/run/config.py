"""What one run is: its parameters, the profiles that fill the gaps, and the folder it lives in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mstl.run.names import Setting, Variant, changes_of
from mstl.system.errors import InputError, shown
from mstl.system.files import path_of

if TYPE_CHECKING:
    from mstl.data.task import Task


@dataclass(frozen=True)
class Profile:
    """Sizes that trade time for quality; one of them fills every parameter left open.

    Attributes:
        size: height and width of a target image in pixels.
        steps: updates of the networks.
        batch_size: images per source and step.
        target_batch_size: target images per step, shared by all sub-networks.
        width: channels of a U-Net at full resolution.
        learning_rate: of the networks' optimiser at the peak of the schedule.
        optimiser: ``adamw``, ``adam``, ``sgd`` (momentum 0.9) or ``adadelta``. With AdamW discriminators have
            Adam at twice the rate; with the others, which papers use for all, the same at the same rate.
        schedule: ``cosine`` (warm-up, then down to 0), ``inverse``, :math:`(1 + 10 p)^{-0.75}`, or
            ``constant``.
        ema: decay of the averaged weights that are evaluated; 0 evaluates the last weights.
        log_every: steps between lines of metrics.jsonl.
        checkpoint_every: steps between checkpoints.
    """

    size: tuple[int, int]
    steps: int
    batch_size: int = 8
    target_batch_size: int = 8
    width: int = 16
    learning_rate: float = 2e-3
    optimiser: str = "adamw"
    schedule: str = "cosine"
    ema: float = 0.99
    log_every: int = 50
    checkpoint_every: int = 200


PROFILES: dict[str, Profile] = {
    "tiny": Profile(
        size=(32, 48), steps=20, batch_size=4, target_batch_size=4, width=4, log_every=5, checkpoint_every=10
    ),
    # Many runs on few cores: the sweep. A short schedule wants a high rate and a short memory.
    "grid": Profile(
        size=(48, 72),
        steps=300,
        batch_size=4,
        target_batch_size=6,
        width=8,
        learning_rate=5e-3,
        ema=0.97,
        checkpoint_every=300,
    ),
    "quick": Profile(size=(64, 96), steps=250, width=16, learning_rate=4e-3, ema=0.98),
    "full": Profile(
        size=(128, 192),
        steps=6000,
        batch_size=16,
        target_batch_size=16,
        width=32,
        ema=0.999,
        checkpoint_every=500,
    ),
}


# For classes; of the first two epochs, batches and optimiser are those of papers.
PROFILES |= {
    # 15 epochs of 2,000 reviews a source, batches of 20 (Zhao et al., NeurIPS 2018, section 5.1).
    "mdan": Profile(
        size=(1, 1),
        steps=1500,
        batch_size=20,
        target_batch_size=20,
        learning_rate=1.0,
        optimiser="adadelta",
        schedule="constant",
        ema=0.0,
        log_every=250,
        checkpoint_every=1500,
    ),
    # 50 epochs, batches of 100 (Lee et al., PLoS ONE 2021).
    "multi-epl": Profile(
        size=(1, 1),
        steps=1000,
        batch_size=100,
        target_batch_size=100,
        learning_rate=1e-4,
        optimiser="adam",
        schedule="constant",
        ema=0.0,
        log_every=250,
        checkpoint_every=1000,
    ),
    # LeNet on 28×28 digits, short: batches, steps and rate are ours, not those of a paper.
    "digits": Profile(
        size=(28, 28),
        steps=1000,
        batch_size=64,
        target_batch_size=64,
        learning_rate=1e-3,
        ema=0.0,
        log_every=250,
        checkpoint_every=1000,
    ),
    # Photographs as small as CIFAR-10's, and networks from random numbers: batches, steps and rate are ours.
    "thumbnails": Profile(
        size=(32, 32),
        steps=300,
        batch_size=32,
        target_batch_size=32,
        learning_rate=1e-3,
        ema=0.0,
        log_every=100,
        checkpoint_every=300,
    ),
    # Photographs and trained networks: batches, steps and rate are ours, the rate plain fine-tuning's best.
    "photos": Profile(
        size=(96, 96),
        steps=100,
        batch_size=16,
        target_batch_size=32,
        learning_rate=3e-4,
        ema=0.0,
        log_every=50,
        checkpoint_every=100,
    ),
}

OPTIMISERS = ("adamw", "adam", "sgd", "adadelta")
SCHEDULES = ("cosine", "inverse", "constant")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
DEVICES = ("auto", "cpu", "cuda")
TEXTS = (
    "data",
    "recipe",
    "extra",
    "without",
    "keep",
    "method",
    "profile",
    "overrides",
    "precision",
    "device",
)
CHOICES = {
    "profile": PROFILES,
    "precision": PRECISIONS,
    "device": DEVICES,
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
}
# Least and largest values: beyond them nothing can be meant.
WHOLE = {
    "sources": (0, 1000),
    "labels": (0, 10**9),
    "seed": (0, 2**63 - 1),
    "steps": (1, 10**9),
    "batch_size": (1, 10**5),
    "width": (1, 4096),
    "devices": (1, 1000),
}
REAL = {"learning_rate": (0.0, 10.0), "ema": (0.0, 0.999999), "mean_teacher": (0.0, 1e6)}


@dataclass(frozen=True)
class TrainConfig:
    """Parameters of one run: the same names on the command line, in papermill and here.

    ``None`` means: as the profile says.

    Attributes:
        data: of masks studio, carparts, carvana or folder; of classes studio-styles (cars by
            body style), digits, amazon, surf or classes (your folders).
        recipe: how sources and target are made: parts, parts-plain, masks, masks-styled, masks-overlap,
            masks-mixed, views, views-styled, whole-styled, chimeras, own (your folders) or own-masks (your
            folders, sources labelling a part each); where data come as domains, to-<target> or
            <source>-to-<target>. Of classes with partial- before it: the target keeps half of them; with
            partial4- four.
        sources: number J of sources; 0 is the recipe's own.
        extra: sources to add: "useless" (noise), "harmful" (inverted masks), "shifted" (masks moved) or
            "shuffled" (masks of other images), or several.
        without: names of sources to leave out, separated by commas: "front,left side".
        keep: names of the classes that the target keeps, separated by commas; by default the recipe decides.
        method: one of ``mstl.methods.METHODS``.
        labels: labelled target images.
        seed: of the splits, the initial weights and the batches.
        profile: tiny (tests), grid (many runs), quick (laptop) or full (GPU); or one for classes: the papers'
            protocols mdan and multi-epl (vectors), digits (LeNet), thumbnails (32×32) and
            photos (networks that are trained).
        data_dir: folder of the data, where it is not embedded.
        weights_dir: folder in which folders of weights lie that ``overrides`` name: ``weights=birds``.
        out: folder that holds all runs.
        overrides: hyper-parameters of the method, ``"attention=none strength=0.1"``.
        mean_teacher: weight of the consistency with the averaged weights; 0 is off, None as the method says.
        precision: auto, 32-true, bf16-mixed or 16-mixed.
        device: auto, cpu or cuda.
        devices: processes that train the run together, each on a GPU of its own where there are GPUs. The
            batch is the same, divided among them: the numbers differ by rounding.
    """

    data: str = "studio"
    recipe: str = "parts"
    sources: int = 0
    extra: str = ""
    without: str = ""
    keep: str = ""
    method: str = "mstl"
    labels: int = 8
    seed: int = 0
    profile: str = "quick"
    data_dir: str | None = None
    weights_dir: str = "."
    out: str = "runs"
    overrides: str = ""
    steps: int | None = None
    batch_size: int | None = None
    width: int | None = None
    learning_rate: float | None = None
    optimiser: str | None = None
    schedule: str | None = None
    ema: float | None = None
    mean_teacher: float | None = None
    precision: str = "auto"
    device: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        for name in TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InputError(f"{name} must be text; got {shown(value)}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) is not None or name in TEXTS:
                one_of(name, getattr(self, name), allowed)
        for name in ("out", "weights_dir", "data_dir"):
            if name != "data_dir" or self.data_dir is not None:
                path_of(name, getattr(self, name))
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if field.name in WHOLE:
                low, high = WHOLE[field.name]
                if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                    raise InputError(
                        f"{field.name} must be a whole number ≥ {low}"
                        + (f" and ≤ {high}" if isinstance(value, int) and value > high else "")
                        + f"; got {shown(value)}"
                    )
            if field.name in REAL:
                low, high = REAL[field.name]
                if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                    raise InputError(
                        f"{field.name} must be a number from {low:g} to {high:g}; got {shown(value)}"
                        + (" (in YAML write 1.0e-3, not 1e-3)" if isinstance(value, str) else "")
                    )
        if not path_of("weights_dir", self.weights_dir).is_dir():
            raise InputError(
                f"weights_dir={shown(self.weights_dir)}: no such folder; name the one that holds the weights"
            )
        changes_of(self.overrides)
        if self.mean_teacher and self.profiled("ema") == 0:
            raise InputError("mean_teacher > 0 needs averaged weights to teach: set ema > 0")

    def profiled(self, name: str) -> Any:
        """The value of a parameter: its own, or the profile's where it was left open."""
        own = getattr(self, name, None)
        return getattr(PROFILES[self.profile], name) if own is None else own

    def settings(self) -> dict[str, Any]:
        """Everything that decides the run's numbers, with the profile filled in; plain JSON values."""
        values = asdict(self)
        for field in fields(Profile):
            value = self.profiled(field.name)
            values[field.name] = list(value) if isinstance(value, tuple) else value
        values |= {"variant": self.variant, "setting": self.setting}
        # Where files lie does not change a number; how many processes work changes its rounding.
        for elsewhere in ("out", "data_dir", "weights_dir", "devices"):
            del values[elsewhere]
        return values

    @classmethod
    def of(cls, settings: dict[str, Any], data_dir: str | None = None) -> TrainConfig:
        """The configuration whose `settings` these are, from a manifest or a checkpoint.

        Raises:
            InputError: they contradict themselves, or a value is none.
        """
        try:
            given = {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
            # What the profile filled in is part of no name, but steps of the run's own are.
            given["steps"] = Variant.parse(settings["variant"]).steps
            config = cls(**given, data_dir=data_dir)
            differing = [k for k, v in config.settings().items() if settings.get(k, v) != v]
        except (LookupError, TypeError, AttributeError) as error:
            raise InputError(f"these are no settings of a run ({type(error).__name__}: {error})") from error
        if differing:
            raise InputError(f"settings contradict themselves in {', '.join(differing)}; train the run again")
        return config

    def task(self) -> Task:
        """Sources and target of the run, read through the cache.

        Raises:
            InputError: unknown data or recipe, or files that cannot be used.
        """
        from mstl.data import local_task  # reading data is not needed to name a run

        return local_task(
            self.data,
            recipe=self.recipe,
            sources=self.sources,
            labels=self.labels,
            seed=self.seed,
            size=self.profiled("size"),
            data_dir=self.data_dir,
            extra=self.extra,
            without=self.named_setting.without,
            keep=self.named_setting.keep,
        )

    @property
    def problem(self) -> str:
        """What is predicted, "segmentation" or "classification": the data decide.

        Raises:
            InputError: unknown data.
        """
        from mstl.data.catalogue import problem_of

        return problem_of(self.data)

    @property
    def folder(self) -> Path:
        """``<out>/<data>/<setting>/<variant>/labels-<n>/seed-<s>``."""
        path = path_of("out", self.out) / self.data / self.setting / self.variant
        return path / f"labels-{self.labels}" / f"seed-{self.seed}"

    @property
    def named_setting(self) -> Setting:
        """The recipe and what was changed about it."""
        without, keep = (
            tuple(name.strip() for name in names.split(",") if name.strip())
            for names in (self.without, self.keep)
        )
        return Setting(self.recipe, self.sources, tuple(self.extra.split()), without, keep)

    @property
    def named_variant(self) -> Variant:
        """The method and what was changed about it."""
        return Variant.of(self.method, self.overrides, self.mean_teacher, self.steps)

    @property
    def setting(self) -> str:
        """`named_setting` as text: its name in tables, ``parts-2``, ``parts+harmful`` or ``parts~front``."""
        return str(self.named_setting)

    @property
    def variant(self) -> str:
        """`named_variant` as text: its name in tables, ``mstl+attention=none``."""
        return str(self.named_variant)


def with_start(overrides: str, encoder: str = "auto", weights: str = "none") -> str:
    """Overrides that say with which encoder a run begins, and from what, where that is not the default."""
    said = {"encoder": (encoder, "auto"), "weights": (weights, "none")}
    begun = [f"{name}={value}" for name, (value, usual) in said.items() if value != usual]
    return " ".join([*begun, *overrides.split()])


def one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """Refuse what is not among ``allowed``.

    Raises:
        InputError: names the parameter and what there is.
    """
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} {shown(value)} is unknown; choose from {', '.join(allowed)}")
