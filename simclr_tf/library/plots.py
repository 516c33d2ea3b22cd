"""The curves of a training."""

import io
from typing import Any, Dict

import numpy as np
from matplotlib.figure import Figure

from simclr_tf import config
from simclr_tf.losses.table import chance_value


class ShownFigure(Figure):
    """A figure that a notebook shows, without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def draw_curves(metrics: Dict[str, np.ndarray], settings: Dict[str, Any]) -> Figure:
    """Three plots over steps: loss and its chance value, contrastive accuracy, learning rate.

    Args:
        metrics: {name: array}, as of PretrainingRun.metrics.
        settings: {setting name: value} of the pretraining.
    """
    figure = ShownFigure(figsize=(11, 3), dpi=100, layout="constrained")
    titles = {
        "loss": "loss",
        "contrastive_accuracy": "contrastive accuracy",
        "learning_rate": "learning rate",
    }
    for axis, (name, title) in zip(figure.subplots(1, 3), titles.items()):
        values = metrics.get(name, np.full(len(metrics["step"]), np.nan))
        axis.plot(metrics["step"], values, marker="." if len(values) < 30 else "", label=title)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        chance = None
        if name == "loss":
            batch = settings.get("cached_batch_size") or settings["train_batch_size"]
            chance = chance_value(config.section_from(config.Loss, settings), batch)
        if chance is not None:
            axis.axhline(chance, color="grey", linestyle="--", label=f"chance {chance:.2f}")
            axis.legend()
        if name == "contrastive_accuracy":
            axis.set_ylim(0, 1)
    return figure
