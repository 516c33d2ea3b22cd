"""What a distillation starts from: the teacher, and the student before its first step."""

import dataclasses
from typing import Callable

from simclr_tf import config as settings_of
from simclr_tf.commands import evaluation_run
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.evaluation.frozen import weights_hash
from simclr_tf.models.selection import layer_index, select_layer
from simclr_tf.runs import restore
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import keras, tf
from simclr_tf.training import length, starting
from simclr_tf.views import channels

# of the teacher's views: the crop and the ranges of colour; rotation and shear belong to the crop
_KEPT_VIEWS = starting.KEPT_VIEWS | {"rotate_degrees", "shear"}
_LABELS = ("label_fraction", "label_seed")
# naming one of these describes a ResNet, so the student is no copy of another kind of teacher
_RESNET = {"resnet_depth", "width_multiplier", "sk_ratio", "se_ratio", "stem"}


@dataclasses.dataclass(frozen=True)
class Start:
    """The resolved settings, the teacher and the untrained student.

    Attributes:
        config: resolved config.Distill.
        teacher: restore.Trained with a classifier.
        logits: function, images float [b, s, s, c] in [0, 1] -> the teacher's logits.
        encoder, head: the student's, built.
        origin: where the student's weights come from, in words.
        sha256: hash of the weights of both, which a resumed run must find again.
    """

    config: settings_of.Distill
    teacher: restore.Trained
    logits: Callable[[tf.Tensor], tf.Tensor]
    encoder: keras.Model
    head: keras.layers.Layer
    origin: str
    sha256: dict

    @property
    def num_classes(self):
        """Of the teacher."""
        return self.teacher.probe.dense.units


def find(config, given):
    """Loads the teacher, resolves the settings and makes the student, in the strategy's scope.

    Args:
        config: config.Distill.
        given: names of the settings that the user gave.
    Returns:
        Start.
    Raises:
        UserError: a checkpoint cannot be used, or settings contradict each other.
    """
    settings = config.distillation
    teacher = restore.load_trained(settings.teacher, {}, config.run.trust_code)
    if teacher.probe is None:
        raise DataError(
            f"teacher={settings.teacher} has no classifier, so it says nothing of classes; give a "
            "run of --mode=finetune, or a SavedModel with logits."
        )
    size = teacher.settings["image_size"]
    if "image_size" in given and config.data.image_size != size:
        raise SettingsError(
            f"image_size={config.data.image_size} differs from the teacher's {size}, and both see "
            "the same views; leave it out."
        )
    student = _checkpoint_of_student(config, given, size)
    config = _resolved(config, given, teacher, student)
    if student is None:
        encoder, head = starting.random_parts(config)
        origin = "random weights"
    else:
        encoder, head = student.encoder, student.head or starting.no_head(student.encoder)
        origin = f"{config.trained.checkpoint}, step {student.step}"
    layer_index(head, settings.ft_proj_selector)  # refused now, not after the work
    logits = logits_of(
        teacher.encoder, teacher.head, teacher.probe, teacher.settings["ft_proj_selector"]
    )
    sha256 = {
        "teacher": [weights_hash(part) for part in (teacher.encoder, teacher.probe)],
        "student": weights_hash(encoder),
    }
    return Start(config, teacher, logits, encoder, head, origin, sha256)


def again(start):
    """(encoder, head) of the student before its first step, once more; in the strategy's scope."""
    config = start.config
    if not config.trained.checkpoint:
        return starting.random_parts(config)
    values = {"encoder": config.model.encoder}  # trusted before
    student = restore.load_trained(config.trained.checkpoint, values, config.run.trust_code)
    return student.encoder, student.head or starting.no_head(student.encoder)


def logits_of(encoder, head, classifier, selector):
    """The function of images that a classifier and what is below it compute, in inference mode."""
    below = select_layer(encoder, head, selector)

    def logits(images, training=False):
        del training
        return classifier(below(images, training=False))

    return logits


def _checkpoint_of_student(config, given, size):
    if not config.trained.checkpoint:
        return None
    student = evaluation_run.load(config, given)
    if student.settings["image_size"] != size:
        raise SettingsError(
            f"checkpoint={config.trained.checkpoint} was trained at image_size="
            f"{student.settings['image_size']}, the teacher at {size}, and both see the same "
            "views; give a student of the teacher's size."
        )
    return student


def _resolved(config, given, teacher, student):
    """Fills in what was not given, from the teacher and from the student's checkpoint."""
    config = restore.inherit(config, given, teacher.settings)
    values = settings_of.flatten(config)
    names = _KEPT_VIEWS - set(given)
    values.update({name: teacher.settings[name] for name in names if name in teacher.settings})
    if not {"image_dir", "dataset", "shards"} & set(given):
        stored = RunFolder(teacher.run_dir).stored_settings()
        values.update({n: stored[n] for n in _LABELS if n in stored and n not in given})
    if student is not None:
        of_model = settings_of.setting_names(settings_of.Model)
        values.update({name: student.settings[name] for name in of_model})
        if student.head is None:
            values["proj_head_mode"] = "none"
    else:
        if "encoder" not in given and _RESNET & set(given):
            values["encoder"] = ""
        if "proj_head_mode" not in given:
            values["proj_head_mode"] = "none"  # the classifier stands on h
    config = settings_of.build(settings_of.Distill, values)
    config = dataclasses.replace(config, training=length.as_asked(config.training, given))
    return channels.restrict(config, config.model.image_channels)


def fitted(config, given, num_train):
    """A config whose warm-up fits into the run, if the user did not choose one."""
    if "warmup_epochs" in given:
        return config
    optimizer = length.fitting_warmup(config.training, config.optimizer, num_train)
    return dataclasses.replace(config, optimizer=optimizer)
