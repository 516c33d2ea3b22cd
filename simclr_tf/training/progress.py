"""What a person watches while a run trains: one line, refreshed in place on a terminal."""

import time
from typing import Optional, TextIO

from tqdm import tqdm

from simclr_tf import phases
from simclr_tf.phases import in_notebook


class Progress:
    """Epoch, step, time left, images/s, loss beside its chance value, accuracy, waiting for images.

    A notebook shows a progress bar with the same figures.

    Args:
        start_step: step from which this process trains.
        total_steps: of the run.
        global_batch_size: images per step.
        chance: the loss of equal embeddings in nats, or None to leave it out.
        steps_per_epoch: of the run, or None to leave the epoch out.
        stream: where the line goes; None is stderr, or nowhere while `phases.quiet` lasts.
    """

    def __init__(
        self,
        start_step: int,
        total_steps: int,
        global_batch_size: int,
        *,
        chance: Optional[float] = None,
        steps_per_epoch: Optional[int] = None,
        stream: Optional[TextIO] = None,
    ):
        self.stream = stream or phases.said_to()
        self.per_epoch = steps_per_epoch
        self.total = total_steps
        self.batch = global_batch_size
        self.chance = chance
        self.waiting = None  # share of the time that goes into waiting for images
        self.live = self.stream.isatty()
        self.first_step = start_step  # of this process
        self.made = time.monotonic()
        self.start_step = start_step  # from which the time per step is measured
        self.started = self.made
        self.printed = self.started
        self.bar = None
        if in_notebook(self.stream):
            from tqdm.auto import tqdm as bar  # a widget where there are widgets, else text

            self.bar = bar(total=total_steps, initial=start_step, desc="pretrain", unit="step")

    def compiling(self):
        """The first step begins: it is compiled, which may take minutes."""
        text = "compiling the first step ..."
        if self.bar is not None:
            self.bar.set_postfix_str(text)
            return
        self.stream.write(f"\r\x1b[K{text}" if self.live else f"{text}\n")
        self.stream.flush()

    def begins(self, step):
        """The first steps, up to `step`, are done: from here on the time per step is measured."""
        self.start_step = step
        self.started = time.monotonic()

    def rate(self, step):
        """Steps per second of this process, without the first ones if there are others."""
        steps = step - self.start_step
        since = self.started
        if not steps:
            steps = step - self.first_step
            since = self.made
        return steps / max(1e-9, time.monotonic() - since)

    def time_left(self, step):
        """The time until the last step in words, "?" if no step was measured."""
        left = self.total - step
        if left and step == self.start_step:
            return "?"
        return tqdm.format_interval(left / self.rate(step) if left else 0)

    def line(self, step, logs):
        """The progress line of a step; `logs` as returned by SimCLR.train_step, as floats."""
        rate = self.rate(step)
        text = (
            f"{self.place(step)}  {rate:.2f} step/s  {rate * self.batch:.0f} images/s  "
            f"ETA {self.time_left(step)}{self.waiting_in_words()}  loss {self._loss(logs)}  "
            f"contrastive accuracy {logs['contrastive_accuracy']:.3f}  "
            f"entropy {logs['entropy']:.3f}"
        )
        if "probe_top_1" in logs:
            text += f"  probe top-1 {logs['probe_top_1']:.3f}"
        if "knn_top_1" in logs:
            text += f"  k-NN top-1 {logs['knn_top_1']:.3f}"
        return text

    def place(self, step):
        """ "epoch 3/40  step 50/899"."""
        steps = f"step {step}/{self.total}"
        if self.per_epoch is None:
            return steps
        epochs = -(-self.total // self.per_epoch)
        return f"epoch {min(epochs, -(-step // self.per_epoch))}/{epochs}  {steps}"

    def waiting_in_words(self):
        """ "  waiting for images 12 %", or "" where it is unknown."""
        return "" if self.waiting is None else f"  waiting for images {self.waiting:.0%}"

    def _loss(self, logs):
        chance = "" if self.chance is None else f" (chance {self.chance:.4f})"
        return f"{logs['loss']:.4f}{chance}"

    def show(self, step, logs):
        """Refreshes the line; where output is not a terminal, prints one every ten seconds."""
        now = time.monotonic()
        last = step >= self.total
        skipped = f"step {step}/{self.total}  all steps since the last line were skipped"
        line = self.line(step, logs) if "loss" in logs else skipped
        if self.bar is not None:
            self._show_bar(step, logs)
            return
        if self.live:
            phases.rewrite(self.stream, line, last)
        elif last or now - self.printed >= 10:
            self.printed = now
            self.stream.write(line + "\n")
        self.stream.flush()

    def _show_bar(self, step, logs):
        names = {
            "contrastive_accuracy": "contrastive accuracy",
            "probe_top_1": "probe top-1",
            "knn_top_1": "k-NN top-1",
        }
        figures = {words: f"{logs[name]:.3f}" for name, words in names.items() if name in logs}
        if "loss" in logs:
            figures = {"loss": self._loss(logs), **figures}
        self.bar.set_postfix(figures, refresh=False)
        self.bar.update(step - self.bar.n)
        if step >= self.total:
            self.bar.close()
