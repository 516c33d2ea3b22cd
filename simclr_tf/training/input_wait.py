"""How much of a training's time goes into waiting for images."""

import collections
import logging
import math
import statistics

_LOG = logging.getLogger(__name__)
MOST = 0.3  # of the time; above it the user is told what to change
PATIENCE = 3  # logged intervals in a row
_KEPT = 5  # steps of a device that are timed alone


class InputWait:
    """Adds up the time of steps and what part of it was spent waiting for their batches.

    Where the device computes while the host goes on (GPU, TPU), the host waits for batches even if
    the device has work. There one step after each look at the metrics is timed alone, and what the
    other steps take longer than that counts as waiting.

    Args:
        asynchronous: whether the device computes while the host goes on.
    """

    def __init__(self, asynchronous):
        self.asynchronous = asynchronous
        self._alone = collections.deque(maxlen=_KEPT)
        self.forget()

    def forget(self):
        """Begins a new interval."""
        self._seconds = self._waited = 0.0
        self._steps = 0

    def ran(self, seconds, waited, steps):
        """Some steps ran: how long that took, and how much of it went into waiting (NaN: unknown)."""
        self._seconds += seconds
        self._waited += waited
        self._steps += steps

    def ran_alone(self, seconds, waited):
        """One step ran while nothing else did, and was waited for."""
        self._alone.append(seconds - waited)
        self.ran(seconds, waited, 1)

    def share(self):
        """The share of the interval's time that went into waiting, 0 to 1; None if unknown."""
        if self._seconds <= 0 or math.isnan(self._waited):
            return None
        if not self.asynchronous:
            return min(1.0, self._waited / self._seconds)
        if not self._alone:
            return None
        computed = statistics.median(self._alone) * self._steps
        return min(1.0, max(0.0, 1.0 - computed / self._seconds))


class InputAdvice:
    """Says once what to change where much time goes into waiting for images.

    Args:
        remedies: phrases, such as "--resize_on=device".
    """

    def __init__(self, remedies):
        self._remedies = remedies
        self._often = 0
        self._told = False

    def look(self, step, share):
        """Looks at the share (or None) of an interval that ends at a step."""
        self._often = self._often + 1 if share is not None and share > MOST else 0
        if self._often == PATIENCE and not self._told:
            self._told = True
            _LOG.warning(
                "at step %d: %.0f %% of the time goes into waiting for images; %s.",
                step,
                100 * share,
                ", or ".join(self._remedies),
            )


def remedies(config):
    """What a pretraining can change to wait less, list of phrases; config: config.Pretrain."""
    found = []
    if config.data.image_size <= 64 and not config.training.store_side:
        found.append("keep decoded images in memory (--store_side=64)")
    if config.views.resize_on != "device":
        found.append("add --resize_on=device")
    if not config.training.data_service:
        found.append(
            "let other processes prepare the batches (--mode=data_service, --data_service)"
        )
    found.append("take a smaller --image_size")
    if config.data.image_dir:
        found.append("store the images smaller, or as JPEG")
        found.append("write them into shards (--mode=pack) if the disk or the network is slow")
    return found
