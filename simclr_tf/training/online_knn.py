"""k-NN accuracy of h while a run trains: one forward pass in inference mode, no gradient."""

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf.data import sources, subset
from simclr_tf.data.info import require_labels
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.knn import knn_scores
from simclr_tf.views.batches import eval_batches

MOST = 10_000  # images of the bank, and of the queries


def online_knn(config, encoder, source, strategy, steps):
    """Observers of `loop.train` for the setting `knn_while_pretraining`: one, or none if it is 0.

    The observer adds "knn_top_1" to the figures of the first logged step of every n-th epoch's
    end. It reads the weights and changes nothing, so a run is the same with and without it.

    Args:
        config: config.Pretrain.
        encoder: the model in training.
        source: training Source.
        strategy: tf.distribute.Strategy that holds the encoder.
        steps: length.Steps.
    Returns:
        list of callables (step, {name: float}).
    Raises:
        DataError: no labels, or no image is held out.
    """
    every = config.training.knn_while_pretraining * steps.per_epoch
    if not every:
        return []
    require_labels(sources.describe(config.data), "--knn_while_pretraining")
    seed = config.run.seed
    size = config.data.image_size
    held_out = sources.open_source(config.data, "eval", seed)
    pair = [subset.sample(one, MOST, seed) for one in (source.original, held_out)]
    batch = 256
    extract = Extractor(encoder, batch, strategy)
    knn = settings_of.KnnSettings()

    def observe(step, logs):
        previous = (step - 1) // steps.log * steps.log
        if step // every == previous // every:
            return
        bank, queries = (extract(eval_batches(one, size, batch)) for one in pair)
        scores = knn_scores(
            queries.h, bank.h, bank.labels, source.num_classes, knn.knn_k, knn.knn_temperature
        )
        logs["knn_top_1"] = float(np.mean(scores.argmax(axis=1) == queries.labels))

    return [observe]
