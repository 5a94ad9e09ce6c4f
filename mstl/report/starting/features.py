"""What the features of a trained network tell by themselves: a logistic regression from domain to domain."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mstl.data.augment import to_float
from mstl.data.domain import Domain
from mstl.data.readers import class_folders
from mstl.nn import Weights, extractor
from mstl.run.provenance import commit
from mstl.system.cache import cache_folder
from mstl.system.files import replacing
from mstl.system.progress import progress

ENCODER, SIDE = "tf_efficientnet_lite0", 160  # pixels a side


def frozen_features(
    data_dir: Path, out: Path, encoder: str = ENCODER, weights: str = "imagenet", weights_dir: str = "."
) -> Path:
    """Accuracy of a logistic regression on frozen features, of every ordered pair of domains.

    Args:
        data_dir: folders of classes by domain, such as Office-Caltech10.
        out: folder of the table.
        encoder, weights, weights_dir: the network (`mstl.nn.weights.Weights`).

    Returns:
        ``<out>/features.csv``; rows of other networks in it stay.
    """
    from sklearn.linear_model import LogisticRegression

    cache, names = cache_folder(), class_folders.names(data_dir)
    network = extractor(
        encoder, (3, SIDE, SIDE), 2, weights=Weights(weights, weights_dir), frozen="all"
    ).eval()
    domains = progress(names, len(names), "features")
    found = {n: features_of(network, class_folders.read(n, data_dir, cache, (SIDE, SIDE))) for n in domains}
    rows = []
    for source, target in permutations(found, 2):
        model = LogisticRegression(max_iter=2000).fit(*found[source])
        rows.append({"source": source, "target": target, "accuracy": model.score(*found[target])})
    table = pd.DataFrame(rows).assign(
        encoder=encoder, weights=weights, commit=commit(), command="python -m mstl.report.starting"
    )
    path = out / "features.csv"
    if path.exists():
        before = pd.read_csv(path, dtype={"commit": str})
        others = before[(before["encoder"] != encoder) | (before["weights"] != weights)]
        table = pd.concat([others, table])
    out.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    return path


@torch.no_grad()
def features_of(network: torch.nn.Module, domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features (n, d) and classes (n,)."""
    parts = [network(to_float(images))[-1].flatten(1) for images in domain.images.split(64)]
    return torch.cat(parts).numpy(), domain.labels.numpy()
