"""A post-hoc domain probe: can a fresh classifier still tell source from target?"""

from __future__ import annotations

import numpy as np
import torch

from mstl.data.augment import to_float
from mstl.data.domain import Domain


def probe_accuracy(
    features, source: Domain, target: Domain, *, images: int = 64, places: int = 8, seed: int = 0
) -> float:
    """Balanced accuracy of a logistic regression that separates two domains by feature vectors.

    One half of each domain's cars trains it, the other half scores it: 0.5 is chance, 1 full separation.
    The discriminator of a run cannot answer this question, since it may simply have been too weak.
    NaN where a half has images of one domain only, as with a source of one car.

    Args:
        features: maps float images (n, 3, h, w), and whose they are (0 the source's, 1 the target's), to a
            feature map (n, c, h', w').
        source, target: the two domains.
        images: images drawn per domain.
        places: places of the feature map drawn per image.
    """
    # Imported here: it takes a second, which no run needs before its end.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(seed)
    rows = {half: ([], []) for half in ("train", "test")}
    for label, domain in enumerate((source, target)):
        chosen = np.sort(generator.choice(len(domain), min(images, len(domain)), replace=False))
        picked = domain.select(chosen)
        with torch.no_grad():
            maps = features(to_float(picked.images), label).float().flatten(2).transpose(1, 2).cpu().numpy()
        cars = {car: i for i, car in enumerate(dict.fromkeys(picked.groups))}
        for vectors, car in zip(maps, picked.groups, strict=True):
            drawn = vectors[generator.choice(len(vectors), min(places, len(vectors)), replace=False)]
            half = "train" if cars[car] % 2 == 0 else "test"
            rows[half][0].append(drawn)
            rows[half][1].append(np.full(len(drawn), label))
    if any({int(y[0]) for y in labels} != {0, 1} for _, labels in rows.values()):
        return float("nan")
    data = {half: (np.concatenate(x), np.concatenate(y)) for half, (x, y) in rows.items()}
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(*data["train"])
    return float(balanced_accuracy_score(data["test"][1], classifier.predict(data["test"][0])))
