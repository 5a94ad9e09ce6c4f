"""The one training loop: every method, every data set, with or without a notebook."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.optim import Optimizer

from mstl import methods
from mstl.data.augment import to_float
from mstl.data.batches import Batch, Batches, TargetBatch
from mstl.data.task import Task
from mstl.measures.attention import attention_entropy, scores, watched
from mstl.measures.probe import probe_accuracy
from mstl.nn import SOURCE, ramp
from mstl.nn.outputs import probabilities
from mstl.run import provenance
from mstl.run.averaged import AveragedWeights
from mstl.run.checkpoint import check_finite, fitting, load_checkpoint, not_finite, save_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.device import find_device
from mstl.run.distributed import Team, launch
from mstl.run.evaluate import predict_domain
from mstl.run.fabric import Fabric, LightningEnvironment
from mstl.run.log import ADVICE, LossRecord
from mstl.run.optimisers import factor, optimisers, set_rate
from mstl.run.precision import choose
from mstl.system.errors import InputError
from mstl.system.files import (
    append_line,
    check_writable,
    remove_temporaries,
    replacing,
    write_json,
)
from mstl.system.interrupt import Interrupted, postponed
from mstl.system.locks import alone_in
from mstl.system.progress import Progress
from mstl.system.tables import to_cells

# Entries of the manifest that a probe fills, and what it reads.
PROBED = {"domain_probe": "source_features", "domain_probe_attended": "attended_features"}
FINGERPRINTS = ("data_fingerprint", "source_fingerprint", "weights_fingerprint")
CHECKED = 32  # images of the target, with labels and without each, on which a run may be dead


def train(
    config: TrainConfig,
    on_log: Callable[[Trainer], None] | None = None,
    task: Task | None = None,
) -> Path:
    """Train, evaluate and leave one run folder; do nothing if the same run is finished already.

    A run that was interrupted goes on from its last checkpoint, on the CPU to bit-identical weights.
    ``manifest.json`` is written after the scores: where it stands, the run is whole. What only describes it
    (domain probes) is added then; until it is there the manifest says ``pending``, and of what went wrong
    there it keeps the reason under ``failed``.

    Args:
        config: what to train.
        on_log: called with the trainer whenever a line of metrics is written.
        task: sources and target, where they are at hand or of your own making; else ``config`` names them.

    Returns:
        The run's folder.

    Raises:
        InputError: bad parameters or data, a full disk, a loss that is not finite, another process at work in
            the folder, or a run of another configuration there.
        Interrupted: SIGINT or SIGTERM came while training; the checkpoint is written.
    """
    folder = config.folder
    kind = methods.find(config.method)
    # What would stop the run later stops it before any data is read.
    methods.check(config.method, config.labels > 0, config.problem)
    _check_network(config)
    find_device(config.device)
    check_writable("out", folder)
    task = config.task() if task is None else task
    _check_network(config, task)
    hyper = methods.configured(config.method, config.overrides, **_elsewhere(config))
    identity = {
        "settings": config.settings(),
        "data_fingerprint": task.fingerprint(),
        "source_fingerprint": provenance.source_fingerprint(kind),
        "weights_fingerprint": hyper.weights_fingerprint(),
    }
    if is_finished(folder, identity):
        print(f"{folder}: finished already, nothing to do", flush=True)
        return folder
    _say_what_goes(folder, identity)
    with alone_in(folder):
        remove_temporaries(folder)
        if config.devices > 1:
            choose(config, task.training[0].is_vectors)  # calibrates, if need be, before several processes do
            launch(_run, config, task, identity, on_log)
        else:
            _run(Team(), config, task, identity, on_log)
    return folder


def _check_network(config: TrainConfig, task: Task | None = None) -> None:
    """Refuse hyper-parameters of which no network can be made, without memory for one.

    How large an input is, and how many classes there are, the data alone can tell.
    """
    hyper = methods.configured(config.method, config.overrides, **_elsewhere(config))
    if task is not None:
        methods.check(config.method, problem=task.problem.name, reads=task.problem.reads)
        if methods.find(config.method).reads_sources and not task.sources:
            raise InputError(
                f"method {config.method!r} learns from sources, and task {task.name!r} has none; choose "
                "target_only, or give it some"
            )
    if task is not None or config.problem == "segmentation":
        with torch.device("meta"):
            hyper.networks(1, task and task.problem)


def _elsewhere(config: TrainConfig) -> dict[str, Any]:
    """Hyper-parameters that are parameters of the run."""
    return {"width": config.profiled("width"), "weights_dir": config.weights_dir}


def _run(
    team: Team,
    config: TrainConfig,
    task: Task,
    identity: dict[str, Any],
    on_log: Callable[[Trainer], None] | None,
) -> None:
    trainer = Trainer(config, task, team)
    trainer.restore(config.folder / "checkpoint.pt", identity)
    trainer.fit(config.folder, identity, on_log)
    if team.leads:
        trainer.evaluate(config.folder, identity)


def is_finished(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether ``folder`` holds the finished run ``identity``.

    Raises:
        InputError: it holds a finished run with other settings, which must not be overwritten silently.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return False
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        settings = found["settings"]
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{manifest} is no manifest of a run; delete it to train anew") from None
    _refuse_other_settings(manifest, settings, identity["settings"])
    if found.get("pending") and (folder / "checkpoint.pt").exists():
        return False  # ended while it was being described
    return not _changed(found, identity)


def _changed(found: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """Which of data and code are others than they were."""
    return [key for key in FINGERPRINTS if (found.get(key) or "") != (identity.get(key) or "")]


def _say_what_goes(folder: Path, identity: dict[str, Any]) -> None:
    """One line where a finished run is about to be replaced and no checkpoint is left that would say it."""
    manifest = folder / "manifest.json"
    if manifest.exists() and not (folder / "checkpoint.pt").exists():
        changed = _changed(json.loads(manifest.read_text(encoding="utf-8")), identity)
        print(f"{manifest}: {', '.join(changed)} changed since it was written; training anew", flush=True)


class Trainer:
    """State of one run: networks, optimisers, averaged weights, batches and the step counter.

    Args:
        config: what to train.
        task: sources and target.
        team: the processes that train it together; by default this one alone.
    """

    def __init__(self, config: TrainConfig, task: Task, team: Team | None = None) -> None:
        self.config, self.step, self.seconds = config, 0, 0.0
        self.team = Team() if team is None else team
        # Fabric announces the precision of every run.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        accelerator = find_device(config.device)
        devices = [self.team.rank] if self.team.world > 1 and accelerator == "cuda" else 1
        self.precision = choose(config, task.training[0].is_vectors)
        # A team is started by `distributed`, never by SLURM, which Fabric would otherwise ask for ranks.
        alone, precision = LightningEnvironment(), self.precision.precision
        self.fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision, plugins=alone)
        torch.manual_seed(config.seed)
        kind = methods.find(config.method)
        self.task = task.with_all_labels() if kind.all_labels else task
        self.method = methods.build(
            config.method,
            sources=len(task.sources),
            labelled=self.task.labelled is not None,
            overrides=config.overrides,
            problem=self.task.problem,
            partial=self.task.partial,
            **_elsewhere(config),
        )
        if not self.task.problem.classes:
            taught = (*self.task.sources, self.task.labelled)
            *sources, target = (None if d is None else float(d.masks.float().mean()) for d in taught)
            self.method.expect(sources, target)
        # On a CPU bfloat16 with channels first is fastest (benchmarks/bench_layout.py); GPUs want them last.
        if self.fabric.device.type == "cuda":
            self.method = self.method.to(memory_format=torch.channels_last)
        own = self.method.discriminator_parameters()
        taken = {id(p) for p in own}
        network = [p for p in self.method.parameters() if id(p) not in taken]
        named, rate = config.profiled("optimiser"), config.profiled("learning_rate")
        started = self.method.started_parameters(), self.method.hyper.encoder_rate
        made, self.rates = optimisers(named, rate, network, own, *started)
        self.model, *self.optimisers = self.fabric.setup(self.method, *made)
        for name in ("losses", "predict", "discriminator_losses", "observe"):
            self.model.mark_forward_method(name)
        decay = config.profiled("ema")
        self.averaged = AveragedWeights(self.method, decay) if decay else None
        for copy in (self.method, self.averaged):
            if copy is not None:
                self.team.share(copy)
        own_teacher = self.method.teacher if decay else 0.0
        self.teacher = own_teacher if config.mean_teacher is None else config.mean_teacher
        self.watched = watched(self.task)
        self.record = LossRecord()
        self.batches = Batches(
            self.task,
            batch_size=config.profiled("batch_size"),
            target_batch_size=config.profiled("target_batch_size"),
            seed=config.seed,
            synchronised=self.method.synchronised,
            appearance=self.method.hyper.appearance,
            device=self.fabric.device,
        )

    @property
    def progress(self) -> float:
        """Share of training done, in [0, 1]."""
        return self.step / self.config.profiled("steps")

    def update(self) -> dict[str, Tensor]:
        """One step: the losses' gradients, every optimiser, extra discriminator updates, averaged weights."""
        batch = next(self.batches)
        self._set_rates()
        self.method.train()
        with self.team.working():
            # Fabric enters autocast by itself only for forward(), not for other marked methods on one device.
            with self.fabric.autocast():
                batch = self._taught(batch)
                losses = self.model.losses(batch, self.progress)
                losses |= self._consistency(batch, losses)
            self._descend(losses, self.optimisers)
        extra: dict[str, Tensor] = {}
        for _ in range(self.method.discriminator_updates):
            with self.fabric.autocast():
                extra = self.model.discriminator_losses(batch, self.progress)
            self._descend(extra, self.optimisers[1:])
        if self.averaged is not None:
            self.averaged.update_parameters(self.method)
        self.step += 1
        return {name: loss.detach() for name, loss in (losses | extra).items()}

    def _descend(self, losses: dict[str, Tensor], optimisers: list[Optimizer]) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(_sum(losses))
        self.team.average_gradients(self.method)
        for optimiser in optimisers:
            optimiser.step()

    def fit(
        self, folder: Path, identity: dict[str, Any], on_log: Callable[[Trainer], None] | None = None
    ) -> None:
        """Update until the last step, writing metrics and checkpoints on the way."""
        steps = self.config.profiled("steps")
        metrics = folder / "metrics.jsonl"
        if self.team.leads:
            write_json(folder / "config.json", identity)
            _keep_lines_until(metrics, self.step)
        start = time.perf_counter() - self.seconds
        label = f"{self.config.method} seed {self.config.seed}"
        with Progress(label, steps, self.step) as progress, postponed() as signalled:
            while self.step < steps:
                self.record.add(self.update())
                number = self.team.agree(signalled())
                self.seconds = time.perf_counter() - start
                if self._due("log_every"):
                    line = self._log_line()
                    if self.team.leads:
                        append_line(metrics, json.dumps(line))
                        if on_log is not None:
                            on_log(self)
                        progress.update(self.step, loss=line["loss"])
                elif self.team.leads and progress.due():
                    progress.update(self.step)
                if number or self._due("checkpoint_every"):
                    self._save(folder / "checkpoint.pt", identity)
                if number:
                    raise Interrupted(
                        number,
                        f"after step {self.step} of {steps}: the checkpoint is written; "
                        "the same command goes on from there",
                    )

    def _due(self, every: str) -> bool:
        """Whether this step is one of those, or the last."""
        return self.step % self.config.profiled(every) == 0 or self.step == self.config.profiled("steps")

    def _save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write a checkpoint, unless something in it is not finite.

        Raises:
            InputError: it is, or the disk is full; the last good checkpoint stays.
        """
        self.record.check(self.step)
        state = self.state()
        if bad := not_finite(state):
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise InputError(f"weights not finite after step {self.step}: {bad[0]}{more}; {ADVICE}")
        if self.team.leads:
            save_checkpoint(path, state | identity)

    def predict(self, images: Tensor) -> Tensor:
        """Logits by the weights that are evaluated: the averaged ones, or the last."""
        method = self.method if self.averaged is None else self.averaged.module
        method.eval()
        with torch.no_grad(), self.fabric.autocast():
            return method.predict(images.to(self.fabric.device)).float()

    def evaluate(self, folder: Path, identity: dict[str, Any]) -> None:
        """Scores per image of validation and test cars, where there are any, domain probes, the manifest."""
        start = time.perf_counter()
        tables = []
        for split in ("validation", "test"):
            domain = getattr(self.task, split)
            if domain is None:
                continue
            logits = predict_domain(self.predict, domain, self.fabric.device)
            table = self.task.problem.table(logits, domain)
            table.insert(0, "split", split)
            tables.append(table)
        if tables:
            with replacing(folder / "images.csv") as temporary:
                to_cells(pd.concat(tables)).to_csv(temporary, index=False, float_format="%.6g")
        constant = self._constant()
        if constant:
            print(
                f"{folder}: predicts {constant} on all training images of the target: it did not learn, or "
                "what it learned does not reach them; train longer or set another learning_rate",
                flush=True,
            )
        memory = provenance.peak_memory(self.fabric.device)
        manifest = identity | {
            "command": " ".join(["python -m mstl train", *_flags(self.config)]),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
            "device": provenance.device_name(self.fabric.device),
            "devices": self.team.world,
            "precision": self.precision.precision,
            "precision_because": self.precision.reason,
            "parameters": sum(p.numel() for p in self.method.parameters()),
            "seconds_training": round(self.seconds, 2),
            "seconds_evaluation": round(time.perf_counter() - start, 2),
            "peak_memory_gib": memory,
            "sources": [source.name for source in self.task.sources],
            "partial": self.task.partial,
            "constant": constant,
        }
        if self.task.problem.classes:
            manifest |= {"classes": self.task.problem.classes, "shape": self.task.problem.shape}
        if vocabulary := self.task.training[0].vocabulary:
            manifest |= {"vocabulary": vocabulary}
        if self.task.test is None:
            manifest |= {"tested": False}
        # From here on the run counts, whatever becomes of what only describes it.
        pending = {name: {} for name in PROBED}
        write_json(folder / "manifest.json", manifest | pending | {"pending": sorted(pending)})
        probed, failed = dict(pending), {}
        for name, features in PROBED.items():
            try:
                probed[name] = self._probes(features)
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"
                print(f"{folder}: no {name} ({failed[name]}); the scores are written", flush=True)
        write_json(folder / "manifest.json", manifest | probed | ({"failed": failed} if failed else {}))

    def _constant(self) -> str:
        """What is predicted on the target's training images if it is always the same, else ``""``."""
        images = torch.cat([domain.images[:CHECKED] for domain in self.task.training])
        return self.task.problem.constant(self.predict(to_float(images)))

    def state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on: tensors and plain values only."""
        cuda = [torch.cuda.get_rng_state(self.fabric.device)] if self.fabric.device.type == "cuda" else []
        return {
            "step": self.step,
            "seconds": self.seconds,
            "method": self.method.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            # Their hyper-parameters are the run's and are not read back.
            "optimisers": [optimiser.state_dict()["state"] for optimiser in self.optimisers],
            "scaler": self.fabric.strategy.precision.state_dict(),
            "losses": self.record.state_dict(),
            "batches": self.batches.state_dict(),
            "rng": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def restore(self, path: Path, identity: dict[str, Any]) -> None:
        """Go on from the checkpoint at ``path`` if there is one and nothing that matters has changed.

        Raises:
            InputError: the checkpoint is damaged or of another configuration.
        """
        if not path.exists():
            return
        state = load_checkpoint(path)
        _refuse_other_settings(path, state.get("settings"), identity["settings"])
        if changed := _changed(state, identity):
            if self.team.leads:
                print(f"{path}: {', '.join(changed)} changed since it was written; training anew", flush=True)
            return
        with fitting(path, "this run"):
            check_finite(state)
            self.batches.load_state_dict(state["batches"])
            self.method.load_state_dict(state["method"])
            if self.averaged is not None:
                self.averaged.load_state_dict(state["averaged"])
            for optimiser, own in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(optimiser.state_dict() | {"state": own})
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
            self.record.load_state_dict(state["losses"], self.fabric.device)
            torch.set_rng_state(state["rng"]["cpu"])
            if self.fabric.device.type == "cuda" and state["rng"]["cuda"]:
                torch.cuda.set_rng_state(state["rng"]["cuda"][0], self.fabric.device)
            self.step, self.seconds = state["step"], state["seconds"]
        if self.team.leads:
            print(f"{path}: going on from step {self.step}", flush=True)

    def _set_rates(self) -> None:
        share = factor(self.config.profiled("schedule"), self.progress)
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            set_rate(optimiser, rate * share)

    def _taught(self, batch: Batch) -> Batch:
        """The batch with what the averaged weights predict on unlabelled images, where there is a teacher."""
        if self.teacher == 0 or len(batch.target.y) == len(batch.target.x):
            return batch
        taught: dict[int, TargetBatch] = {}
        with torch.no_grad(), self.averaged.teaching() as teacher:
            for target in batch.targets:  # synchronised, the same object J times
                if id(target) not in taught:
                    logits = teacher.predict(target.plain[target.unlabelled])
                    taught[id(target)] = replace(target, taught=probabilities(logits))
        return replace(batch, targets=tuple(taught[id(target)] for target in batch.targets))

    def _consistency(self, batch: Batch, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean teacher: weighted squared distance between predictions of network and averaged weights.

        On the unlabelled images of the batch: the labelled ones have better teachers.

        Source: Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017.
        """
        target = batch.target
        if target.taught is None:
            return {}
        distance = losses.get("consistency")
        if distance is None:
            predicted = probabilities(self.model.predict(target.x[target.unlabelled]))
            distance = (predicted - target.taught).square().mean()
        return {"consistency": self.teacher * ramp(self.progress) * distance}

    def _log_line(self) -> dict[str, Any]:
        self.record.check(self.step)
        sums, count, self.record = self.record.sums, self.record.count, LossRecord()
        self.method.eval()
        # What is observed may draw; the run's random numbers must not depend on how often it is logged.
        with torch.random.fork_rng(devices=[]), self.fabric.autocast():
            batch = self.batches.at(self.step - 1)
            observed = self.model.observe(batch, self.progress)
            attention = self._attention()
        values = torch.stack([*sums.values(), *(v.detach().float() for v in observed.values())]).tolist()
        losses = {name: value / count for name, value in zip(sums, values, strict=False)}
        total = sum(value for name, value in losses.items() if name != "discriminator")
        line = {
            "step": self.step,
            "progress": self.progress,
            "seconds": round(self.seconds, 3),
            "loss": total,
        }
        line |= {f"loss_{name}": value for name, value in losses.items()}
        if constant := self.task.problem.constant(self.predict(batch.target.plain)):
            line["constant"] = constant
        seen = dict(zip(observed, values[len(sums) :], strict=True))
        self.method.adapt(seen)
        return line | seen | attention

    @torch.no_grad()
    def _attention(self) -> dict[str, float]:
        """Entropy of the attention, and with part maps how well it ranks each source's own part (AUC)."""
        whole = self.task.validation or self.task.training[-1]
        domain = whole if self.watched is None else self.watched.domain
        maps = self.method.attention_maps(to_float(domain.images[:24].to(self.fabric.device)))
        if maps is None:
            return {}
        if self.watched is None:
            return {"attention_entropy": attention_entropy(maps).mean().item()}
        return {k: v for k, v in scores(maps.cpu(), self.watched).items() if math.isfinite(v)}

    def _probes(self, features: str) -> dict[str, float | None]:
        """Accuracy of a fresh probe for every source, on what the method's function ``features`` returns.

        None where a source has too few cars to tell; nothing where no target image is left to tell apart.
        """
        if self.task.test is None:
            return {}
        method = self.method if self.averaged is None else self.averaged.module
        read = getattr(method, features)
        result = {}
        for j, source in enumerate(self.task.sources):
            if read(to_float(source.images[:1].to(self.fabric.device)), j, SOURCE) is None:
                return {}
            source = replace(source, images=self.batches.source_images(j).cpu())
            accuracy = probe_accuracy(
                lambda images, domain, j=j: read(images.to(self.fabric.device), j, domain),
                source,
                self.task.test,
            )
            result[source.name] = None if math.isnan(accuracy) else round(accuracy, 4)
        return result


def _sum(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(tuple(losses.values())).sum()


def _refuse_other_settings(path: Path, found: Any, wanted: dict[str, Any]) -> None:
    found = found if isinstance(found, dict) else {}
    differing = [k for k in wanted if found.get(k) != wanted[k]]
    if differing:
        details = ", ".join(f"{k} is {found.get(k)!r} there and {wanted[k]!r} here" for k in differing)
        raise InputError(
            f"{path} belongs to another configuration: {details}; choose another out or delete the folder"
        )


def _keep_lines_until(metrics: Path, step: int) -> None:
    """Drop lines written after the checkpoint that training goes on from: those steps come again."""
    lines = metrics.read_bytes().splitlines() if metrics.exists() and step else []
    kept = []
    for line in lines:
        try:
            entry = json.loads(line)
            if entry["step"] <= step:
                kept.append(line.decode("utf-8"))
        except (ValueError, LookupError, TypeError):  # half a line, from a run that was killed
            break
    with replacing(metrics) as temporary:
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _flags(config: TrainConfig) -> list[str]:
    default = TrainConfig()
    flags = []
    for name, value in vars(config).items():
        if value != getattr(default, name) and name not in ("data_dir", "weights_dir", "out"):
            text = f'"{value}"' if isinstance(value, str) and " " in value else str(value)
            flags += [f"--{name.replace('_', '-')}", text]
    return flags
