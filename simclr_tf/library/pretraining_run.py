"""A pretraining as a Python object: its encoder, its results and the curves of its training."""

import json
import os
from typing import TYPE_CHECKING, Any, Dict, Optional

import numpy as np

from simclr_tf.data import memory
from simclr_tf.errors import DataError
from simclr_tf.library import calls
from simclr_tf.library.trained import TrainedModel
from simclr_tf.runs.files import read_json
from simclr_tf.runs.metrics_log import metrics_lines
from simclr_tf.stack import tf

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PretrainingRun(TrainedModel):
    """A pretraining with its encoder; made by `simclr_tf.pretrain`.

    Attributes:
        run_dir: run folder.
        results: content of results.json, {} for a dry run.
    """

    def __init__(
        self,
        run_dir: str,
        results: Optional[Dict[str, Any]] = None,
        held: Optional[memory.MemoryImages] = None,
        trust_code: bool = False,
    ) -> None:
        super().__init__(run_dir, trust_code)
        self.run_dir = run_dir
        self._held = held  # images in memory stay known to later commands as long as the run is
        path = os.path.join(run_dir, "results.json")
        if results is None and run_dir and tf.io.gfile.exists(path):  # it was finished before
            results = read_json(path)
        self.results: Dict[str, Any] = calls.plain_dict(results)

    @property
    def metrics(self) -> Dict[str, np.ndarray]:
        """{name: array [logged steps]} of metrics.jsonl; NaN where a figure was not measured."""
        lines = [json.loads(line) for line in metrics_lines(os.path.join(self.run_dir, "metrics.jsonl"))]  # fmt: skip
        names = dict.fromkeys(name for line in lines for name in line)
        found = {name: np.asarray([line.get(name, np.nan) for line in lines]) for name in names}
        return {**found, "step": np.asarray([line["step"] for line in lines], np.int64)}

    def plot(self) -> "Figure":
        """Loss beside its chance value, contrastive accuracy and learning rate against steps.

        Returns:
            matplotlib.figure.Figure; a notebook shows it, `savefig` writes it.
        Raises:
            DataError: nothing was logged yet.
        """
        from simclr_tf.library.plots import draw_curves

        metrics = self.metrics
        if not len(metrics["step"]):
            raise DataError(f"{self.run_dir or 'a dry run'} has no metrics yet; train first.")
        return draw_curves(metrics, self.settings)
