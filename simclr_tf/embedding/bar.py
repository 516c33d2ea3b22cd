"""A progress bar over images."""

import sys

from tqdm.auto import tqdm

from simclr_tf.training.progress import in_notebook


class Bar:
    """A tqdm bar that is told how many are done; every ten seconds where nobody watches."""

    def __init__(self, words, total, start):
        live = sys.stderr.isatty() or in_notebook(sys.stderr)
        every = 0.2 if live else 10.0
        self._bar = tqdm(desc=words, total=total, initial=start, unit="image", mininterval=every)

    def __call__(self, done):
        self._bar.update(done - self._bar.n)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._bar.close()
