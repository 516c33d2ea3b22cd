"""A profile of some steps, for TensorBoard: the setting `profile_steps`.

A process has one profiler. Where another one has it, or a profile cannot be written, the training
goes on without.
"""

import contextlib
import logging

from simclr_tf.errors import SettingsError, first_line
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
_FAILS = (tf.errors.OpError, OSError)


class Profile:
    """Records what host and device do from the first to the last of some steps.

    Attributes:
        first, last: steps, counted from 1; both are recorded.
    """

    def __init__(self, first, last, folder, records=True):
        """Args:
        first, last: as above.
        folder: of TensorBoard's logs; the profile goes to its subfolder plugins/profile.
        records: False on all workers but the chief. They too must end their calls to the device
            where recording begins and ends, because all run the same steps in each call.
        """
        self.first = first
        self.last = last
        self._folder = folder
        self._records = records
        self._runs = False
        self._over = False  # whether the last of the steps is done

    def to_next_stop(self, step):
        """Steps from `step` until recording begins or ends, None if neither is ahead."""
        ahead = [stop - step for stop in (self.first - 1, self.last) if stop > step]
        return min(ahead, default=None)

    def before(self, step):
        """Called with the number of steps done, before the next ones."""
        if self._records and not self._runs and step == self.first - 1:
            try:
                tf.profiler.experimental.start(self._folder)
            except _FAILS as error:
                self._give_up(error)
                return
            self._runs = True

    def marked(self, step):
        """Context around the steps after `step`, in which a recording finds them again."""
        if not self._runs:
            return contextlib.nullcontext()
        return tf.profiler.experimental.Trace("train", step_num=step + 1, _r=1)

    def after(self, step, wait):
        """Called after steps; wait: function that waits for the device."""
        if self._over or step < self.last:
            return
        self._over = True
        wait()  # on every worker: what it reads is a sum over all of them
        if self.stop():
            _LOG.info("profile of steps %d to %d", self.first, self.last)
            print(
                f"profile of steps {self.first} to {self.last} written: tensorboard "
                f"--logdir={self._folder} (with the package tensorboard-plugin-profile)",
                flush=True,
            )

    def stop(self):
        """Ends the recording, if it runs; returns whether it was written."""
        if not self._runs:
            return False
        self._runs = False
        try:
            tf.profiler.experimental.stop()
        except _FAILS as error:
            self._give_up(error)
            return False
        return True

    def _give_up(self, error):
        self._records = False
        _LOG.warning(
            "no profile of steps %d to %d (%s); the training goes on. End the other profiler of "
            "this process, if there is one, before the next run",
            *(self.first, self.last, first_line(error)),
        )


def check(training, total):
    """Refuses steps that a training does not have.

    Args:
        training: config.Length.
        total: last step of the training.
    Raises:
        SettingsError: the training ends before the last of the steps.
    """
    if training.profile_steps and training.profiled[1] > total:
        raise SettingsError(
            f"profile_steps={training.profile_steps} ends after the {total:,} steps of this training; "
            "give earlier steps."
        )


def profile_of(training, folder, start, total, records=True):
    """The Profile that the settings ask for, None without or where there are no such steps.

    Args:
        training: config.Length.
        folder: RunFolder.
        start: step that the training starts from.
        total: its last step.
        records: see Profile.
    """
    if not training.profile_steps:
        return None
    first, last = training.profiled
    reason = f"step {first} is over" if start >= first else ""
    if last > total:  # the length was chosen after `check`, by preset=auto
        reason = f"the training has {total:,} steps"
    if reason:
        if records:
            print(f"no profile of profile_steps={training.profile_steps}: {reason}", flush=True)
        return None
    return Profile(first, last, folder.join("logs"), records)
