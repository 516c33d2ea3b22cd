"""k-NN accuracy of h, of every layer of the projection head, and of two baselines."""

import time

from simclr_tf import phases
from simclr_tf.evaluation.baselines import pixel_features, untrained_encoder
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.frozen import fastest, proved_frozen
from simclr_tf.evaluation.knn import knn_scores
from simclr_tf.evaluation.metrics import classification_report
from simclr_tf.models.selection import layer_index
from simclr_tf.views.batches import eval_batches


def evaluate(config, trained, strategy, train_source, eval_source):
    """Classifies every evaluation image by its nearest training images.

    Args:
        config: resolved config.Knn.
        trained: restore.Trained.
        strategy: tf.distribute.Strategy that holds the encoder.
        train_source: data.source.Source of the images that vote.
        eval_source: Source of the images that are classified.
    Returns:
        the content of results.json, and (scores float [n, num_classes], labels int [n], ids int
        [n]) of the evaluation images in the chosen feature space.
    Raises:
        FrozenEncoderError: the encoder changed.
    """
    began = time.monotonic()
    spaces = _spaces(config, trained, strategy)
    size = config.data.image_size
    batch = config.knn.eval_batch_size
    extract = Extractor(spaces, batch, strategy)  # traced once for both
    with proved_frozen(trained.encoder, strategy) as encoder_sha256:
        train, held_out = (
            extract(phases.counted(eval_batches(source, size, batch), name, source.num_examples))
            for name, source in (
                ("training features", train_source),
                ("evaluation features", eval_source),
            )
        )
    settings = config.knn
    classes = train_source.num_classes
    with phases.phase("nearest neighbours", unit=""):
        scores = {
            name: knn_scores(
                held_out.h[name], train.h[name], train.labels, classes,
                settings.knn_k, settings.knn_temperature,
            )
            for name in train.h
        }  # fmt: skip
    rows = {name: classification_report(values, held_out.labels) for name, values in scores.items()}
    selected = layer_index(trained.head, config.trained.ft_proj_selector)
    main = f"z{selected}" if selected else "h"
    results = {
        "mode": "knn",
        "checkpoint": config.trained.checkpoint,
        "step": trained.step,
        "dataset": train_source.name,
        "num_train": train_source.num_examples,
        "num_eval": eval_source.num_examples,
        "num_classes": classes,
        "knn_k": min(settings.knn_k, train_source.num_examples),
        "knn_temperature": settings.knn_temperature,
        "ft_proj_selector": selected,
        "knn_top_1": rows[main]["top_1"],
        "knn_top_1_interval": rows[main]["top_1_interval"],
        "rows": rows,
        "encoder_sha256": encoder_sha256,
        "wall_seconds": round(time.monotonic() - began, 2),
    }
    return results, (scores[main], held_out.labels, held_out.ids)


def _spaces(config, trained, strategy):
    """images -> {"pixels", "untrained", "h", "z1", ...: features}, all in inference mode."""
    with strategy.scope():
        untrained = untrained_encoder(config.model, config.data.image_size, config.run.seed)
    encoder = fastest(trained.encoder, strategy)

    def spaces(images, training):
        h = encoder(images, training=training)
        layers = trained.head.outputs(h, training=training)[1:] if trained.head is not None else []
        return {
            "pixels": pixel_features(images),
            "untrained": untrained(images, training=training),
            "h": h,
            **{f"z{number}": layer for number, layer in enumerate(layers, start=1)},
        }

    return spaces
