"""`--mode=embed`: embeddings of every image, and what can be seen in them."""

from simclr_tf import config as settings_of
from simclr_tf.commands import evaluation_run, plan
from simclr_tf.data import sources
from simclr_tf.embedding import work
from simclr_tf.embedding.job import Job, image_names, why_again
from simclr_tf.embedding.output import Output
from simclr_tf.errors import SettingsError
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json
from simclr_tf.stack import tf
from simclr_tf.views import channels


@evaluation_run.releases
def run(config, given=frozenset()):
    """Embeds every image of a folder or split; the same command again continues.

    Args:
        config: config.Embed.
        given: names of the settings that the user gave; data and model settings that are not
            among them come from the pretraining.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, the data, the checkpoint or the output cannot be used.
    """
    output = Output.of(config.embed.output)
    strategy = evaluation_run.make_strategy(config, given, config.trained.checkpoint)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
    config = restore.inherit(config, given, trained.settings)
    evaluation_run.check_place(config, given)
    if config.embed.embed_head and trained.head is None:
        raise SettingsError(
            f"embed_head=True, but {config.trained.checkpoint} holds no projection head; leave out "
            "--embed_head, or give a run folder."
        )
    source = sources.open_whole(config.data, config.embed.split)
    channels.check(source, config.model)
    job = Job(config, trained, source, output, strategy, image_names(config, source))
    print(_plan(job), flush=True)
    if config.run.dry_run:
        return None
    weights = job.weights()
    stamps = job.stamps()
    done = _claim(job, weights, stamps)
    if done is not None:
        print(f"nothing left to do: {output.folder.path} is finished")
    else:
        done = work.embed_images(job, weights, stamps)
    print(plan.next_line(f"export --checkpoint={config.trained.checkpoint}"), flush=True)
    return done


def _plan(job):
    wanted = "h and z" if job.config.embed.embed_head else "h"
    rows = [
        ("encoder", f"{job.config.trained.checkpoint}, step {job.trained.step}"),
        ("images", f"{job.source.num_examples:,} of {job.source.name}"),
        *plan.sample_rows(sources.look(job.config.data, job.source)),
        ("columns", f"path, {wanted}; {job.trained.encoder.feature_dim} numbers per h"),
        evaluation_run.strategy_row(job.strategy),
        ("precision", job.config.run.precision),
        ("output", ", ".join(job.output.files.values())),
    ]
    return plan.format_plan("plan: embed", rows)


def _claim(job, weights, stamps):
    """Makes the folder this command's; returns the results if it is finished already."""
    folder = job.output.folder
    free = settings_of.free_settings(type(job.config))
    dataset = {"name": job.source.name, "fingerprint": job.source.fingerprint}
    folder.claim("embed", settings_of.flatten(job.config), free, dataset)
    path = folder.join("results.json")
    results = read_json(path) if tf.io.gfile.exists(path) else None
    if results and results["weights"] != weights:
        raise SettingsError(
            f"{folder.path} holds embeddings of other weights (step {results['step']}); give "
            "another --output."
        )
    reason = why_again(job, results, stamps) if results else ""
    if reason:
        print(f"embedding again: {reason}", flush=True)
        tf.io.gfile.remove(path)
        if tf.io.gfile.exists(job.output.quarantine):
            tf.io.gfile.remove(job.output.quarantine)
        return None
    return results
