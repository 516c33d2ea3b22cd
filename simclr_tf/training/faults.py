"""What becomes of steps whose loss or gradients are not finite: the setting `on_nan`."""

import logging

from simclr_tf.errors import DivergedError
from simclr_tf.runs.files import write_json
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
MOST_IN_A_ROW = 20  # skipped steps; more of them are no accident
_SHOWN = 8  # example ids in a sentence
_REMEDY = "lower --learning_rate or raise --warmup_epochs (pretraining: --temperature)"


class FaultWatch:
    """Looks at the count that the device keeps (`models.non_finite`) and draws the consequences."""

    def __init__(self, model, checkpoints, folder, examples_of):
        """Puts the parts together.

        Args:
            model: in training; its `skips_non_finite` decides between stop and skip.
            checkpoints: checkpoints.Checkpoints.
            folder: RunFolder, for diverged.json.
            examples_of: callable, step -> (example ids, their names), lists.
        """
        self.model = model
        self.checkpoints = checkpoints
        self.folder = folder
        self.examples_of = examples_of
        self.count = model.running["non_finite_steps"]
        self._warned = 0

    def tell_total(self, steps):
        """At the end of a run of so many steps: says and returns how many were skipped."""
        total = int(self.count.total.numpy())
        if total:
            _LOG.warning("%d of %d steps were skipped (--on_nan=skip)", total, steps)
        return total

    def look(self, step, saving):
        """Looks at the steps since the last look; waits for the device.

        Args:
            step: the newest step.
            saving: whether a checkpoint of it is about to be written.
        Raises:
            DivergedError: a step went wrong, or too many in a row were skipped, or the weights
                that are to be saved are not finite.
        """
        first = int(self.count.first.numpy())
        longest = int(self.count.longest.numpy())
        if first and not self.model.skips_non_finite:
            what = "the loss or a gradient became NaN or infinite at"
            self._stop(first, what, ", or skip such steps with --on_nan=skip")
        if longest >= MOST_IN_A_ROW:
            what = f"--on_nan=skip left out {longest} steps in a row, the first newly seen is"
            self._stop(first, what)
        if first > self._warned:
            self._warned = first
            self._warn(first, step)
        if saving and not self._weights_are_finite():
            self._stop(step, "the weights became NaN or infinite at or before")

    def _weights_are_finite(self):
        finite = [tf.reduce_all(tf.math.is_finite(v)) for v in self.model.trainable_variables]
        return bool(tf.reduce_all(tf.stack(finite)))

    def _warn(self, first, step):
        _LOG.warning(
            "%d steps up to step %d were skipped, the first of them step %d, %s",
            int(self.count.result()),
            step,
            first,
            _in_words(self.examples_of(first)[0]),
        )

    def _stop(self, step, what, more=""):
        ids, names = self.examples_of(step)
        last = self.checkpoints.latest
        path = self.folder.join("diverged.json")
        record = {"step": step, "example_ids": ids, "names": names, "last_good_checkpoint": last}
        write_json(path, record)
        raise DivergedError(
            f"{what} step {step}, {_in_words(ids)} (all in {path}); last good checkpoint: "
            f"{last or 'none was saved yet'}; {_REMEDY}{more}."
        )


def _in_words(ids):
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"example ids {', '.join(map(str, ids[:_SHOWN]))}{more}"
