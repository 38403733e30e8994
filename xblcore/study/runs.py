"""Runs: what is trained, cached and counted, in the main grid and in every experiment."""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
import json
import os
import pickle
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from xblcore import cam, data, methods, metrics, project
from xblcore.decoys import Decoy, Decoyed
from xblcore.examples import Examples
from xblcore.study import config, evaluate, explainers, feedback, models
from xblcore.study.config import Condition, TaskSettings
from xblcore.study.evaluate import Measurement
from xblcore.study.train import DivergedError, EpochLog, TrainConfig, fit

GALLERY = 8  # images of test_decoy, one of each class, whose CAMs are kept over training
SCHEDULER = "DASK_SCHEDULER_ADDRESS"


@dataclass(frozen=True)
class Run:
    """One network to train and measure; equal runs give the same numbers."""

    task: str
    method: str  # a key of xblcore.methods.METHODS
    weight: float  # of the explanation loss
    seed: int  # of the initial weights, the order of the images and the annotated ones
    condition: Condition = field(default_factory=Condition)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", float(self.weight))  # 3 and 3.0 are the same run


Trial = tuple[Condition, str, str]  # condition, task and method that a weight is chosen for


@dataclass(frozen=True)
class Result:
    """What a run yields.

    ``state``, the weights of the network, and ``over_training``, CAMs of the gallery
    ``(epochs, G, h, w)``, are kept for runs with the default condition only.
    """

    run: Run
    data: str  # original or stand-in
    rows: list[Measurement]
    history: list[EpochLog]
    seconds: float  # wall time of training and measuring
    state: dict[str, Tensor] | None = None
    over_training: Tensor | None = None


def device_of(settings: TaskSettings) -> torch.device:
    """Return the device of the runs."""
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise ValueError("device must be available, got 'cuda'; set `device: cpu` in params.yaml")
    return torch.device("cuda" if available and settings.device != "cpu" else "cpu")


def new_model(run: Run, settings: TaskSettings) -> models.SplitNet:
    """Build the network of a run, with weights drawn by its seed."""
    channels, size = _shape(run.task)
    model = models.build(
        run.condition.network or settings.network,
        channels=channels,
        classes=len(data.info(run.task)["classes"]),
        size=size,
        seed=run.seed,
    )
    return model.to(device_of(settings))


def _shape(task: str) -> tuple[int, int]:
    """Return the channels and the side of the images of a task."""
    shape = data.load(task, split="test_clean").images.shape
    return shape[1], shape[2]


@functools.lru_cache(maxsize=12)
def _decoyed(task: str, split: str, decoy: Decoy | None, _digest: str) -> Decoyed:
    return data.decoyed(task, split=split, decoy=decoy)


def load_split(run: Run, settings: TaskSettings, split: str) -> Examples:
    """Load a split with the decoy of the run; annotations are the true masks."""
    if split.endswith("_clean"):
        return data.load(run.task, split=split)
    decoy, digest = run.condition.decoy or settings.decoy, data.info(run.task)["digest"]
    done = _decoyed(run.task, split.removesuffix("_swapped"), decoy, digest)
    return done.swapped if split.endswith("_swapped") else done.examples


@functools.lru_cache(maxsize=64)
def _receptive_field(network: str, layer: str, channels: int, size: int) -> cam.ReceptiveField:
    model = models.build(network, channels=channels, classes=2, size=size, seed=0)
    return cam.receptive_field(model, layer, (channels, size, size))


def receptive_field(run: Run, settings: TaskSettings) -> cam.ReceptiveField:
    """Measure the receptive field of the layer that the run explains in training."""
    return _receptive_field(
        run.condition.network or settings.network,
        run.condition.layer or models.SplitNet.cam_layer,
        *_shape(run.task),
    )


def training_examples(run: Run, settings: TaskSettings) -> Examples:
    """Return the training images of a run, annotated on the grid of the explained layer."""
    condition, seen = run.condition, receptive_field(run, settings)
    annotated = _annotated(
        run.task,
        condition.decoy or settings.decoy,
        condition.feedback,
        condition.annotated,
        run.seed if _is_random(condition) else None,
        seen.grid,
        seen.margin if condition.margin is None else condition.margin,
        data.info(run.task)["digest"],
    )
    images = load_split(run, settings, methods.get(run.method).train_split).images
    return replace(annotated, images=images)


def _is_random(condition: Condition) -> bool:
    """Whether the annotations may depend on the seed."""
    return condition.feedback not in feedback.EXACT or condition.annotated is not None


@functools.lru_cache(maxsize=4)  # distance maps take as long as some epochs of training
def _annotated(
    task: str, decoy: Decoy | None, quality: str, count: int | None, seed: int | None,
    grid: tuple[int, int], margin: int, digest: str,
) -> Examples:  # fmt: skip
    examples = _decoyed(task, "train", decoy, digest).examples
    masks = feedback.Marks(examples.object_mask.numpy(), examples.decoy_mask.numpy())
    masks = feedback.mark(quality, *masks, np.random.default_rng([1, seed or 0]))
    if count is not None:
        masks = feedback.only_some(masks, count, np.random.default_rng([2, seed or 0]))
    object_mask, decoy_mask = map(torch.from_numpy, masks)
    examples = replace(examples, object_mask=object_mask, decoy_mask=decoy_mask)
    return examples.on_grid(grid, margin=margin)


def gallery(run: Run, settings: TaskSettings) -> Examples:
    """Return one image of each class of ``test_decoy``, with the true masks on the CAM grid."""
    examples = load_split(run, settings, "test_decoy")
    labels = examples.labels.tolist()
    index = torch.tensor([labels.index(label) for label in sorted(set(labels))][:GALLERY])
    return examples.take(index).on_grid(own_grid(run, settings))


def own_grid(run: Run, settings: TaskSettings) -> tuple[int, int]:
    """Return the grid of the network's own CAM layer, on which all explanations are measured."""
    network = run.condition.network or settings.network
    return _receptive_field(network, models.SplitNet.cam_layer, *_shape(run.task)).grid


def run(run: Run, *, settings: TaskSettings | None = None) -> Result:
    """Train and measure the network of a run, by default with the settings of ``params.yaml``."""
    settings = settings or config.load().task(run.task)
    if torch.get_num_threads() != settings.threads:
        torch.set_num_threads(settings.threads)
    device, started = device_of(settings), time.perf_counter()
    method, condition, size = methods.get(run.method), run.condition, settings.size
    model = new_model(run, settings)
    is_main, watched = condition == Condition(), list[Tensor]()
    shown = gallery(run, settings).to(device)
    best_accuracy, best_state = -1.0, dict[str, Tensor]()

    def watch(_log: EpochLog) -> None:
        nonlocal best_accuracy, best_state
        if is_main:
            maps = evaluate.attributions(
                model, shown.images, explainers.get("hires_cam"), layer=model.cam_layer
            )
            watched.append(maps.cpu())
        if condition.keep == "best":
            clean = load_split(run, settings, "test_clean").to(device)
            logits = evaluate.predict(model, clean.images)
            accuracy = metrics.accuracy(logits, clean.labels).mean().item()
            if accuracy > best_accuracy:
                best_accuracy = accuracy
                best_state = {name: t.clone() for name, t in model.state_dict().items()}

    examples = training_examples(run, settings).to(device)
    training = TrainConfig(
        weight=run.weight, epochs=condition.epochs or size.epochs, batch_size=size.batch_size,
        learning_rate=condition.learning_rate or size.learning_rate, seed=run.seed,
        ramp_epochs=size.ramp_epochs,
        every=condition.every or settings.every, options=condition,
    )  # fmt: skip
    if condition.switch_on:
        plain = TrainConfig(
            weight=0.0, epochs=condition.switch_on, batch_size=size.batch_size,
            learning_rate=size.learning_rate, seed=run.seed,
        )  # fmt: skip
        fit(model, examples, methods.get("erm"), plain)
    try:
        history = fit(
            model, examples, method, training, layer=condition.layer or model.cam_layer,
            on_epoch=watch,
        )  # fmt: skip
        model.load_state_dict(best_state or model.state_dict())
    except DivergedError as error:
        warnings.warn(f"{run} counts as collapsed, with all weights 0: {error}", stacklevel=2)
        history = []
        for tensor in model.state_dict().values():
            tensor.zero_()
    if method.refit:
        method.refit(model, _without_shortcut(run, settings).to(device), run.weight)
    return Result(
        run, data.info(run.task)["data"], measure(model, run, settings), history,
        time.perf_counter() - started,
        {name: value.cpu() for name, value in model.state_dict().items()} if is_main else None,
        torch.stack(watched) if watched else None,
    )  # fmt: skip


def _without_shortcut(run: Run, settings: TaskSettings) -> Examples:
    """Validation images in which the decoy is that of the own class in one of K images only."""
    own, swapped = (load_split(run, settings, split) for split in ("val", "val_swapped"))
    index = torch.arange(len(own)) % len(data.info(run.task)["classes"]) == 0
    images = torch.where(index[:, None, None, None], own.images, swapped.images)
    return replace(own, images=images)


def measure(model: models.SplitNet, run: Run, settings: TaskSettings) -> list[Measurement]:
    """Measure behaviour on all splits, and explanations on ``test_decoy``."""
    device = device_of(settings)
    names = ("val", "val_swapped", "test_decoy", "test_clean")
    splits = {name: load_split(run, settings, name).to(device) for name in names}
    swapped = {
        name: load_split(run, settings, f"{name}_swapped").to(device)
        for name in ("val", "test_decoy")
    }
    rows = evaluate.behaviour(model, splits, swapped)
    if not run.condition.explained:
        return rows
    grid = own_grid(run, settings)
    for maps, count in (
        (explainers.CAMS, settings.explained_images),
        (explainers.HELD_OUT, settings.held_out_images),
    ):
        few = splits["test_decoy"].take(slice(count)).on_grid(grid)
        rows += evaluate.explanations(model, "test_decoy", few, maps, layer=model.cam_layer)
    return rows


# The cache


def key(run: Run, settings: TaskSettings) -> str:
    """Return a digest of everything that decides the numbers of a run.

    Comments, docstrings, error messages and the penalties of other methods in ``methods.py`` do not
    count.
    """
    changed = run.condition.feedback != "correct" or run.condition.annotated is not None
    about = {
        "run": asdict(run),
        "settings": settings.model_dump(),
        "data": data.info(run.task)["digest"],
        "code": _code_digest(run.method),
        "feedback": changed and _syntax(Path(feedback.__file__)),
        "torch": torch.__version__,
        "device": str(device_of(settings)),
    }
    text = json.dumps(about, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


# What decides numbers in two modules that also hold other things.
_NUMERICAL = {
    "methods": ("Step", "ReluInputs", "Options", "rescaled", "influence_gradient",
                "perturbed", "noisy"),
    "study/runs": ("GALLERY", "new_model", "load_split", "_decoyed", "receptive_field",
                   "_receptive_field", "training_examples", "_without_shortcut", "_annotated",
                   "_is_random", "own_grid", "run", "measure"),
}  # fmt: skip


@functools.lru_cache
def _code_digest(method: str) -> str:
    """Digest the numerical code, and of the registry only what concerns the method."""
    package = Path(methods.__file__).parent
    names = ("examples", "cam", "distance", "losses", "metrics", "decoys",
             "study/models", "study/train", "study/evaluate", "study/explainers")  # fmt: skip
    entry = methods.get(method)
    functions = {part.__name__ for part in (entry.penalty, entry.augment, entry.refit) if part}
    functions |= {"_xbl_d_plus"} if method == "xbl_d_plus_first" else set()
    parts = [_syntax(package / f"{name}.py") for name in names]
    if method == "cdep":  # the only one that uses it
        parts.append(_syntax(package / "contextual.py"))
    parts += [_syntax(path) for path in sorted((package / "data").glob("*.py"))
              if path.name != "folder.py"]  # fmt: skip
    parts += [_syntax(package / f"{name}.py", only) for name, only in _NUMERICAL.items()]
    parts.append(_syntax(package / "methods.py", functions))
    parts.append(repr((entry.ce_weight, entry.train_split, sorted(entry.needs))))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _syntax(path: Path, only: Collection[str] | None = None) -> str:
    """Return the syntax tree of a module or some definitions, without docstrings and messages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if only is not None:
        tree.body = [node for node in tree.body if _defined(node) & set(only)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            node.exc = None
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _defined(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _cache_file(run: Run, settings: TaskSettings) -> Path:
    # Outside the outputs of DVC, which it removes.
    return project.root() / "build" / "runs" / run.task / f"{key(run, settings)}.pt"


def cached(run: Run, settings: TaskSettings) -> Result | None:
    """Return the result of a finished run; a corrupt cache file is reported and removed."""
    path = _cache_file(run, settings)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            expected, content = file.read(64).decode(), file.read()
        if hashlib.sha256(content).hexdigest() != expected:
            raise ValueError("wrong checksum")
        result = pickle.loads(content)
    except (ValueError, pickle.UnpicklingError, EOFError, AttributeError) as error:
        warnings.warn(
            f"Removed a corrupt cache file ({error}); it will be regenerated: {path}", stacklevel=2
        )
        path.unlink()
        return None
    return result if isinstance(result, Result) else None


def _execute(one: Run, settings: TaskSettings) -> Result:
    """Run on a worker, and keep the result in the cache."""
    result = run(one, settings=settings)
    _keep(result, settings)
    return result


def _keep(result: Result, settings: TaskSettings) -> None:
    content = pickle.dumps(result)
    with project.write_atomic(_cache_file(result.run, settings)) as temporary:
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + content)


def results(
    runs: Iterable[Run], *, settings: config.Config | None = None, progress: bool = True
) -> list[Result]:
    """Execute runs that are not cached and return the results of all, in order.

    Runs execute on all local cores, or on a Dask cluster if ``DASK_SCHEDULER_ADDRESS`` is set. Each
    is cached as it finishes, so that stopping loses only the runs in training.
    """
    settings = settings or config.load()
    wanted = list(dict.fromkeys(runs))
    own = {run.task: settings.task(run.task) for run in wanted}
    done = {run: result for run in wanted if (result := cached(run, own[run.task])) is not None}
    missing = [run for run in wanted if run not in done]
    with tqdm(total=len(wanted), initial=len(done), desc="runs", disable=not progress) as bar:
        for result in _parallel(missing, own):
            done[result.run] = result
            bar.update()
    return [done[run] for run in wanted]


def _parallel(missing: Sequence[Run], own: dict[str, TaskSettings]) -> Iterator[Result]:
    if not missing:
        return
    tasks = [joblib.delayed(_execute)(run, own[run.task]) for run in missing]
    address = os.environ.get(SCHEDULER)
    if not address:
        yield from joblib.Parallel(
            n_jobs=min(len(missing), joblib.cpu_count()), return_as="generator_unordered"
        )(tasks)
        return
    from distributed import Client, as_completed  # an optional dependency

    with Client(address) as client:
        futures = [client.submit(_execute, run, own[run.task], pure=False) for run in missing]
        for _, result in as_completed(futures, with_results=True):
            _keep(result, own[result.run.task])  # the worker may have another disk
            yield result


def table(finished: Iterable[Result]) -> pd.DataFrame:
    """Return the tidy table of results, one row per measurement.

    Columns: ``task, data, method, weight, seed, condition``, the fields of :class:`Condition`,
    ``seconds``, and the fields of :class:`xblcore.study.evaluate.Measurement`.
    """
    rows: list[dict[str, Any]] = []
    for result in finished:
        run = result.run
        about = {
            "task": run.task, "data": result.data, "method": run.method, "weight": run.weight,
            "seed": run.seed, "condition": str(run.condition),
            **{f.name: getattr(run.condition, f.name) for f in fields(Condition)},
            "seconds": result.seconds,
        }  # fmt: skip
        rows += [{**about, **asdict(row)} for row in result.rows]
    return pd.DataFrame(rows)


# Trained networks


def trained_model(result: Result, settings: TaskSettings) -> models.SplitNet:
    """Return the network of a run with the default condition, in eval mode."""
    if result.state is None:
        raise ValueError(f"result must have the default condition, got {result.run.condition}")
    model = new_model(result.run, settings)
    model.load_state_dict(result.state)
    return model.eval()


def median_result(finished: Sequence[Result], method: str) -> Result:
    """Return the run of a method whose accuracy on clean test images is the median of its seeds."""
    own = [result for result in finished if result.run.method == method]
    ranked = sorted(own, key=lambda result: (clean_accuracy(result), result.run.seed))
    return ranked[(len(ranked) - 1) // 2]


def clean_accuracy(result: Result) -> float:
    """Return the accuracy on clean test images."""
    return _accuracy(result, "test_clean")


def _accuracy(result: Result, split: str) -> float:
    key = (split, "accuracy")
    return next(row.value for row in result.rows if (row.split, row.metric) == key)


def history(finished: Iterable[Result]) -> pd.DataFrame:
    """Return one row per epoch: ``method, seed, epoch, cross_entropy, penalty, accuracy``."""
    return pd.DataFrame(
        {"method": result.run.method, "seed": result.run.seed, **asdict(log)}
        for result in finished
        for log in result.history
    )


# Weight selection

EXTENSIONS = 3  # at most so many half decades beyond the candidates of params.yaml
HALF_DECADE = 10**0.5
TOLERANCE = 0.02  # accuracy; of weights that are this close to the best one, the smallest is chosen


def choose_weights(
    trials: Iterable[Trial], *, settings: config.Config | None = None,
    candidates: Sequence[float] = (),
) -> pd.DataFrame:  # fmt: skip
    """Choose the weight of each trial by accuracy on ``val_swapped``.

    Of all weights within :data:`TOLERANCE` of the best, about the standard error on 1,000 images,
    the smallest is chosen: larger ones collapse more often.
    ``val_swapped`` are the validation images with the decoy of another class. Using them requires
    knowledge of the decoy, but no test image. The runs have the selection seeds, which are not
    reported. While the chosen weight is the smallest or largest tried, the next half decade is
    tried as well, at most :data:`EXTENSIONS` times. ``candidates`` replace those of
    ``params.yaml``.

    Returns:
        One row per trial and tried weight: ``task, method, weight, accuracy`` (mean over the
        selection seeds), ``lowest`` (of the seeds), ``chosen``, ``chance``, ``recovers``: whether
        any weight of the trial exceeds chance by more than :data:`TOLERANCE`; and ``condition``.
    """
    settings = settings or config.load()
    tried = {
        trial: sorted(candidates) if candidates and methods.get(trial[2]).is_tuned
        else settings.candidates(*trial[1:])
        for trial in trials
    }  # fmt: skip
    scores: dict[Trial, pd.DataFrame] = {}
    for extension in range(EXTENSIONS + 1):
        runs = {
            trial: [Run(task, method, weight, seed, replace(condition, explained=False))
                    for weight in weights for seed in settings.selection_seeds]
            for trial, weights in tried.items() if len(weights) > 1
            for condition, task, method in [trial]
        }  # fmt: skip
        # All trials at once, so that no core waits.
        wanted = [run for own in runs.values() for run in own]
        found = {one.run: one for one in results(wanted, settings=settings)}
        longer = False
        for trial, weights in tried.items():
            own = pd.DataFrame(
                [(run.weight, _accuracy(found[run], "val_swapped")) for run in runs.get(trial, [])],
                columns=["weight", "accuracy"], dtype=float,
            )  # fmt: skip
            score = own.groupby("weight")["accuracy"].agg(["mean", "min"])
            scores[trial] = score.reindex(weights)  # NaN for a single weight, which is not run
            if len(weights) == 1 or extension == EXTENSIONS:
                continue
            best = _best(scores[trial]["mean"])
            if best in (weights[0], weights[-1]):
                step = best / HALF_DECADE if best == weights[0] else best * HALF_DECADE
                tried[trial] = sorted([*weights, round_half_decade(step)])
                longer = True
        if not longer:
            break
    table_rows = []
    for (condition, task, method), score in scores.items():
        chance = data.TASKS[task].chance
        best = _best(score["mean"].fillna(0))
        recovers = bool(score["mean"].max() > chance + TOLERANCE)
        table_rows += [
            {
                "task": task, "method": method, "weight": float(weight), "accuracy": mean,
                "lowest": lowest, "chosen": weight == best, "chance": chance, "recovers": recovers,
                "condition": str(condition),
            }
            for weight, mean, lowest in score.itertuples()
        ]  # fmt: skip
    return pd.DataFrame(table_rows)


def _best(accuracy: pd.Series) -> float:
    """Return the smallest weight of those close to the best; the largest if none has any effect."""
    best = accuracy.max()
    if best <= TOLERANCE:
        return float(accuracy.index.max())
    return float(accuracy.index[accuracy >= best - TOLERANCE].min())


def round_half_decade(weight: float) -> float:
    """Return the nearest of ..., 0.1, 0.3, 1, 3, 10, ...

    >>> round_half_decade(10 * 10**0.5), round_half_decade(0.03 / 10**0.5)
    (30.0, 0.01)
    """
    exponent = round(2 * np.log10(weight))
    return float(f"{(1 if exponent % 2 == 0 else 3) * 10.0 ** (exponent // 2):.12g}")


def main_grid(
    task: str, *, settings: config.Config | None = None
) -> tuple[pd.DataFrame, list[Result]]:
    """Choose the weights of a task's methods, and run the reported seeds with them.

    Returns the table of :func:`choose_weights`, and the results in the order of the methods.
    """
    settings = settings or config.load()
    trials = [(Condition(), task, method) for method in settings.methods]
    return _grid(trials, {task: settings.seeds}, settings)


def experiment(
    name: str, *, settings: config.Config | None = None
) -> tuple[pd.DataFrame, list[Result]]:
    """Run an experiment of ``params.yaml``, see :class:`xblcore.study.config.Experiment`.

    Methods that receive no annotation are run once for all conditions that only concern
    annotations. Tasks without data are left out, as are tasks without object masks where only these
    are given. Returns as :func:`main_grid`.
    """
    settings = settings or config.load()
    known = settings.all_experiments
    if name not in known:
        raise ValueError(f"experiment must be one of {', '.join(known)}, got {name!r}")
    own = known[name]
    tasks = [task for task in own.tasks if data.is_built(task)]
    if not tasks:
        raise FileNotFoundError(f"{', '.join(own.tasks)} must be built; run: make data")
    trials = [
        (condition, task, method)
        for task, condition in itertools.product(tasks, own.conditions)
        if _has_annotations(task, condition)
        for method in own.methods
    ]
    seeds = {task: own.seeds_on(task, settings.seeds) for task in tasks}
    return _grid(trials, seeds, settings, candidates=own.weights)


def _has_annotations(task: str, condition: Condition) -> bool:
    """Whether the task has the only masks that the condition gives."""
    needed = condition.feedback == "object_only"
    return not needed or bool(data.load(task, split="test_clean").object_mask.any())


def _grid(
    trials: Sequence[Trial], seeds: dict[str, list[int]], settings: config.Config, *,
    candidates: Sequence[float] = (),
) -> tuple[pd.DataFrame, list[Result]]:  # fmt: skip
    """Run the reported seeds of trials with the weights of the main grid.

    With ``candidates``, the weight of each trial is chosen among them.
    """
    tuned = [trial if candidates else (Condition(), *trial[1:]) for trial in trials]
    weights = choose_weights(dict.fromkeys(tuned), settings=settings, candidates=candidates)
    keys = ["condition", "task", "method"]
    chosen = weights[weights["chosen"]].set_index(keys)["weight"]
    grid = [
        Run(task, method, chosen[str(basis[0]), task, method], seed, _relevant(condition, method))
        for (condition, task, method), basis in zip(trials, tuned, strict=True)
        for seed in seeds[task]
    ]
    return weights, results(grid, settings=settings)


def _relevant(condition: Condition, method: str) -> Condition:
    """Return the condition with only the fields that affect the method."""
    entry = methods.get(method)
    if entry.penalty or entry.needs:
        return condition
    return Condition(
        network=condition.network, decoy=condition.decoy, switch_on=condition.switch_on,
        learning_rate=condition.learning_rate, epochs=condition.epochs, keep=condition.keep,
    )  # fmt: skip
