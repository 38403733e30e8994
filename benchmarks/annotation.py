"""What 25 marked images are worth: the study's ERM networks, refined by few marks and by all.

On Decoy Fashion-MNIST, for every seed of the profile, the same plainly trained network is refined
the same way five times: with nothing but its classes ("control"), with 25 images marked by
simulated, jittered strokes, and with all images marked exactly, either by what is wrong (the decoy)
or by the object. The share of full annotation's gain in clean accuracy that the few marks reach is
given with Student's t interval over the seeds. All five see as many images: `refine` shows the few
marked ones often, so full annotation gets more epochs. "cpu" is what a run costs on one core that
is not shared. The strokes are a model of a person's, not a person's
(:mod:`xblcore.widgets.simulated`).

Needs the built data and the ERM networks: `dvc repro train@decoy_fashion_mnist-erm`. Takes some
eight minutes on one core.

    python benchmarks/annotation.py [--count 25] [--epochs 3] [--csv benchmarks/annotation.csv]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import torch
from _options import file, make, told, whole
from torch import nn

from xblcore import config, datasets, evaluate, metrics, prepare, project, results, stats, trained
from xblcore.manifest import environment
from xblcore.widgets import MarkedImages, refine, simulate
from xblcore.widgets.refining import repeated
from xblcore.widgets.simulated import masks_of

TASK = "decoy_fashion_mnist"
LAYERS = ("wrong", "object")
SHARE = 0.5  # of the images shown are marked, by repeating them


def accuracy(model: nn.Module, clean: evaluate.Marked) -> float:
    """On clean test images."""
    return metrics.accuracy(evaluate.predict(model, clean.images), clean.labels).mean().item()


def marks(split: datasets.Split, count: int, seed: int) -> dict[str, tuple[str, MarkedImages]]:
    """Each way of marking by its name: the method to refine by, and the marked images."""
    truth = {"wrong": split.decoy_mask, "object": split.object_mask}
    nothing = np.zeros_like(split.decoy_mask)

    def marked(layer: str, mask: np.ndarray) -> MarkedImages:
        masks = {name: mask if name == layer else nothing for name in LAYERS}
        names = tuple(str(n) for n in range(len(split)))
        images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
        return MarkedImages(names, images, labels, masks["object"], masks["wrong"])

    ways = {}
    for layer in LAYERS:
        strokes = simulate(truth[layer], layer, generator=np.random.default_rng(seed), count=count)
        few = marked(layer, masks_of(strokes, nothing.shape, layer))
        ways[f"{count} {layer}"] = "xbl_d", few
        ways[f"all {layer}"] = "xbl_d", marked(layer, truth[layer])
    return {"control": ("erm", few), **ways}


Inputs = tuple[datasets.Split, evaluate.Marked, dict[int, nn.Module]]


def inputs() -> Inputs:
    """Training images, clean test images, and the ERM network of every seed."""
    settings = config.load().task(TASK)
    data, split = prepare.load_data(settings), datasets.load(TASK, split="train")
    networks = {
        seed: trained.load_model(TASK, "erm", settings, data, seed=seed) for seed in settings.seeds
    }
    return split, data.evaluation["test_clean"], networks


def measured(found: Inputs, count: int, epochs: int) -> pd.DataFrame:
    """One row a seed and way of marking."""
    split, clean, networks = found
    rows = []
    for seed, erm in networks.items():
        before = accuracy(erm, clean)
        ways = marks(split, count, seed)
        few = ways["control"][1]
        for way, (method, marked) in ways.items():
            repeats = len(repeated(len(split), few.marked, SHARE))
            passes = round(epochs * repeats / len(repeated(len(split), marked.marked, SHARE)))
            started = time.perf_counter(), time.process_time()
            done = refine(
                erm, marked, method, epochs=passes, marked_share=SHARE, seed=seed,
                progress=False,
            )  # fmt: skip
            seconds = time.perf_counter() - started[0], time.process_time() - started[1]
            rows.append(
                {
                    "seed": seed,
                    "way": way,
                    "method": method,
                    "images": len(split),
                    "marked": len(marked.marked),
                    "epochs": passes,
                    "before": before,
                    "accuracy": accuracy(done.model, clean),
                    "seconds": seconds[0],
                    "cpu_seconds": seconds[1],
                }  # fmt: skip
            )
            print(f"seed {seed}  {way:10}  {before:.3f} -> {rows[-1]['accuracy']:.3f}"
                  f"  {seconds[0]:.0f} s, cpu {seconds[1]:.0f} s", flush=True)  # fmt: skip
    return pd.DataFrame(rows)


def with_interval(values: pd.Series, digits: int = 3) -> str:
    """Mean and 95% interval."""
    found = stats.mean_ci(values)
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a way of marking: clean accuracy, share of full annotation's gain, seconds."""
    by_way = table.pivot(index="seed", columns="way", values="accuracy")
    before = table.groupby("seed")["before"].first()
    rows = [{"way": "before refining", "clean accuracy": with_interval(before)}]
    for way in table["way"].unique():
        row = {"way": way, "clean accuracy": with_interval(by_way[way])}
        full = f"all {way.split()[-1]}"
        if way != full and full in by_way:
            share = stats.recovery(by_way[way], before, by_way[full])
            row["share of full annotation's gain"] = with_interval(share, 2)
        of_way = table[table["way"] == way]
        row |= {"seconds": f"{of_way['seconds'].mean():.0f}",
                "cpu seconds": f"{of_way['cpu_seconds'].mean():.0f}"}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def main() -> None:
    """Measure, print the table and write every number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=whole(), default=25)
    parser.add_argument("--epochs", type=whole(), default=3)
    parser.add_argument("--csv", type=file, default=project.root() / "benchmarks/annotation.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with told(parser):
        make(options.csv.parent, "--csv")
        found = inputs()
    table = measured(found, options.count, options.epochs)
    about = environment()
    versions = {name: about["packages"][name] for name in ("torch", "numpy", "xblcore")}
    versions |= {"python": about["python"], "processor": about["processor"], "threads": 1}
    results.write_csv(table.assign(**versions), options.csv)
    print(results.markdown(summary(table)))


if __name__ == "__main__":
    main()
