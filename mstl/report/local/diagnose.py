"""Who knows which part, and what the discriminator leaves: a finished run under the magnifying glass."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mstl.data.augment import to_float
from mstl.data.domain import Domain
from mstl.data.task import Task
from mstl.measures.attention import Watched, attention_entropy, best_auc, object_auc, part_auc, watched
from mstl.measures.probe import probe_accuracy
from mstl.methods.base import Method
from mstl.nn import SOURCE
from mstl.problems import Segmentation
from mstl.report.results import RUN_KEYS
from mstl.run import provenance
from mstl.run.config import TrainConfig
from mstl.run.evaluate import predict_domain
from mstl.run.inference import load_method
from mstl.run.snapshots import FILE as SNAPSHOTS
from mstl.run.snapshots import load_arrays
from mstl.system.errors import InputError
from mstl.system.files import check_writable, path_of, replacing
from mstl.system.tables import read_csv, to_cells

TOGETHER = "together"  # the prediction of the whole method, beside those of its sub-networks
PLACES = {"before": "source_features", "after": "attended_features"}  # of attention
PICTURED = ("studio",)  # photographs of others are never stored
FOLDER = "diagnosis"


@dataclass(frozen=True)
class Run:
    """A finished run, loaded.

    Attributes:
        folder: where it lies.
        key: the columns that name it in every table.
        manifest: as written at its end.
        method: with the weights that were scored.
        task: its sources and target.
    """

    folder: Path
    key: dict[str, Any]
    manifest: dict[str, Any]
    method: Method
    task: Task

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the sub-networks."""
        return tuple(source.name for source in self.task.sources)

    def place(self, out: str | Path) -> Path:
        """``<out>/<data>/diagnosis/<recipe>/<method>/labels-<n>/seed-<s>``."""
        k = self.key
        path = Path(out) / k["data"] / FOLDER / k["recipe"] / k["method"]
        return path / f"labels-{k['labels']}" / f"seed-{k['seed']}"


def diagnose(folder: str | Path, out: str | Path = "results/grid", data_dir: str | None = None) -> list[Path]:
    """Measure a finished run in ways that its scores do not show.

    Below ``<out>/<data>/diagnosis`` one row or more of this run in each table (rows it had before go):

    * ``runs.csv``: where the run and its diagnosis came from.
    * ``heads.csv``: Dice and recall of each part on the test images, of the whole method (``together``) and
      of each sub-network's own predictor.
    * ``domains.csv``: accuracy of a fresh probe that separates source and target, and the proxy A-distance
      :math:`2(1 - 2\\varepsilon)` of its error ε, before and after attention. 2 is full separation, 0 none.
    * ``attention.csv``: AUC of attention for each region and for the object, entropy; test images.

    and in a folder of the run's own ``embedding.csv`` (first two principal components of feature vectors)
    and, for rendered data only, ``attention.npz`` (maps of six test images), ``film.npz`` (maps over
    training, where `mstl.run.snapshots` stored them) and ``cases.npz`` (best and worst predictions). What a
    method does not have (sub-networks, features, attention) is left out, and said.

    Args:
        folder: of a finished run.
        out: folder of the results.
        data_dir: folder of the data, where it is not embedded.

    Returns:
        The files written.

    Raises:
        InputError: the run is unfinished or of classes, or its data is not what it was trained on.
    """
    start = time.perf_counter()
    out = path_of("out", out)
    check_writable("out", out)
    run = load_run(folder, data_dir)
    tables = {
        "heads": head_scores(run),
        "domains": domain_distances(run),
        "attention": attention_table(run),
    }
    written, points = [], embedding(run)
    if not points.empty:
        written.append(run.place(out) / "embedding.csv")
        with replacing(written[-1]) as temporary:
            to_cells(points).to_csv(temporary, index=False)
    if run.key["data"] in PICTURED:
        pictures = {"attention": attention_pictures(run), "film": film(run), "cases": cases(run)}
        for name, arrays in pictures.items():
            path = run.place(out) / f"{name}.npz"
            if arrays:
                with replacing(path) as temporary, open(temporary, "wb") as file:
                    np.savez_compressed(file, **arrays)
                written.append(path)
    missing = [name for name, table in tables.items() if table.empty]
    if missing:
        print(f"{folder}: {run.key['method']} has nothing to say on {', '.join(missing)}", flush=True)
    tables["runs"] = pd.DataFrame([_provenance(run, time.perf_counter() - start)])
    for name, table in tables.items():
        if not table.empty:
            path = Path(out) / run.key["data"] / FOLDER / f"{name}.csv"
            _replace_rows(path, table, run.key)
            written.append(path)
    return written


def load_run(folder: str | Path, data_dir: str | None = None) -> Run:
    """The finished run in ``folder`` with its data.

    Raises:
        InputError: as `diagnose`.
    """
    folder = path_of("run", folder)
    method = load_method(folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest.get("classes"):
        raise InputError(
            f"{folder} tells classes; diagnose measures masks and their parts, so name such a run"
        )
    settings = manifest["settings"]
    config = TrainConfig.of(settings, data_dir)
    task = config.task()
    if task.fingerprint() != manifest["data_fingerprint"]:
        raise InputError(
            f"{folder} was trained on other data than is there now (fingerprint {task.fingerprint()} instead "
            f"of {manifest['data_fingerprint']}); train it again, or name its data by data_dir"
        )
    if task.test is None or not task.sources:
        raise InputError(f"{folder} has no test images or no sources; diagnose compares these")
    key = {name: settings[name] for name in RUN_KEYS}
    key |= {"recipe": settings["setting"], "sources": len(task.sources), "method": settings["variant"]}
    return Run(folder, key, manifest, method, task)


def head_scores(run: Run) -> pd.DataFrame:
    """Columns predictor, dice, recall_<part>: mean over test images, each over those that show the part."""
    test = run.task.test
    logits = {TOGETHER: predict_domain(run.method.predict, test)}
    if run.method.head_logits(to_float(test.images[:1])) is not None:
        heads = predict_domain(lambda images: run.method.head_logits(images).movedim(0, 1), test)
        logits |= dict(zip(run.names, heads.unbind(1), strict=True))
    rows = []
    for name, predicted in logits.items():
        table = Segmentation().table(predicted, test)
        recalls = [column for column in table if column.startswith("recall_")]
        rows.append({"predictor": name} | table[["dice", *recalls]].mean().to_dict())
    return _with_key(rows, run)


def domain_distances(run: Run, draws: int = 3) -> pd.DataFrame:
    """Columns source, place, probe_accuracy, a_distance: mean over ``draws`` of images and places.

    Source: Ben-David et al., "Analysis of representations for domain adaptation", NeurIPS 2006, section 4
    (proxy A-distance), with a linear probe.
    """
    rows = []
    for j, name in enumerate(run.names):
        for place, features in _features(run, j).items():
            drawn = [
                probe_accuracy(features, run.task.sources[j], run.task.test, seed=k) for k in range(draws)
            ]
            known = [accuracy for accuracy in drawn if not np.isnan(accuracy)]
            accuracy = np.mean(known) if known else np.nan  # of a source of one car nothing can be said
            distance = 2 * (1 - 2 * (1 - accuracy))
            rows.append({"source": name, "place": place, "probe_accuracy": accuracy, "a_distance": distance})
    return _with_key(rows, run)


def embedding(run: Run, points: int = 120) -> pd.DataFrame:
    """Columns source, place, domain, x, y, explained: for sub-network j, its source and the target.

    A point is an image: the mean of its feature vectors over places, each channel scaled to unit variance.
    ``explained`` is the share of the variance that the two components hold. Signs are chosen such that the
    target lies to the right and clouds keep their sides from one place to the next.
    """
    generator, tables = np.random.default_rng(0), []
    domains = {"source": None, "target": _some(run.task.test, points, generator)}
    for j, name in enumerate(run.names):
        domains["source"], before = _some(run.task.sources[j], points, generator), None
        for place, features in _features(run, j).items():
            vectors = [_pooled(features, domain, k) for k, domain in enumerate(domains.values())]
            scaled = StandardScaler().fit_transform(np.concatenate(vectors))
            pca = PCA(n_components=2, random_state=0)
            of = np.repeat(list(domains), [len(v) for v in vectors])
            x, y = pca.fit_transform(scaled).T
            if x[of == "target"].mean() < x[of == "source"].mean():
                x = -x
            if before is not None and y @ before < 0:
                y = -y
            before = y
            explained = round(float(pca.explained_variance_ratio_.sum()), 4)
            columns = {
                "source": name,
                "place": place,
                "domain": of,
                "x": x.round(3),
                "y": y.round(3),
                "explained": explained,
            }
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def attention_table(run: Run, images: int = 96) -> pd.DataFrame:
    """Columns source, region, auc, best, entropy; the region "object" is against the background."""
    seen = watched(replace(run.task, validation=run.task.test), images)
    maps = None if seen is None else _maps(run, seen.domain)
    if maps is None:
        return pd.DataFrame()
    objects = seen.domain.masks[:, 0] > 0
    auc = torch.cat((part_auc(maps, seen.regions), object_auc(maps, objects)[:, None]), 1)
    best = [*best_auc(seen.regions, maps.shape[-2:]).tolist(), float("nan")]
    entropy = attention_entropy(maps)
    rows = [
        {"source": source, "region": region, "auc": auc[j, r], "best": best[r], "entropy": entropy[j]}
        for j, source in enumerate(run.names)
        for r, region in enumerate((*seen.layout, "object"))
    ]
    return _with_key(
        [{k: v.item() if torch.is_tensor(v) else v for k, v in row.items()} for row in rows], run
    )


def attention_pictures(run: Run, count: int = 6) -> dict[str, np.ndarray]:
    """Test images over all views with their regions (index, 0 is none) and the maps (J, n, h, w)."""
    seen = watched(replace(run.task, validation=run.task.test), len(run.task.test))
    if seen is None:
        return {}
    by_view = np.lexsort((seen.domain.groups, seen.domain.views))
    chosen = by_view[np.linspace(0, len(by_view) - 1, min(count, len(by_view))).round().astype(int)]
    maps = _maps(run, seen.domain.select(chosen))
    return {} if maps is None else _scene(seen, chosen) | {"maps": _small(maps)}


def film(run: Run, count: int = 4) -> dict[str, np.ndarray]:
    """Watched images with their maps at ``steps``, (T, J, n, h, w); empty where nothing was stored."""
    path, seen = run.folder / SNAPSHOTS, watched(run.task)
    if seen is None or not path.exists():
        return {}
    stored = load_arrays(path)
    steps, maps = stored["steps"], stored["maps"]
    # Images that show much of every region say most.
    fullest = np.argsort(-seen.regions.sum((2, 3)).double().log1p().sum(0).numpy(), kind="stable")
    chosen = np.sort(_one_a_car(fullest, seen.domain)[:count])
    return _scene(seen, chosen) | {"maps": maps[:, :, chosen], "steps": steps}


def cases(run: Run, count: int = 4) -> dict[str, np.ndarray]:
    """The ``count`` test images with the largest Dice and those with the smallest, best first."""
    test = run.task.test
    logits = predict_domain(run.method.predict, test)
    table = Segmentation().table(logits, test)
    ranking = table["dice"].sort_values(ascending=False, kind="stable").index.to_numpy()
    chosen = np.concatenate((ranking[:count], ranking[-count:]))
    return {
        "images": test.images[chosen].numpy(),
        "masks": np.packbits(test.masks[chosen, 0].numpy(), axis=-1),
        "predicted": np.packbits((logits[chosen, 0] > 0).numpy(), axis=-1),
        "dice": table["dice"].to_numpy()[chosen],
        "cars": test.groups[chosen].astype(str),
        "views": test.views[chosen],
    }


def _features(run: Run, j: int) -> dict[str, Any]:
    """Functions from images and domain to the features of sub-network j, of those places the method has."""
    probe = to_float(run.task.sources[j].images[:1])
    found = {}
    for place, name in PLACES.items():
        read = getattr(run.method, name)
        with torch.no_grad():
            if read(probe, j, SOURCE) is not None:
                found[place] = lambda images, domain, read=read: read(images, j, domain)
    return found


def _maps(run: Run, domain: Domain) -> Tensor | None:
    with torch.no_grad():
        parts = [run.method.attention_maps(to_float(images)) for images in domain.images.split(64)]
    return None if parts[0] is None else torch.cat(parts, 1)


def _pooled(features, domain: Domain, whose: int) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate(
            [
                features(to_float(images), whose).float().mean((-2, -1)).numpy()
                for images in domain.images.split(64)
            ]
        )


def _some(domain: Domain, count: int, generator: np.random.Generator) -> Domain:
    return domain.select(np.sort(generator.choice(len(domain), min(count, len(domain)), replace=False)))


def _one_a_car(order: np.ndarray, domain: Domain) -> np.ndarray:
    """The first image of every car in ``order``, then the others."""
    later = pd.Series(domain.groups[order]).duplicated().to_numpy()
    return np.concatenate((order[~later], order[later]))


def _scene(seen: Watched, chosen: np.ndarray) -> dict[str, np.ndarray]:
    index = torch.arange(1, len(seen.layout) + 1, dtype=torch.uint8).view(-1, 1, 1, 1)
    return {
        "images": seen.domain.images[chosen].numpy(),
        "regions": (seen.regions[:, chosen] * index).sum(0).to(torch.uint8).numpy(),
        "layout": np.array(seen.layout),
        "sources": np.array(seen.sources),
    }


def _small(maps: Tensor) -> np.ndarray:
    return maps[:, :, 0].half().numpy()


def _provenance(run: Run, seconds: float) -> dict[str, Any]:
    kept = ("command", "commit", "device", "precision", "parameters", "seconds_training", "data_fingerprint")
    row = run.key | {name: run.manifest[name] for name in kept}
    row["diagnosed_by"] = "python -m mstl diagnose --run " + run.folder.as_posix()
    if run.folder.is_absolute():  # where files lie on one machine tells others nothing
        row["diagnosed_by"] = "python -m mstl diagnose --run <run>"
    return row | {"diagnosed_commit": provenance.commit(), "seconds_diagnosis": round(seconds, 1)}


def _with_key(rows: list[dict[str, Any]], run: Run) -> pd.DataFrame:
    # "source" names one sub-network; the key's "sources" is their number.
    return pd.DataFrame([run.key | row for row in rows])


def _replace_rows(path: Path, table: pd.DataFrame, key: dict[str, Any]) -> None:
    """``table`` in place of the rows that ``path`` has of the run ``key``."""
    if path.exists():
        try:
            before = read_csv(path)
            same = (before[list(key)].astype(str) == pd.Series(key).astype(str)).all(axis=1)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read ({error}); delete it and diagnose its runs again"
            ) from error
        table = pd.concat([before[~same], table], ignore_index=True).sort_values(list(key), kind="stable")
    with replacing(path) as temporary:
        to_cells(table).to_csv(temporary, index=False, float_format="%.5g")
