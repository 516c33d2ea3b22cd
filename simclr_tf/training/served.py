"""The batches of a training that a data service prepares."""

from simclr_tf import config as settings_of
from simclr_tf.data import memory
from simclr_tf.distribution import data_service
from simclr_tf.errors import SettingsError

_OF_THIS_MACHINE = (
    "use_tpu",
    "strategy",
    "logical_cpus",
    "workers",
    "worker_index",
    "data_service",
)


def service_batches(config, batches, share, start, source):
    """The same batches in the same order, made by the workers of `config.training.data_service`.

    Args:
        config: config.Pretrain, config.Finetune or config.Distill.
        batches: tf.data.Dataset that the training would read otherwise.
        share: data.order.Share of this process.
        start: number of the first batch.
        source: data.source.Source of the training images.
    Raises:
        SettingsError: the images are in the memory of this process.
    """
    training = config.training
    mode = next(name for name, one in settings_of.MODES.items() if one.config is type(config))
    if memory.is_address(config.data.image_dir):
        raise SettingsError(
            f"data_service={training.data_service} cannot read images in memory; name a folder, "
            "shards or a data set, or leave it out."
        )
    fields = settings_of.fields_of(type(config)).items()
    settings = {
        name: value
        for name, value in settings_of.flatten(config).items()
        if name not in _OF_THIS_MACHINE
    }
    settings = {name: settings[name] for name, (_, field) in fields if name in settings and not field.metadata["path"]}  # fmt: skip
    request = data_service.request_of(mode, settings, source)
    return data_service.served(
        training.data_service, training.service_key, request, batches, share, start, source
    )
