"""A program that uses the public names, for mypy: it is checked, never run."""

import pathlib
from typing import Any, Dict

import numpy as np

import simclr_tf
from simclr_tf.views import blur


def use(images: np.ndarray, labels: np.ndarray) -> Dict[str, Any]:
    run = simclr_tf.pretrain(images, pathlib.Path("runs/typed"), labels=labels, temperature=0.5)
    steps: np.ndarray = run.metrics["step"]
    run.plot().savefig("curves.png")
    model: simclr_tf.TrainedModel = simclr_tf.load(run.run_dir)
    h: np.ndarray = model.embed(images[: len(steps)])
    figures: Dict[str, Any] = simclr_tf.knn(model, images, labels)
    figures.update(simclr_tf.export(run), **simclr_tf.views(images), **simclr_tf.report(run))
    try:
        simclr_tf.finetune(run, label_fraction=0.1)
    except simclr_tf.SettingsError as error:
        value_error: ValueError = error
        raise value_error from None
    encoder: simclr_tf.ResNet = simclr_tf.ResNet(depth=18, stem="small")
    head: simclr_tf.ProjectionHead = simclr_tf.ProjectionHead(num_layers=2)
    loss: simclr_tf.NTXent = simclr_tf.NTXent(temperature=0.5)
    views = simclr_tf.make_views(images, image_size=32, use_blur=False)
    schedule = simclr_tf.WarmUpCosine(0.3, 10, 100)
    return {
        "parts": (encoder, head, loss, simclr_tf.LARS(schedule), blur),
        "h": h,
        "views": views,
        **figures,
    }
