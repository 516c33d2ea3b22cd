"""The parts that other people's code uses: annotated, documented, made again from their config."""

import inspect
import re

import pytest

from simclr_tf.losses import (
    DecoupledNTXent,
    MarginTriplet,
    NTLogistic,
    NTXent,
    SupervisedContrastive,
)
from simclr_tf.models.head import ProjectionHead
from simclr_tf.models.normalization import BatchNormalization
from simclr_tf.models.resnet import ResNet
from simclr_tf.models.simclr import SimCLR
from simclr_tf.optimizers.lars import LARS
from simclr_tf.optimizers.schedule import WarmUpCosine
from simclr_tf.views.arrays import make_views

LOSSES = [NTXent, DecoupledNTXent, SupervisedContrastive, NTLogistic, MarginTriplet]
LAYERS = [ProjectionHead, BatchNormalization, LARS]
PARTS = [*LOSSES, *LAYERS, ResNet, SimCLR, WarmUpCosine, make_views]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_help_names_every_argument_with_its_type(part):
    start = part.__init__ if inspect.isclass(part) else part
    text = (part.__doc__ or "") + (start.__doc__ or "")
    for parameter in inspect.signature(start).parameters.values():
        if parameter.name == "self":
            continue
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
        assert re.search(rf"^ +(\*\*)?{parameter.name}: ", text, re.M), parameter.name


@pytest.mark.parametrize(
    "part",
    [
        NTXent(0.5, block_size=8),
        DecoupledNTXent(0.5, hidden_norm=False),
        SupervisedContrastive(0.5, name="supervised"),
        NTLogistic(0.2, semi_hard=True),
        MarginTriplet(0.4, jit_compile=True),
        ProjectionHead("linear", out_dim=8, norm="layer", seed=3),
        BatchNormalization(0.8, epsilon=1e-3, global_statistics=False, center=False),
        LARS(0.2, momentum=0.8, use_nesterov=True, exclude=["bias:0"], global_clipnorm=1.0),
        ResNet(10, 0.125, stem="small", se_ratio=0.25, norm="group", seed=5),
        WarmUpCosine(0.3, 10, 100),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_part_is_made_again_from_its_config(part):
    config = part.get_config()
    again = type(part).from_config(config)
    assert again.get_config() == config
    given = inspect.signature(type(part).__init__).parameters
    named = {n for n, p in given.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    assert named - {"self"} <= set(config)
