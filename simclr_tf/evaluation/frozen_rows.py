"""Rows of a fine-tuning's table that train no encoder: linear classifiers on frozen features."""

from simclr_tf import phases
from simclr_tf.data import subset
from simclr_tf.data.label_sets import truth
from simclr_tf.evaluation.baselines import Standardiser, untrained_encoder
from simclr_tf.evaluation.features import Extractor
from simclr_tf.evaluation.few_shot import fit_classifier
from simclr_tf.evaluation.frozen import fastest, proved_frozen
from simclr_tf.evaluation.multi_label import fit_multi_label, report
from simclr_tf.views.batches import eval_batches

UNLABELLED = 1024  # training images whose features give mean and deviation; no label is needed


def measure(job, encoders, train):
    """Logistic regression with the job's labels on an untrained encoder and on others.

    Args:
        job: finetune_job.Job.
        encoders: {row: built encoder}.
        train: all training images.
    Returns:
        {row: report with the hash of the encoder under "encoder_sha256"}, for
        "untrained" and each of `encoders`.
    Raises:
        FrozenEncoderError: an encoder changed.
    """
    config = job.config
    with job.strategy.scope():
        untrained = untrained_encoder(config.model, config.data.image_size, config.run.seed)
    sources = subset.sample(train, UNLABELLED, config.run.seed), job.labelled, job.held_out
    rows = {}
    for name, encoder in {"untrained": untrained, **encoders}.items():
        extract = Extractor(
            fastest(encoder, job.strategy), config.finetuning.eval_batch_size, job.strategy
        )
        with proved_frozen(encoder, job.strategy) as sha256:
            unlabelled, labelled, held_out = (_features(job, extract, one) for one in sources)
        scale = Standardiser(unlabelled.h)
        labels = truth(job.labelled, labelled.labels)
        with phases.phase(f"linear classifier, {name}", unit=""):
            if labels.ndim == 2:
                scores_of = fit_multi_label(scale(labelled.h), labels)
            else:
                scores_of = fit_classifier(scale(labelled.h), labels, train.num_classes)
        rows[name] = report(scores_of(scale(held_out.h)), truth(job.held_out, held_out.labels))
        rows[name]["encoder_sha256"] = sha256
    return rows


def _features(job, extract, source):
    batch = job.config.finetuning.eval_batch_size
    batches = eval_batches(source, job.config.data.image_size, batch)
    batches = phases.counted(batches, "features for the frozen rows", source.num_examples)
    return extract(batches)
