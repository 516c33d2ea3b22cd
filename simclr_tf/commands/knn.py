"""`--mode=knn`: nearest-neighbour accuracy of h and of every layer of the projection head."""

import time

from simclr_tf import phases
from simclr_tf.commands import evaluation_run, plan
from simclr_tf.distribution.strategy import describe as describe_strategy
from simclr_tf.evaluation.baselines import pixel_features, untrained_encoder
from simclr_tf.evaluation.features import extract_features
from simclr_tf.evaluation.frozen import proved_frozen, weights_hash
from simclr_tf.evaluation.knn import knn_scores
from simclr_tf.evaluation.metrics import classification_report
from simclr_tf.evaluation.results import confusion_csv, markdown_table, report_table
from simclr_tf.models.selection import layer_index
from simclr_tf.runs.lock import releases
from simclr_tf.training.recording import bad_images_reported
from simclr_tf.views.batches import eval_batches

TITLES = {"pixels": "raw pixels", "untrained": "untrained encoder", "h": "SimCLR, h"}


@releases
def run(config, given=frozenset()):
    """Weighted k-NN by cosine, training images as the bank, beside raw pixels and no training.

    Args:
        config: config.Knn.
        given: names of the settings that the user gave; data and model settings that are not
            among them come from the pretraining.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data, the checkpoint or the output folder cannot be used.
        FrozenEncoderError: the encoder changed; nothing is written.
    """
    strategy = evaluation_run.make_strategy(config, given, config.source.checkpoint)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
        layer_index(trained.head, config.source.ft_proj_selector)  # known now, not after the work
    config = evaluation_run.resolve(config, given, trained, "knn")
    info = evaluation_run.describe(config, "knn")
    print(_plan(config, trained, info, strategy), flush=True)
    if config.run.dry_run:
        return None
    folder, pair = evaluation_run.start("knn", config, info)
    sha256 = weights_hash(trained.encoder, strategy)
    done = evaluation_run.finished(folder, sha256, ["confusion.csv"])
    if done is not None:
        return done
    with bad_images_reported(pair[0].quarantine):
        results, main = _evaluate(config, trained, strategy, *pair)
    markdown = _markdown(results)
    confusion = {"confusion.csv": confusion_csv(*main, pair[0].class_names)}
    evaluation_run.write_results(folder, results, markdown, confusion)
    return results


def _plan(config, trained, info, strategy):
    rows = [
        ("encoder", f"{config.source.checkpoint}, step {trained.step}, frozen"),
        *evaluation_run.data_rows(info),
        ("neighbours", f"{config.knn.knn_k}, temperature {config.knn.knn_temperature:g}"),
        ("strategy", describe_strategy(strategy)),
        ("precision", config.run.precision),
        ("output", config.run.model_dir),
    ]
    return plan.format_plan("plan: knn", rows)


def _evaluate(config, trained, strategy, train_source, eval_source):
    began = time.monotonic()
    spaces = _spaces(config, trained, strategy)
    size = config.data.image_size
    batch = config.knn.eval_batch_size
    with proved_frozen(trained.encoder, strategy) as encoder_sha256:
        train, held_out = (
            extract_features(
                spaces,
                phases.counted(eval_batches(source, size, batch), name, source.num_examples),
                batch,
                strategy,
            )
            for name, source in (
                ("training features", train_source),
                ("evaluation features", eval_source),
            )
        )
    settings = config.knn
    classes = train_source.num_classes
    scores = {
        name: knn_scores(
            held_out.h[name], train.h[name], train.labels, classes,
            settings.knn_k, settings.knn_temperature,
        )
        for name in train.h
    }  # fmt: skip
    rows = {name: classification_report(values, held_out.labels) for name, values in scores.items()}
    selected = layer_index(trained.head, config.source.ft_proj_selector)
    main = f"z{selected}" if selected else "h"
    results = {
        "mode": "knn",
        "checkpoint": config.source.checkpoint,
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
    return results, (scores[main], held_out.labels)


def _spaces(config, trained, strategy):
    """images -> {"pixels", "untrained", "h", "z1", ...: features}, all in inference mode."""
    with strategy.scope():
        untrained = untrained_encoder(config.model, config.data.image_size, config.run.seed)

    def spaces(images, training):
        h = trained.encoder(images, training=training)
        layers = trained.head.outputs(h, training=training)[1:] if trained.head is not None else []
        return {
            "pixels": pixel_features(images),
            "untrained": untrained(images, training=training),
            "h": h,
            **{f"z{number}": layer for number, layer in enumerate(layers, start=1)},
        }

    return spaces


def _markdown(results):
    """results.md of a k-NN evaluation."""
    names = sorted(results["rows"], key=[*TITLES, *results["rows"]].index)
    rows = {
        TITLES.get(name, f"SimCLR, head layer {name[1:]}"): results["rows"][name] for name in names
    }
    return (
        f"# k-NN of {results['checkpoint']} (step {results['step']})\n\n"
        f"{results['dataset']}: {results['num_eval']} evaluation images, neighbours among "
        f"{results['num_train']} labelled training images, k = {results['knn_k']}, temperature "
        f"{results['knn_temperature']:g}, cosine.\n\n"
        + markdown_table(*report_table(rows))
        + "\nIn brackets, 95 % intervals: Wilson's, of the mean per class a bootstrap's.\n"
        + "\nThe encoder was not changed "
        f"(sha256 {results['encoder_sha256']} before and after).\n"
    )
