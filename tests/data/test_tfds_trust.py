"""Data sets of tensorflow-datasets that would bring code of elsewhere along."""

import json
import sys

import pytest

from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.errors import DataError

INFO = {
    "name": "strange_set",
    "version": "1.0.0",
    "fileFormat": "tfrecord",
    "splits": [{"name": "train", "shardLengths": ["1"], "numBytes": "10"}],
}
IMAGE = {
    "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
    "image": {
        "shape": {"dimensions": ["-1", "-1", "3"]},
        "dtype": "uint8",
        "encodingFormat": "png",
    },
}


def prepared(folder, features):
    """The files of a prepared data set that no installed code knows."""
    place = folder / "strange_set" / "1.0.0"
    place.mkdir(parents=True)
    (place / "dataset_info.json").write_text(json.dumps(INFO))
    (place / "features.json").write_text(json.dumps(features))
    return str(folder)


def features_of(entry):
    return {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": {"image": entry}},
    }


def legacy(entry):
    return {
        "type": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "content": json.dumps({"image": entry}),
    }


@pytest.mark.parametrize(
    "features",
    [
        features_of({"pythonClassName": "strange_code.Feature"}),
        features_of({"python_class_name": "strange_code.Feature"}),
        legacy({"type": "strange_code.Feature", "content": {}}),
    ],
)
def test_prepared_files_cannot_name_modules_of_elsewhere(features, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "strange_code.py").write_text("raise SystemExit('the code of a file ran')")
    data = config.Data(dataset="strange_set", data_dir=prepared(tmp_path / "sets", features))
    with pytest.raises(DataError, match="names 'strange_code.Feature', code that would be import"):
        sources.describe(data)
    assert "strange_code" not in sys.modules


def test_own_classes_are_read(tmp_path):
    data = config.Data(
        dataset="strange_set", data_dir=prepared(tmp_path, features_of(IMAGE)), eval_fraction=0.0
    )
    assert sources.describe(data).num_train == 1


def test_damaged_features_are_one_sentence(tmp_path):
    features = features_of({**IMAGE, "image": {}})
    data = config.Data(dataset="strange_set", data_dir=prepared(tmp_path, features))
    with pytest.raises(DataError, match="dataset=strange_set cannot be used"):
        sources.describe(data)


@pytest.mark.parametrize(
    "name, message",
    [
        ("huggingface:3d_shapes", "whose code would be fetched and run"),
        ("kaggle:mnist:1.0.0", "whose code would be fetched and run"),
        ("strange_set/data_dir=/tmp", "unknown dataset=strange_set/data_dir=/tmp"),
        ("strange_set/a=True,b=3", "unknown dataset="),
    ],
)
def test_no_spelling_reaches_the_code_of_a_community(name, message, tmp_path):
    data = config.Data(dataset=name, data_dir=str(tmp_path))
    with pytest.raises(DataError, match=message) as caught:
        sources.describe(data)
    assert "\n" not in str(caught.value)
