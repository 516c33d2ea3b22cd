"""The training loop: device steps in chunks, logs, checkpoints, an orderly stop."""

import contextlib
import dataclasses
import time

from simclr_tf.distribution.stopping import KEYBOARD, StopRequest
from simclr_tf.distribution.workers import distributed
from simclr_tf.errors import InterruptedRunError, PreemptedError
from simclr_tf.optimizers.averaging import averaged_weights
from simclr_tf.stack import is_deterministic, no_autograph, tf
from simclr_tf.training.input_wait import InputWait
from simclr_tf.training.profiling import Profile
from simclr_tf.training.spacing import Spacing


class StepRunner:
    """Runs train steps of a compiled model on a strategy, many steps per call if asked."""

    def __init__(self, model, strategy, dataset, jit_compile=False, cache=None, rank_steps=0):
        """Args:
        model: compiled SimCLR.
        strategy: the tf.distribute.Strategy it was built in.
        dataset: infinite tf.data.Dataset of global batches, see workers.distributed.
        jit_compile: compile the replica's whole step with XLA.
        cache: gradient_cache.GradientCache that takes the steps, or None for plain ones.
        rank_steps: the effective rank of h is measured at steps that this divides; 0: never.
        """
        self.model = model
        self.rank_steps = rank_steps
        self.iterator = iter(distributed(strategy, dataset))
        step = model.train_step
        if jit_compile:
            step = tf.function(step, jit_compile=True, autograph=False)
        plain = lambda batch: strategy.run(step, args=(batch,))  # noqa: E731
        self._step = plain if cache is None else cache.run
        self.asynchronous = _computes_alone(strategy)
        # reading a metric on one of several workers would wait for the others
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.can_wait = self.asynchronous and not several
        self._waited = 0.0
        self._one = tf.function(self._run_one, autograph=False)
        self._many = tf.function(self._run_many, autograph=False)

    def _run_one(self, iterator):
        batch, waited = _next_timed(iterator)
        self._step(batch)
        return waited

    def _run_many(self, iterator, count):
        def one(done, waited):
            batch, seconds = _next_timed(iterator)
            self._step(batch)
            return done + 1, waited + seconds

        start = tf.constant(0), tf.constant(0.0, tf.float64)
        _, waited = tf.while_loop(lambda done, _: done < count, one, start, parallel_iterations=1)
        return waited

    def run(self, count):
        """Runs `count` steps and returns it; they may still be under way on the device."""
        if count == 1:
            waited = self._one(self.iterator)
        else:
            waited = self._many(self.iterator, tf.constant(count))
        self._waited += float(waited)
        return count

    def take_waited(self):
        """Seconds that the host waited for batches since the last call."""
        waited = self._waited
        self._waited = 0.0
        return waited

    def wait(self):
        """Waits until the device has done the steps that it was given."""
        float(self.model.running["loss"].count.numpy())

    @no_autograph  # it would convert every metric's `result`, for a second of each start
    def take_metrics(self, step):
        """{name: float}, the metrics since the last call; waits for the device.

        Where every step since then was skipped, "non_finite_steps" is all there is.
        """
        wanted = dict(self.model.running)
        if not float(wanted["loss"].count.numpy()):
            wanted = {"non_finite_steps": wanted["non_finite_steps"]}
        elif self.rank_steps and step % self.rank_steps == 0:
            wanted["effective_rank"] = self.model.rank
        values = {name: float(metric.result().numpy()) for name, metric in wanted.items()}
        for metric in self.model.metrics:
            metric.reset_state()
        return values


def _computes_alone(strategy):
    """Whether the devices of a strategy compute while the host goes on."""
    try:
        devices = strategy.extended.worker_devices
    except RuntimeError:  # the default strategy, which takes a GPU where there is one
        return bool(tf.config.list_logical_devices("GPU"))
    return any("CPU" not in device for device in devices)


def _next_timed(iterator):
    """The next batch, and the seconds float64 [] that the host waited for it.

    The seconds are NaN under --deterministic, where TensorFlow allows no clock.
    """
    if is_deterministic():
        return next(iterator), tf.constant(float("nan"), tf.float64)
    with tf.device("CPU:0"):
        began = tf.timestamp()
    with tf.control_dependencies([began]):
        batch = next(iterator)
    with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
        with tf.device("CPU:0"):
            waited = tf.timestamp() - began
    return batch, waited


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a training interrupts its steps.

    Attributes:
        steps_per_execution: most steps of one call to the device.
        stop: StopRequest, by default one without a time limit.
        spacing: spacing.Spacing of the checkpoints, or None to save each one that is due.
        profile: profiling.Profile of some steps, or None.
    """

    steps_per_execution: int = 1
    stop: StopRequest = None
    spacing: Spacing = None
    profile: Profile = None


NO_LIMITS = Limits()


def train(
    runner, steps, start_step, checkpoints, observers, faults, limits=NO_LIMITS, progress=None
):
    """Trains from `start_step` to `steps.total`.

    Args:
        runner: StepRunner.
        steps: length.Steps.
        start_step: steps already done.
        checkpoints: checkpoints.Checkpoints.
        observers: callables (step, {name: float}) of logged steps, which may add figures.
        faults: faults.FaultWatch.
        limits: Limits.
        progress: progress.Progress that is told when the first step begins and ends, or None.
    Returns:
        {name: float}: the metrics of the last logged interval, {} if nothing was left to do.
    Raises:
        DivergedError: see FaultWatch.look; the last good checkpoint is kept.
        PreemptedError: a signal asked for a stop (InterruptedRunError: Ctrl-C) or the time is over; the
            state of this step is saved.
    """
    step = start_step
    logs = {}
    watch = _Watch(runner) if progress is not None else None
    profile = limits.profile
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(limits.stop or StopRequest())
        if profile is not None:
            stack.callback(profile.stop)
        while step < steps.total:
            first = progress is not None and step == start_step
            if first:
                progress.compiling()
            count = min(limits.steps_per_execution, _to_next_stop(step, steps, profile))
            if profile is not None:
                profile.before(step)
            with profile.marked(step) if profile is not None else contextlib.nullcontext():
                step += watch.run(count, first) if watch else runner.run(count)
            if first:
                progress.begins(step)
            if profile is not None:
                profile.after(step, runner.wait)
            reason = stop.reason(step)
            logging = step % steps.log == 0 or step == steps.total
            due = step % steps.checkpoint == 0
            if due and limits.spacing is not None and step < steps.total:
                due = limits.spacing.is_over()
            regular = due or step == steps.total
            saving = regular or bool(reason)
            if logging or saving:
                faults.look(step, saving)
            if logging:
                logs = watch.take_metrics(step) if watch else runner.take_metrics(step)
                if watch:
                    progress.waiting = watch.share
                for observe in observers:
                    observe(step, logs)
            if saving:
                _save(runner.model, checkpoints, step, step == steps.total, regular)
            if reason and step < steps.total:
                stopped = InterruptedRunError if reason.startswith(KEYBOARD) else PreemptedError
                raise stopped(
                    f"stopped by {reason} after step {step} of {steps.total}, state saved; "
                    "run the same command again to go on."
                )
    return logs


class _Watch:
    """Runs steps and measures what part of their time goes into waiting for batches.

    Attributes:
        share: of the time up to the last look at the metrics, 0 to 1; None if it is unknown.
    """

    def __init__(self, runner):
        self.share = None
        self._runner = runner
        self._wait = InputWait(runner.asynchronous)
        self._alone = False  # whether the device has nothing else to do

    def run(self, count, first):
        """As `StepRunner.run`; the first call compiles and is not measured."""
        began = time.perf_counter()
        self._runner.run(count)
        alone = self._alone and count == 1 and not first
        if alone:
            self._runner.wait()
        seconds = time.perf_counter() - began
        waited = self._runner.take_waited()
        if alone:
            self._wait.ran_alone(seconds, waited)
        elif not first:
            self._wait.ran(seconds, waited, count)
        self._alone = False
        return count

    def take_metrics(self, step):
        """As `StepRunner.take_metrics`; here the host waits for the device."""
        began = time.perf_counter()
        logs = self._runner.take_metrics(step)
        self._wait.ran(time.perf_counter() - began, 0.0, 0)
        self.share = self._wait.share()
        self._wait.forget()
        self._alone = self._runner.can_wait
        return logs


def _save(model, checkpoints, step, last, regular):
    # only the last checkpoint may hold the averages: training goes on from the others
    averages = averaged_weights(model.optimizer, model.trainable_variables)
    with averages if last else contextlib.nullcontext():
        checkpoints.save(step, candidate=regular)


def _to_next_stop(step, steps, profile=None):
    """Steps until the next log, checkpoint, profile or the end, whichever comes first."""
    ahead = None if profile is None else profile.to_next_stop(step)
    return min(
        steps.total - step,
        steps.log - step % steps.log,
        steps.checkpoint - step % steps.checkpoint,
        *([] if ahead is None else [ahead]),
    )
