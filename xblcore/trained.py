"""Networks that the study has trained, loaded again to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from xblcore import explainers, models, results, weights
from xblcore.config import TaskConfig
from xblcore.evaluate import attributions, predict
from xblcore.prepare import TaskData
from xblcore.study import new_model


def load_model(
    task: str,
    method_name: str,
    settings: TaskConfig,
    data: TaskData,
    *,
    seed: int | None = None,
    root: Path | None = None,
) -> models.SplitNet:
    """A network that :func:`xblcore.study.save` kept, of the first seed unless told, in eval mode.

    Raises:
        FileNotFoundError: the method was not trained on the task.
        ValueError: not with this seed, or the file is damaged.
    """
    path = results.folder(task, method_name, root=root) / "weights.pt"
    if not path.is_file():
        raise FileNotFoundError(
            f"no networks of {method_name} on {task}; run: dvc repro train@{task}-{method_name}"
        )
    states = weights.read(path)
    chosen = str(settings.seeds[0] if seed is None else seed)
    if chosen not in states:
        raise ValueError(f"seed must be one of {', '.join(states)}, got {chosen}")
    model = new_model(settings, data, seed=0)
    model.load_state_dict(states[chosen])
    return model.eval()


def gallery_cams(
    task: str, method_names: Sequence[str], explainer: str, settings: TaskConfig, data: TaskData
) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """What each method's first network sees in the gallery: CAMs ``(G, h, w)`` and predictions.

    Raises:
        ValueError: no such explainer.
    """
    chosen = explainers.get(explainer)
    cams, predictions = {}, {}
    for name in method_names:
        model = load_model(task, name, settings, data)
        images = data.gallery.images
        cams[name] = attributions(model, images, chosen, layer=model.cam_layer).cpu()
        predictions[name] = predict(model, images).argmax(1).tolist()
    return cams, predictions
