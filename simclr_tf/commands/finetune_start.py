"""What a fine-tuning starts from: a checkpoint's weights, or random ones."""

import dataclasses

from simclr_tf import config as settings_of
from simclr_tf.commands import evaluation_run
from simclr_tf.data import sources
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation.frozen import weights_hash
from simclr_tf.models.selection import layer_index
from simclr_tf.runs.run_folder import require_folder
from simclr_tf.stack import keras
from simclr_tf.training import length, starting
from simclr_tf.views import channels


@dataclasses.dataclass(frozen=True)
class Start:
    """The resolved settings and the weights.

    Attributes:
        config: resolved config.Finetune.
        encoder, head: built models.
        origin: where the weights come from, in words.
        scratch: whether they are random.
        sha256: hash of the encoder's weights.
    """

    config: settings_of.Finetune
    encoder: keras.Model
    head: keras.layers.Layer
    origin: str
    scratch: bool
    sha256: str


def find(config, given):
    """Resolves the settings and makes encoder and head; call it in the scope of the strategy.

    Args:
        config: config.Finetune.
        given: names of the settings that the user gave.
    Returns:
        Start.
    Raises:
        UserError: the checkpoint cannot be used, or settings contradict each other.
    """
    config = dataclasses.replace(config, training=length.as_asked(config.training, given))
    init = config.finetuning.init
    scratch = init == "scratch"
    path = checkpoint_of(config)
    if init and not scratch and config.trained.checkpoint not in ("", init):
        raise SettingsError(
            f"init={init} and checkpoint={config.trained.checkpoint} name two starting points; "
            "give one of them."
        )
    if not path and not scratch:
        raise SettingsError(
            "neither --checkpoint nor --init is given; give --checkpoint=RUN_FOLDER, or "
            "--init=scratch for random weights."
        )
    if not path:
        require_folder(config.run, example="runs/scratch")
        config = channels.adopt(config, given, sources.describe(config.data))
        return _random(config, "random weights")
    values = settings_of.flatten(config)
    config = settings_of.build(type(config), {**values, "checkpoint": path})
    trained = evaluation_run.load(config, given)
    config = _resolve(config, given, trained, scratch)
    if scratch:
        return _random(config, f"random weights, architecture of {path}")
    head = trained.head or starting.no_head(trained.encoder)
    layer_index(head, config.finetuning.ft_proj_selector)  # refused now, not after the work
    origin = f"{path}, step {trained.step}"
    return Start(config, trained.encoder, head, origin, False, weights_hash(trained.encoder))


def checkpoint_of(config):
    """The path that --init or --checkpoint names, "" for none; config: config.Finetune."""
    init = config.finetuning.init
    return config.trained.checkpoint if init in ("", "scratch") else init


def _resolve(config, given, trained, scratch):
    name = f"finetune/{100 * config.finetuning.label_fraction:g}pct" + "_scratch" * scratch
    config = evaluation_run.resolve(config, given, trained, name, starting.KEPT_VIEWS)
    if trained.head is None:  # some releases come without their head
        values = {**settings_of.flatten(config), "proj_head_mode": "none"}
        config = settings_of.build(type(config), values)
    return channels.restrict(config, config.model.image_channels)


def _random(config, origin):
    encoder, head = starting.random_parts(config)
    layer_index(head, config.finetuning.ft_proj_selector)  # refused now, not after the work
    return Start(config, encoder, head, origin, True, weights_hash(encoder))
