"""SimCLR for TensorFlow 2 and Keras: pretrain an image encoder without labels, measure it, ship it.

    import simclr_tf
    run = simclr_tf.pretrain(images, train_epochs=10)
    h = run.embed(images)
    print(simclr_tf.knn(run, images, labels)["knn_top_1"])
    run.export("runs/first")

    encoder = simclr_tf.ResNet(depth=18, stem="small")
    loss = simclr_tf.NTXent(temperature=0.5)

The names below are imported when they are first used, so that `import simclr_tf` is quick and does
without TensorFlow. The rooms `data`, `views`, `models`, `losses`, `optimizers`, `training`,
`evaluation` and `report` each say in their docstring what comes in, what goes out and where to start
reading. None of them reads command-line flags.
"""

import importlib
import pathlib
import sys
import types
import typing

from simclr_tf.version import __version__ as __version__

if typing.TYPE_CHECKING:  # what `__getattr__` imports, for type checkers and editors
    from simclr_tf.config import Export as Export
    from simclr_tf.config import LinearEval as LinearEval
    from simclr_tf.config import Pretrain as Pretrain
    from simclr_tf.errors import DataError as DataError
    from simclr_tf.errors import DivergedError as DivergedError
    from simclr_tf.errors import PreemptedError as PreemptedError
    from simclr_tf.errors import SettingsError as SettingsError
    from simclr_tf.errors import UserError as UserError
    from simclr_tf.library.functions import compare as compare
    from simclr_tf.library.functions import data_check as data_check
    from simclr_tf.library.functions import distill as distill
    from simclr_tf.library.functions import embed as embed
    from simclr_tf.library.functions import export as export
    from simclr_tf.library.functions import finetune as finetune
    from simclr_tf.library.functions import import_weights as import_weights
    from simclr_tf.library.functions import knn as knn
    from simclr_tf.library.functions import linear_eval as linear_eval
    from simclr_tf.library.functions import load as load
    from simclr_tf.library.functions import pretrain as pretrain
    from simclr_tf.library.functions import probe as probe
    from simclr_tf.library.functions import report as report
    from simclr_tf.library.functions import search as search
    from simclr_tf.library.functions import study as study
    from simclr_tf.library.functions import transfer as transfer
    from simclr_tf.library.functions import tune as tune
    from simclr_tf.library.functions import views as views
    from simclr_tf.library.pretraining_run import PretrainingRun as PretrainingRun
    from simclr_tf.library.trained import TrainedModel as TrainedModel
    from simclr_tf.losses import DecoupledNTXent as DecoupledNTXent
    from simclr_tf.losses import MarginTriplet as MarginTriplet
    from simclr_tf.losses import NTLogistic as NTLogistic
    from simclr_tf.losses import NTXent as NTXent
    from simclr_tf.losses import SupervisedContrastive as SupervisedContrastive
    from simclr_tf.models.head import ProjectionHead as ProjectionHead
    from simclr_tf.models.normalization import BatchNormalization as BatchNormalization
    from simclr_tf.models.resnet import ResNet as ResNet
    from simclr_tf.models.simclr import SimCLR as SimCLR
    from simclr_tf.optimizers.lars import LARS as LARS
    from simclr_tf.optimizers.schedule import WarmUpCosine as WarmUpCosine
    from simclr_tf.training.replay import views_of_step as views_of_step
    from simclr_tf.views.arrays import make_views as make_views

_FUNCTIONS = "simclr_tf.library.functions"
_HOMES = {
    "BatchNormalization": "simclr_tf.models.normalization",
    "DataError": "simclr_tf.errors",
    "DecoupledNTXent": "simclr_tf.losses.decoupled",
    "DivergedError": "simclr_tf.errors",
    "Export": "simclr_tf.config",
    "LARS": "simclr_tf.optimizers.lars",
    "LinearEval": "simclr_tf.config",
    "MarginTriplet": "simclr_tf.losses.margin",
    "NTLogistic": "simclr_tf.losses.nt_logistic",
    "NTXent": "simclr_tf.losses.nt_xent",
    "PreemptedError": "simclr_tf.errors",
    "Pretrain": "simclr_tf.config",
    "PretrainingRun": "simclr_tf.library.pretraining_run",
    "ProjectionHead": "simclr_tf.models.head",
    "ResNet": "simclr_tf.models.resnet",
    "SettingsError": "simclr_tf.errors",
    "SimCLR": "simclr_tf.models.simclr",
    "SupervisedContrastive": "simclr_tf.losses.supcon",
    "TrainedModel": "simclr_tf.library.trained",
    "UserError": "simclr_tf.errors",
    "WarmUpCosine": "simclr_tf.optimizers.schedule",
    "compare": _FUNCTIONS,
    "data_check": _FUNCTIONS,
    "distill": _FUNCTIONS,
    "embed": _FUNCTIONS,
    "export": _FUNCTIONS,
    "finetune": _FUNCTIONS,
    "import_weights": _FUNCTIONS,
    "knn": _FUNCTIONS,
    "linear_eval": _FUNCTIONS,
    "load": _FUNCTIONS,
    "make_views": "simclr_tf.views.arrays",
    "pretrain": _FUNCTIONS,
    "probe": _FUNCTIONS,
    "report": _FUNCTIONS,
    "search": _FUNCTIONS,
    "study": _FUNCTIONS,
    "transfer": _FUNCTIONS,
    "tune": _FUNCTIONS,
    "views": _FUNCTIONS,
    "views_of_step": "simclr_tf.training.replay",
}

__all__ = sorted(_HOMES)

# A wheel holds flags and export inside this package; in a clone they are its neighbours.
_HERE = pathlib.Path(__file__).resolve().parent
if not (_HERE / "flags").is_dir():
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> typing.Any:
    """Imports a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'simclr_tf' has no attribute {name!r}; it has {__all__}.")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    room = sys.modules.get(f"{__name__}.{name}")
    if isinstance(room, _Room):
        room.lend(value)
    globals()[name] = value
    return value


def __dir__() -> typing.List[str]:
    """The public names, for completion."""
    return sorted([*globals(), *__all__])


class _Package(types.ModuleType):
    """This package: its functions keep their names although rooms have them too.

    The import system sets every submodule as an attribute of its package, so importing the room
    `simclr_tf.views` would hide the function `simclr_tf.views`.
    """

    def __setattr__(self, name: str, value: typing.Any) -> None:
        if name in _HOMES and isinstance(value, types.ModuleType):
            value.__class__ = _Room
            if name in vars(self):
                value.lend(vars(self)[name])
        else:
            super().__setattr__(name, value)


class _Room(types.ModuleType):
    """A room whose submodules are attributes of the function of the same name too.

    So `import simclr_tf.views.blur` lets `simclr_tf.views.blur` be used, as of any package.
    """

    def lend(self, function: typing.Any) -> None:
        """Gives the function the submodules that were imported so far."""
        for name, value in list(vars(self).items()):
            if isinstance(value, types.ModuleType) and value.__name__ == f"{self.__name__}.{name}":
                setattr(function, name, value)

    def __setattr__(self, name: str, value: typing.Any) -> None:
        super().__setattr__(name, value)
        function = vars(sys.modules["simclr_tf"]).get(self.__name__.rpartition(".")[2])
        if function is not None and isinstance(value, types.ModuleType):
            setattr(function, name, value)


sys.modules[__name__].__class__ = _Package
