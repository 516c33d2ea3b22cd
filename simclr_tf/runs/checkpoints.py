"""Checkpoints of a run: written whole or not at all, bounded in number, restored strictly."""

import contextlib
import os
import tempfile

from simclr_tf.distribution.workers import LOST
from simclr_tf.errors import DataError, first_line
from simclr_tf.files import flush, literal
from simclr_tf.runs import checkpoint_state, lock
from simclr_tf.runs.best import BestKeeper
from simclr_tf.runs.checkpoint_state import READ_ERRORS, Saver
from simclr_tf.runs.files import clear_half_written
from simclr_tf.stack import tf


class Checkpoints:
    """Saves and restores everything a resumed run needs.

    The views and the order of the images are functions of the step, so the model, the optimizer,
    the running metrics and the step are the whole state.
    """

    def __init__(self, directory, model, keep, group=None):
        """Finds what there is; writes nothing.

        Args:
            directory: of the run's checkpoints.
            model: built, compiled SimCLR.
            keep: how many checkpoints to keep.
            group: workers.WorkerGroup of several. Saving reads variables that live on all of them, so all
                must save; what others than the chief write goes to a temporary folder.
        """
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        parts = {"encoder": model.encoder, "head": model.head, "optimizer": model.optimizer}
        if model.probe is not None:
            parts["probe"] = model.probe
        parts["metrics"] = tf.train.Checkpoint(**{m.name: m for m in model.metrics})
        self.checkpoint = tf.train.Checkpoint(step=self.step, **parts)
        self._group = group
        self._several = group is not None and group.count > 1
        self._folder = self._scratch = self.best = None
        if self._several and not group.is_chief:
            self._folder = tempfile.TemporaryDirectory(prefix="simclr_tf_")
            self._scratch = os.path.join(self._folder.name, "ckpt")
        self.directory = directory
        self._saver = self._saver_in(directory, keep)
        self._metrics = os.path.join(os.path.dirname(directory), "metrics.jsonl")

    def _saver_in(self, directory, keep):
        return Saver(self.checkpoint, directory, keep, self._scratch)

    @property
    def latest(self):
        """Prefix of the newest complete checkpoint, None without one."""
        return checkpoint_state.newest(self.directory)

    def keep_best(self, directory, metric):
        """Keeps the best checkpoint by a logged figure too; returns an observer of that figure.

        All workers must ask for it; the chief's observer counts.
        """
        self.best = BestKeeper(self._saver_in(directory, 1), directory, metric, self._group)
        return self.best.observe

    def resume(self):
        """Restores the newest checkpoint, if there is one.

        Returns:
            the step it was saved at, 0 for a new run.
        Raises:
            DataError: the checkpoint is damaged or does not fit the model.
        """
        clear_half_written(self.directory)
        path = checkpoint_state.newest(self.directory)
        if path is None:
            return 0
        if self._scratch is None:
            checkpoint_state.mend(self.directory)
        try:
            with literal(path) as readable:
                self.checkpoint.restore(readable).assert_existing_objects_matched()
        except READ_ERRORS as error:
            raise DataError(self._not_restored(path, error)) from error
        return int(self.step.numpy())

    def _not_restored(self, path, error):
        reason = damage(path)
        if not reason:
            return (
                f"checkpoint {path} is intact but does not fit this model ({first_line(error)}); "
                "repeat the settings and the version that wrote it, or give another --model_dir."
            )
        older = [kept for kept in checkpoint_state.complete(self.directory) if kept != path]
        remedy = f"remove its files to go back to {older[-1]}" if older else "start a new run"
        return f"checkpoint {path} is damaged ({reason}); {remedy}."

    def save(self, step, candidate=True):
        """Writes a checkpoint of `step`; the previous ones stay until it is complete.

        Args:
            step: int; candidate: whether it may become the best one, see BestKeeper.
        Returns:
            its path.
        Raises:
            DataError: it cannot be written, for example because the disk is full.
            tf.errors.OpError: another worker is gone, see workers.LOST.
        """
        self.step.assign(step)
        if self._scratch is None:
            lock.check(os.path.dirname(self.directory))
        try:
            if self._scratch is None and tf.io.gfile.exists(self._metrics):
                flush(self._metrics)  # a resumed run counts on the lines before its checkpoint
            if self.best is not None and candidate:
                # first: killed in between, the run comes by here again
                self.best.save(step)
            return self._saver.save(step)
        except (tf.errors.OpError, OSError) as error:
            if self._several and isinstance(error, LOST):
                raise  # not the disk: another worker is gone
            raise DataError(
                f"cannot write a checkpoint of step {step} ({first_line(error)}); the last good "
                f"one is {self.latest}; make room, then run the same command."
            ) from error


def latest_in(folder):
    """The newest complete checkpoint prefix of a run folder.

    Raises:
        DataError: there is none.
    """
    path = checkpoint_state.newest(folder)
    if path is None:
        raise DataError(
            f"{folder} holds no checkpoint; give the folder of a pretraining run that has saved "
            "at least once."
        )
    return path


def restore_strictly(prefix, **parts):
    """Restores models from a checkpoint; every variable must match by path and shape.

    Args:
        prefix: checkpoint prefix.
        **parts: {name in the checkpoint: built Keras model or layer}.
    Returns:
        {part: number of matched variables}.
    Raises:
        DataError: the file is damaged, or a variable is missing, unused or of another shape.
    """
    try:
        with reader_of(prefix) as reader:
            shapes = reader.get_variable_to_shape_map()
        stored = {name: _keys_of(shapes, name) for name in parts}
        with literal(prefix) as readable:
            status = tf.train.Checkpoint(**parts).read(readable)
            status.assert_existing_objects_matched()
        status.expect_partial()  # the optimizer stays unread; unused variables are counted below
    except READ_ERRORS as error:
        reason = damage(prefix)
        what = (
            f"is damaged ({reason}); restore its files"
            if reason
            else (f"does not fit ({first_line(error)}); it holds another architecture")
        )
        raise DataError(f"checkpoint {prefix} {what}.") from error
    for name, part in parts.items():
        unused = len(stored[name]) - len(part.variables)
        if unused:
            raise DataError(
                f"checkpoint {prefix} holds {len(stored[name])} {name} variables, the model "
                f"{len(part.variables)}: {unused} would stay unused; it holds another architecture."
            )
    return {name: len(part.variables) for name, part in parts.items()}


@contextlib.contextmanager
def reader_of(prefix):
    """Around the reading of a checkpoint's values by name.

    `tf.train.load_checkpoint` takes a prefix for a folder on file systems without folders, such as
    ram://.

    Yields:
        the reader of TensorFlow.
    """
    with literal(prefix) as readable:
        yield tf.compat.v1.train.NewCheckpointReader(readable)


def damage(prefix):
    """Why the files of a checkpoint are not whole, in a few words; "" if every checksum is right.

    It reads everything, so call it when restoring has failed.
    """
    try:
        with reader_of(prefix) as reader:
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
    except (tf.errors.PermissionDeniedError, tf.errors.UnavailableError) as error:
        raise DataError(
            f"checkpoint {prefix} cannot be read ({first_line(error)}); check the permissions and "
            "the connection, then run the same command."
        ) from error
    except READ_ERRORS as error:
        return first_line(error)
    return ""


def read_step(prefix):
    """Optimizer steps done when the checkpoint was saved.

    Raises:
        DataError: the file does not tell.
    """
    try:
        with reader_of(prefix) as reader:
            return int(reader.get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE"))
    except (*READ_ERRORS, TypeError) as error:
        raise DataError(
            f"checkpoint {prefix} does not tell its step ({first_line(error)}); it is damaged."
        ) from error


def save_parts(directory, step, **parts):
    """Writes models as a checkpoint that `restore_strictly` and `read_step` read.

    Args:
        directory: folder of checkpoints.
        step: optimizer steps done.
        **parts: {name: built Keras model or layer}.
    Returns:
        its path.
    Raises:
        DataError: it cannot be written.
    """
    checkpoint = tf.train.Checkpoint(step=tf.Variable(step, dtype=tf.int64), **parts)
    try:
        return Saver(checkpoint, directory, 1).save(step)
    except (tf.errors.OpError, OSError) as error:
        raise DataError(
            f"cannot write a checkpoint to {directory} ({first_line(error)}); make room or choose "
            "another --model_dir."
        ) from error


def _keys_of(shapes, part):
    """Keys of a part's own variables, without optimizer slots."""
    return [
        key
        for key in shapes
        if key.startswith(part + "/")
        and key.endswith("/.ATTRIBUTES/VARIABLE_VALUE")
        and ".OPTIMIZER_SLOT" not in key
    ]
