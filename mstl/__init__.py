"""Multi-source adversarial transfer learning from sources that share only local features with the target."""

from mstl.system.errors import InputError

__all__ = ["InputError", "TrainConfig"]


def __getattr__(name: str):
    # Loaded on first use: `import mstl` alone does not import torch.
    if name == "TrainConfig":
        from mstl.run.config import TrainConfig

        return TrainConfig
    raise AttributeError(f"module 'mstl' has no attribute {name!r}")
