"""Rows beside published ones that need no network: a nearest neighbour and a linear classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mstl.data.domain import Domain
from mstl.data.files import files_fingerprint
from mstl.data.readers import features
from mstl.run.provenance import code_of, commit
from mstl.system.files import replacing

TITLES = {"nearest_neighbour": "1-NN", "linear_svm": "linear SVM"}
TEXT = {"commit": str, "inputs": str}  # may look like numbers
COSTS = (1e-4, 1e-3, 1e-2, 1e-1)  # C of the linear classifier, each tried in five folds of the sources


def nearest_neighbour(source: Domain, target: Domain) -> dict[str, Any]:
    """Share of a target's rows whose nearest source row has their class. There is nothing to choose.

    Source: row "NN" of Long et al., "Transfer feature learning with joint distribution adaptation", ICCV
    2013: Euclidean distance.
    """
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(1).fit(*_rows(source))
    return {"accuracy": model.score(*_rows(target)), "rows": len(target), "chosen": ""}


def linear_svm(sources: Domain, target: Domain) -> dict[str, Any]:
    """Accuracy on a target's rows of a linear support vector machine trained on the rows of all sources.

    C is the one of `COSTS` with the best mean accuracy over five folds of the *sources'* rows, stratified by
    class: no label of the target is looked at.
    """
    from scipy.sparse import csr_array
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    (rows, labels), (tested, truth) = _rows(sources), _rows(target)
    search = GridSearchCV(LinearSVC(random_state=0, max_iter=10_000), {"C": COSTS}, cv=5)
    search.fit(csr_array(rows), labels)
    accuracy = search.score(csr_array(tested), truth)
    return {"accuracy": accuracy, "rows": len(target), "chosen": f"C = {search.best_params_['C']:g}"}


def _rows(domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n, d), float64, and classes (n,)."""
    return domain.images.flatten(1).double().numpy(), domain.labels.numpy()


def of_surf(place: Path) -> Iterator[dict[str, Any]]:
    """`nearest_neighbour` of every ordered pair of domains."""
    domains = {name: features.surf(name, place) for name in features.surf_names(place)}
    for source, target in permutations(domains, 2):
        yield {
            "recipe": f"{source}-to-{target}",
            "method": "nearest_neighbour",
            **nearest_neighbour(domains[source], domains[target]),
        }


def of_amazon(place: Path) -> Iterator[dict[str, Any]]:
    """`linear_svm` of every ordered pair of domains, and of all other domains together for each target."""
    domains = {name: features.amazon(name, place) for name in features.amazon_names(place)}
    for target, (_, test) in domains.items():
        others = {name: train for name, (train, _) in domains.items() if name != target}
        first, *rest = others.values()
        for domain in rest:
            first = first.join(domain, "sources")
        for recipe, source in {
            f"to-{target}": first,
            **{f"{name}-to-{target}": train for name, train in others.items()},
        }.items():
            yield {
                "recipe": recipe,
                "method": "linear_svm",
                **linear_svm(source, test),
            }


READERS = {"amazon": of_amazon, "surf": of_surf}


def measure(data_dirs: Mapping[str, str | Path], folder: Path) -> Path | None:
    """Write the references of the data that have a folder into ``<folder>/references.csv``, keep the others.

    What was measured on the same files by the same code stays as it is.

    Returns:
        The file, or None where nothing is new.
    """
    path, found = folder / "references.csv", []
    before = pd.read_csv(path, dtype=TEXT, keep_default_na=False) if path.exists() else None
    for data, read in READERS.items():
        if not (place := data_dirs.get(data)):
            continue
        inputs = _fingerprint(data, place, folder)
        if before is not None and set(before[before["data"] == data].get("inputs", ())) == {inputs}:
            continue
        for row in read(Path(place)):
            said = f"{TITLES[row['method']]} {100 * row['accuracy']:.2f} %"
            print(f"{data}/{row['recipe']}: {said}", flush=True)
            found.append({"data": data} | row | {"inputs": inputs})
    if not found:
        return None
    table = pd.DataFrame(found).assign(commit=commit(), command="python -m mstl.report.published")
    if before is not None:
        table = pd.concat([before[~before["data"].isin(set(table["data"]))], table])
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        table.sort_values(["data", "recipe"]).to_csv(temporary, index=False, float_format="%.6g")
    return path


def _fingerprint(data: str, place: str | Path, besides: Path) -> str:
    """16 hexadecimal digits of the files, and of the code that reads and measures them."""
    code = (code_of(Path(file)) for file in (__file__, features.__file__))
    files = files_fingerprint(data, str(place), str(besides))
    return blake2b("".join((files, *code)).encode(), digest_size=8).hexdigest()
