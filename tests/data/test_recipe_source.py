"""The recipe "Add a source of images" of docs/contributing.md, carried out."""

import importlib
import re

import numpy as np
import pytest

import simclr_tf.data
from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.errors import DataError
from tests.docs import pages


@pytest.fixture
def stripes(tmp_path, monkeypatch):
    """The file of the recipe, where Python finds it, and its line in the table."""
    page = pages.read("docs/contributing.md")
    section = page.split("## Add a source of images\n")[1].split("\n## ")[0]
    code = re.search(r"^```python\n(.*?)^```$", section, re.S | re.M)[1]
    name, place = re.search(r'"(\w+)": "([\w.]+:\w+)"', section).groups()
    (tmp_path / "stripes.py").write_text(code)
    monkeypatch.setattr(simclr_tf.data, "__path__", [*simclr_tf.data.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    monkeypatch.setitem(sources.SOURCES, name, place)


def test_a_registered_source_is_described_and_opened(stripes):
    data = config.Data(dataset="stripes")
    info = sources.describe(data)
    assert (info.num_train, info.num_eval, info.num_classes) == (32, 8, 2)
    source = sources.open_source(data)
    assert source.class_names == ("horizontal", "vertical")
    for one in source.in_order().as_numpy_iterator():
        image = one["image"][..., 0].astype(int)
        changes = [np.abs(np.diff(image, axis=axis)).sum() for axis in (0, 1)]
        assert np.argmax(changes) == one["label"]
    ids = [int(one["id"]) for one in source.stream(1).take(48)]
    assert sorted(ids[:32]) == list(range(32))
    assert [int(one["id"]) for one in source.stream(1, 30).take(18)] == ids[30:]
    assert sources.open_source(data, "eval").num_examples == 8
    assert sources.open_whole(data, "train").num_examples == 32
    assert sources.label_set_names(data) == ()


def test_an_unregistered_name_is_one_sentence():
    with pytest.raises(DataError, match="unknown dataset=stripes"):
        sources.describe(config.Data(dataset="stripes"))
