"""The registry of operators: it agrees with the settings, and a new operator works."""

import dataclasses

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.stack import tf
from simclr_tf.views import device, draws, forms, operators, rng

S = 20
BATCH = {
    "images": np.random.default_rng(0).integers(0, 256, (4, S, S, 3)).astype("uint8"),
    "id": np.arange(4),
    "epoch": np.zeros(4, "int32"),
}


def batch():
    kinds = {"images": tf.uint8, "id": tf.int64, "epoch": tf.int32}
    return {name: tf.constant(value, kinds[name]) for name, value in BATCH.items()}


def made(names, form, **settings):
    views = config.Views(operators=names, **settings)
    return device.make_views(views, S, 3, form=form)(batch()).numpy()


@pytest.fixture
def names(monkeypatch):
    """Registries that forget what a test adds."""
    known = list(config.views.OPERATORS)
    monkeypatch.setattr(operators, "OPERATORS", dict(operators.OPERATORS))
    monkeypatch.setattr(forms, "OPERATORS", operators.OPERATORS)
    yield config.views.OPERATORS
    config.views.OPERATORS[:] = known


def test_settings_and_registry_name_the_same_operators():
    assert set(config.views.OPERATORS) == set(operators.OPERATORS)
    fields = {field.name: field for field in dataclasses.fields(config.Views)}
    assert fields["operators"].metadata["each_of"] is config.views.OPERATORS


def test_the_operators_keep_their_random_numbers():
    found = [(one.name, one.first_uniform) for one in operators.drawn_operators()]
    assert found == [
        ("crop", 0),
        ("rotate", 0),
        ("cutout", 1),
        ("noise", 3),
        ("sobel", 4),
        ("solarize", 4),
        ("equalize", 4),
        ("motion_blur", 4),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["switch", "select"])
def test_one_more_operator_is_applied_and_moves_no_other(names, form):
    earlier = made("cutout,noise,motion_blur", form)
    names.append("shade")

    @operators.register("shade", settings=("cutout_size",), uniforms=1)
    def shade(images, drawn, views):
        return images * drawn.u[:, 0, None, None, None] * views.cutout_size

    np.testing.assert_array_equal(made("cutout,noise,motion_blur", form), earlier)
    plain = made("", form)
    rows = draws.rows_of(batch(), 2)
    factor = rng.uniforms(3, *rows, first=85, count=1).numpy()[:, :, None, None]
    np.testing.assert_allclose(made("shade", form), plain * factor * 0.5, atol=1e-6)
    half = made("shade", form, study_prob=0.5)
    same = np.isclose(half, plain, atol=1e-6).all((1, 2, 3))
    assert 0 < same.sum() < 8


def test_a_second_key_and_window_are_independent_of_the_first(names):
    names.append("grain")

    @operators.register("grain", window=True, key=True)
    def grain(images, drawn, views):
        del drawn, views
        return images

    rows = draws.rows_of(batch(), 2)
    drawn = operators.draw(config.Views(), 3, rows, 100)
    assert np.all(drawn.of("grain").keys != drawn.of("noise").keys)
    assert np.any(drawn.of("grain").boxes != drawn.of("crop").boxes, axis=1).all()


def test_operators_that_cannot_work_are_refused(names):
    with pytest.raises(ValueError, match="sepia is not in OPERATORS"):
        operators.register("sepia")
    with pytest.raises(ValueError, match="noise is registered already"):
        operators.register("noise")
    names.append("sepia")
    with pytest.raises(ValueError, match="reads the setting sepia_strength"):
        operators.register("sepia", settings=("sepia_strength",))
    with pytest.raises(ValueError, match="simclr_tf/streams.py"):
        operators.register("sepia", uniforms=12)(lambda images, drawn, views: images)


def test_an_odd_number_of_uniforms_is_a_part_of_the_even_one():
    rows = draws.rows_of(batch(), 2)
    even = rng.uniforms(1, *rows, first=4, count=6).numpy()
    np.testing.assert_array_equal(rng.uniforms(1, *rows, first=4, count=5), even[:, :5])
    np.testing.assert_array_equal(rng.uniforms(1, *rows, first=5, count=4), even[:, 1:5])
    assert rng.uniforms(1, *rows, first=4, count=0).shape == (8, 0)
