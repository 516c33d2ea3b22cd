"""`--mode=knn`: nearest-neighbour accuracy of h and of every layer of the projection head."""

from simclr_tf.commands import evaluation_run, plan
from simclr_tf.evaluation import knn_protocol
from simclr_tf.evaluation.frozen import weights_hash
from simclr_tf.evaluation.results import markdown_table, report_table
from simclr_tf.models.selection import layer_index

TITLES = {"pixels": "raw pixels", "untrained": "untrained encoder", "h": "SimCLR, h"}


@evaluation_run.releases
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
    strategy = evaluation_run.make_strategy(config, given, config.trained.checkpoint)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
        layer_index(trained.head, config.trained.ft_proj_selector)  # known now, not after the work
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
    with evaluation_run.bad_images_reported(pair[0].quarantine, *pair):
        results, main = knn_protocol.evaluate(config, trained, strategy, *pair)
    markdown = _markdown(results)
    evaluation_run.write_results(folder, results, markdown, evaluation_run.tables_of(*main, pair))
    return results


def _plan(config, trained, info, strategy):
    rows = [
        ("encoder", f"{config.trained.checkpoint}, step {trained.step}, frozen"),
        *evaluation_run.data_rows(info, config.data),
        ("neighbours", f"{config.knn.knn_k}, temperature {config.knn.knn_temperature:g}"),
        evaluation_run.strategy_row(strategy),
        ("precision", config.run.precision),
        ("output", config.run.model_dir),
    ]
    return plan.format_plan("plan: knn", rows)


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
