"""Short trainings of one process that share what is traced and compiled.

The views of a trial are finished in its input pipeline, so the train step is the same for all
settings of the views. A step is traced once for all trials that differ in nothing else.
"""

import collections
import functools
import time

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.data import preprocess, stored
from simclr_tf.data.subset import sample
from simclr_tf.distribution.workers import distributed
from simclr_tf.evaluation import label_free
from simclr_tf.evaluation.features import gather_rows, split_rows
from simclr_tf.optimizers.averaging import averaged_weights
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training import length, pretraining, pretraining_run
from simclr_tf.training.health import ViewsTooStrong
from simclr_tf.training.loop import StepRunner
from simclr_tf.views import device

FIXED = {
    "crop_area_min": 0.4,
    "color_jitter_strength": 0.4,
    "grayscale_prob": 0.1,
    "use_blur": False,
    "flip": False,
    "aug_impl": "torchvision",
}
"""Views that judge every trial alike."""

ALWAYS = {
    "augment_on": "host",
    "lineareval_while_pretraining": False,
    "effective_rank_steps": 0,
    "checkpoint_minutes": 600.0,
    "loggers": "",
    "profile_steps": "",
}
"""Settings of every trial: the step does not depend on the views, and no label is used."""

_IMAGES = 400  # that judge
_OF_VIEWS = 192  # of them, whose views are compared
_TIMES = 4  # two views each
_ROWS = 128
_MODELS_KEPT = 2


class TrialImages:
    """The images of trials, and those of them that judge.

    Args:
        source: training Source, best one whose images are in memory.
        identity: of the data set, see `SourceInfo.identity`.
        seed: of the choice of images that judge.

    Attributes:
        source, identity: as given.
    """

    def __init__(self, source, identity, seed=0):
        self.source = source
        self.identity = identity
        self._seed = seed
        self._plain = {}

    @functools.cached_property
    def judges(self):
        """uint8 [n, h, w, c], at most 400 training images."""
        few = sample(self.source, _IMAGES, self._seed)
        few = stored.stored(few, device.WHOLE_MAX) if self.source.arrays() is None else few
        return np.asarray(few.arrays())

    def plain(self, size):
        """float32 [n, s, s, c] in [0, 1], the judges as evaluation sees them."""
        if size not in self._plain:
            self._plain[size] = np.stack(
                [preprocess.eval_image(one, size).numpy() for one in self.judges]
            )
        return self._plain[size]


class Workshop:
    """Trains and judges trials from the same initial weights.

    Args:
        group: distribution.workers.WorkerGroup of one process.
        seed: of the views that judge.
    """

    def __init__(self, group, seed=0):
        self.group = group
        self._seed = seed
        self._benches = collections.OrderedDict()

    def train(self, config, images, folder, also=None):
        """Trains and judges a trial, or goes on with what a kill has left of it.

        Args:
            config: config.Pretrain with the settings `ALWAYS`.
            images: TrialImages.
            folder: path of its run folder.
            also: function(embed) -> {name: float} of further figures, see `label_free.measure`.
        Returns:
            {"figures": {name: float}, "failed": why there are none, or "", "seconds": that it took}:
            trial.json of the folder.
        """
        run = RunFolder(folder)
        settings = settings_of.flatten(config)
        run.claim("pretrain", settings, settings_of.free_settings(type(config)), images.identity)
        if run.exists("trial.json"):
            return read_json(run.join("trial.json"))
        source = images.source
        steps = length.resolve_steps(config.training, config.optimizer, source.num_examples)
        bench = self._bench(config, steps)
        bench.reset()
        began = time.monotonic()
        content = {"figures": {}, "failed": ""}
        try:
            pretraining_run.train_model(
                config, self.group, bench.model, source, steps, run, True, bench.runner
            )
            content["figures"] = last_figures(run)
            content["figures"].update(also(bench.embed) if also else {})
        except ViewsTooStrong as error:
            content["failed"] = str(error)
        content["seconds"] = round(time.monotonic() - began, 2)
        write_json(run.join("trial.json"), content)
        return content

    def judge(self, config, images, embed):
        """What `label_free.measure` says of a trial, for an experiment; arguments as of `train`."""
        size = config.data.image_size
        batch = min(config.training.global_batch_size, len(images.judges))
        kinds = {"own": config.views, "fixed": settings_of.Views(**FIXED)}
        views = {name: self._views(kind, size, batch, images) for name, kind in kinds.items()}
        return label_free.measure(embed, images.plain(size), views, self._seed)

    def _views(self, kind, size, batch, images):
        """float32 [k, q, s, s, c]; two views of a batch at a time, as in training."""
        make_views = device.make_views(kind, size, self._seed, 2, "switch")
        rows = []
        for start in range(0, max(1, _OF_VIEWS // batch * batch), batch):
            pixels = images.judges[start : start + batch]
            if len(pixels) < batch:
                break
            given = {
                "images": tf.constant(pixels),
                "id": tf.range(start, start + batch, dtype=tf.int64),
            }
            found = [
                make_views({**given, "epoch": tf.fill([batch], tf.constant(epoch))}).numpy()
                for epoch in range(_TIMES)
            ]
            by_view = np.concatenate([one.reshape(-1, batch, *one.shape[1:]) for one in found])
            rows.append(by_view.swapaxes(0, 1))
        return np.concatenate(rows)

    def _bench(self, config, steps):
        values = settings_of.flatten(config)
        apart = {*settings_of.setting_names(settings_of.Views), "model_dir"}
        key = (steps, *sorted((n, v) for n, v in values.items() if n not in apart))
        if key not in self._benches:
            while len(self._benches) >= _MODELS_KEPT:
                self._benches.popitem(last=False)
            self._benches[key] = _Bench(config, steps, self.group)
        self._benches.move_to_end(key)
        return self._benches[key]


class _Bench:
    """A model with its traced step and the values of its variables before any step."""

    def __init__(self, config, steps, group):
        with group.strategy.scope():
            self.model = pretraining.build_model(config, 0, steps)
        optimizer = self.model.optimizer.variables
        optimizer = optimizer() if callable(optimizer) else optimizer
        metrics = [v for metric in self.model.metrics for v in metric.variables]
        variables = [*self.model.variables, *optimizer, *metrics]
        self._start = [(one, one.numpy()) for one in {id(v): v for v in variables}.values()]
        self._runner = None
        self._forward = tf.function(self._embed_share, autograph=False)
        self._strategy = group.strategy

    def reset(self):
        """Gives every variable its value before any step."""
        for variable, value in self._start:
            variable.assign(value)

    def runner(self, model, strategy, batches, *arguments):
        """A StepRunner of these batches; arguments as of StepRunner."""
        if self._runner is None:
            self._runner = StepRunner(model, strategy, batches, *arguments)
        else:
            self._runner.iterator = iter(distributed(strategy, batches))
            self._runner.take_waited()
        return self._runner

    def embed(self, images):
        """float32 [m, s, s, c] in [0, 1] -> h float32 [m, d], by averaged weights if there are any."""
        rows = []
        share = -(-_ROWS // self._strategy.num_replicas_in_sync)
        with averaged_weights(self.model.optimizer, self.model.trainable_variables):
            for start in range(0, len(images), _ROWS):
                part = images[start : start + _ROWS]
                found = self._forward(split_rows(part, share, self._strategy))
                rows.append(found.numpy()[: len(part)].astype(np.float32))
        return np.concatenate(rows)

    def _embed_share(self, images):
        forward = lambda x: self.model.encoder(x, training=False)  # noqa: E731
        return gather_rows(self._strategy.run(forward, (images,)), self._strategy)


def last_figures(run):
    """{name: float} of the last logged steps of a run."""
    names = ("loss", "contrastive_accuracy", "alignment", "uniformity", "positive_similarity", "negative_similarity")  # fmt: skip
    results = read_json(run.join("results.json"))
    return {name: results[name] for name in names if name in results}
