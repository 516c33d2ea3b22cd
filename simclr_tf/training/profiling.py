"""A profile of some steps, for TensorBoard: the setting `profile_steps`."""

import logging

from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)


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

    def to_next_stop(self, step):
        """Steps from `step` until recording begins or ends, None if neither is ahead."""
        ahead = [stop - step for stop in (self.first - 1, self.last) if stop > step]
        return min(ahead, default=None)

    def before(self, step):
        """Called with the number of steps done, before the next ones."""
        if self._records and not self._runs and step == self.first - 1:
            tf.profiler.experimental.start(self._folder)
            self._runs = True

    def after(self, step, wait):
        """Called after steps; wait: function that waits for the device."""
        if self._runs and step >= self.last:
            wait()
            self.stop()
            _LOG.info("profile of steps %d to %d", self.first, self.last)
            print(
                f"profile of steps {self.first} to {self.last} written: tensorboard "
                f"--logdir={self._folder} (with the package tensorboard-plugin-profile)",
                flush=True,
            )

    def stop(self):
        """Ends the recording, if it runs."""
        if self._runs:
            self._runs = False
            tf.profiler.experimental.stop()


def profile_of(training, folder, start, total, records=True):
    """The Profile that the settings ask for, None without or where its steps are over.

    Args:
        training: config.Length.
        folder: RunFolder.
        start: step that the training starts from.
        total: its last step.
        records: see Profile.
    Raises:
        SettingsError: the training ends before the last of the steps.
    """
    if not training.profile_steps:
        return None
    first, last = training.profiled
    if last > total:
        raise SettingsError(
            f"profile_steps={training.profile_steps} ends after the {total:,} steps of this training; "
            "give earlier steps."
        )
    if start >= first:
        if records:
            print(f"no profile: step {first} of profile_steps={training.profile_steps} is over", flush=True)  # fmt: skip
        return None
    return Profile(first, last, folder.join("logs"), records)
