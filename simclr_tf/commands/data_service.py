"""`--mode=data_service`: a worker that prepares the batches of trainings elsewhere."""

import logging
import signal
import threading

from simclr_tf import config as settings_of
from simclr_tf.commands import finetune_images, plan
from simclr_tf.data import order, sources
from simclr_tf.distribution import data_service
from simclr_tf.distribution.service_key import read_key
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.stack import tf
from simclr_tf.training import pretraining
from simclr_tf.version import __version__
from simclr_tf.views import multi_crop
from simclr_tf.views.batches import train_batches

_LOG = logging.getLogger(__name__)
OWN = settings_of.CHOOSES_IMAGES | {"data_dir", "download", "shard_index"}
"""Settings of the images that the worker's own command names; a training cannot change them."""
_MODES = ("pretrain", "finetune", "distill")
_LOCAL = ("127.0.0.1", "::1", "localhost")


def run(config, given=frozenset()):
    """Serves until SIGTERM or Ctrl-C.

    Args:
        config: config.DataService.
        given: names of the settings that the user gave.
    Raises:
        UserError: the images, the key or the port cannot be used.
    """
    del given
    settings = config.data_service
    info = sources.describe(config.data)
    key = read_key(settings.service_key, make=True)
    service = data_service.Service(
        settings.bind, settings.port, key, Maker(config.data).batches_for
    )
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopped.set())
    threading.Thread(target=service.serve, daemon=True).start()
    if settings.bind not in _LOCAL:
        _LOG.warning("other machines reach this port; images are sent without encryption to whoever has the --service_key")  # fmt: skip
    print(f"data service: {info.name} at {service.address}", flush=True)
    print(plan.next_line(f"pretrain {config.data.flag} --data_service={service.address} --model_dir=runs/first"), flush=True)  # fmt: skip
    while not stopped.wait(1.0):  # a wait without end would not hear signals
        pass
    service.close()


class Maker:
    """Makes the batches that a training asks for, of the images of config.Data."""

    def __init__(self, data):
        self._data = data
        self._lock = threading.Lock()  # two trainings may come at once

    def batches_for(self, request):
        """(order.Share, tf.data.Dataset, Source) of a request of `data_service.request_of`.

        Raises:
            UserError: versions, settings or images are not those of the training.
        """
        _check_versions(request.get("versions"))
        config = self._config_of(request)
        share = _share_of(request)
        start = request.get("start")
        if not isinstance(start, int) or start < 0:
            raise SettingsError(f"a training begins at step {start!r}; give it the same version.")
        with self._lock, tf.device("CPU:0"):
            source = _source_of(config)
            if source.fingerprint != request.get("fingerprint"):
                raise DataError(
                    f"it reads other images ({source.name}, {source.num_examples:,} to train on) than "
                    "the training; start it with the same images and the same settings of splits."
                )
            if isinstance(config, settings_of.Pretrain):
                made = multi_crop.batches(source, config, config.training.num_views, share, start)
            else:
                size = config.data.image_size
                made = train_batches(source, config.views, size, share, config.run.seed, start, num_views=1)  # fmt: skip
        return share.at(start), made, source

    def _config_of(self, request):
        """The config of the training, with this command's images."""
        mode = request.get("mode")
        settings = request.get("settings")
        if mode not in _MODES or not isinstance(settings, dict):
            raise SettingsError(
                f"a training asks for mode {mode!r}; it can be {', '.join(_MODES)}."
            )
        own = {name: getattr(self._data, name) for name in OWN}
        return settings_of.build(settings_of.MODES[mode].config, {**settings, **own})


def _check_versions(found):
    here = {"simclr_tf": __version__, "tensorflow": tf.__version__}
    if found != here:
        raise SettingsError(f"its versions are {here} and those of the training {found}; install the same.")  # fmt: skip


def _share_of(request):
    """The order.Share of a request, checked."""
    found = request.get("share")
    wanted = ("batch", "worker", "workers", "replicas", "stride")
    right = isinstance(found, dict) and set(found) == set(wanted)
    if not right or not all(
        type(found[name]) is int and 0 <= found[name] < 2**31 for name in wanted
    ):
        raise SettingsError("a training asks for a share that is none; install the same version.")
    least = min(found[name] for name in ("batch", "workers", "replicas", "stride"))
    if least < 1 or found["worker"] >= found["workers"] or found["batch"] % (found["workers"] * found["replicas"]):  # fmt: skip
        raise SettingsError("a training asks for a share that is none; install the same version.")
    return order.Share(**found)


def _source_of(config):
    """The Source of the training images, as the mode opens it."""
    if isinstance(config, settings_of.Pretrain):
        return pretraining.open_images(config)
    if isinstance(config, settings_of.Distill):
        return sources.open_source(config.data, "train", config.run.seed)
    train, _ = finetune_images.open_pair(config, finetune_images.describe(config))
    return finetune_images.labelled_share(train, config.finetuning)
