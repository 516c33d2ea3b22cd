"""Digits and tensorflow-datasets sets: contents, order, skipping, errors."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from simclr_tf import config
from simclr_tf.data import decoding, digits, order, sources, tfds_reading, windows
from simclr_tf.data.info import require_labels
from simclr_tf.errors import DataError


class TinyShards(tfds.core.GeneratorBasedBuilder):
    """29 grey 4x4 images whose every pixel is their number; only a training split."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(4, 4, 1)),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for key in range(29):
            yield key, {"image": np.full((4, 4, 1), key, np.uint8), "label": key % 3}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    digits.prepared_builder(folder)
    builder = TinyShards(data_dir=folder)
    settings = tfds.download.DownloadConfig(num_shards=6)
    builder.download_and_prepare(download_config=settings)
    return folder


def open_digits(data_dir, which="train", **settings):
    return sources.open_source(config.Data(data_dir=data_dir, **settings), which)


def tiny(data_dir, which="train", **settings):
    data = config.Data(dataset="tiny_shards", data_dir=data_dir, **settings)
    return sources.open_source(data, which)


def taken(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def places(examples):
    return [(int(one["id"]), int(one["epoch"]), int(one["label"])) for one in examples]


def test_digits_are_the_scans_of_scikit_learn(data_dir):
    from sklearn.datasets import load_digits

    train = open_digits(data_dir)
    test = open_digits(data_dir, "eval")
    assert (train.num_examples, test.num_examples, train.num_classes) == (1437, 360, 10)
    assert train.image_shape == (8, 8, 3) and train.class_names == tuple("0123456789")
    images = np.concatenate([train.arrays(), test.arrays()])
    labels = np.concatenate([train.labels, test.labels])
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    want = load_digits()
    got = {(image[..., 0].tobytes(), int(label)) for image, label in zip(images, labels)}
    scaled = np.round(want.images * 255 / 16).astype(np.uint8)
    assert got == {(image.tobytes(), int(label)) for image, label in zip(scaled, want.target)}


@pytest.mark.slow
@pytest.mark.one_stack
def test_two_processes_prepare_the_digits_at_once(tmp_path):
    code = (
        "import sys; from simclr_tf.data import digits;"
        "print(digits.prepared_builder(sys.argv[1]).info.splits['train'].num_examples)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate(timeout=300)[0].strip() for one in both] == ["1437", "1437"]
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == ["1.0.0"]


def test_preparation_that_loses_the_race_uses_the_winners_files(tmp_path, monkeypatch):
    def lost(self):
        monkeypatch.undo()
        digits.prepared_builder(str(tmp_path))
        raise OSError("Directory not empty")

    monkeypatch.setattr(digits.Digits, "download_and_prepare", lost)
    assert digits.prepared_builder(str(tmp_path)).info.splits["test"].num_examples == 360


def test_unwritable_folder_for_the_digits_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written to .*--data_dir"):
        digits.prepared_builder(str(tmp_path / "file"))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("window", [1, 4])
def test_stream_is_a_function_of_seed_and_position(data_dir, monkeypatch, cached, window):
    monkeypatch.setattr(windows, "WINDOW_BYTES", 80 * 5 * window)  # a shard has 5 images
    source = tiny(data_dir, cache_dataset=cached)
    n = source.num_examples
    whole = taken(source.stream(seed=4), 3 * n)
    ids = np.array([one["id"] for one in whole]).reshape(3, n)
    np.testing.assert_array_equal(np.sort(ids, axis=1), [np.arange(n)] * 3)
    assert (ids[0] != ids[1]).any() and (ids[0] != np.arange(n)).any()
    assert [int(one["epoch"]) for one in whole] == list(np.repeat([0, 1, 2], n))
    for start in (1, n - 1, n, n + 5, 2 * n + 3):
        assert places(taken(source.stream(4, start), n // 2)) == places(whole[start:][: n // 2])
    assert places(taken(source.stream(5), n)) != places(whole[:n])


@pytest.mark.parametrize("cached", [True, False])
def test_workers_together_read_every_position_of_the_stream_once(data_dir, monkeypatch, cached):
    monkeypatch.setattr(windows, "WINDOW_BYTES", 80 * 5)
    source = tiny(data_dir, cache_dataset=cached)
    start = 24
    batch = 6
    whole = places(taken(source.stream(4, start), 10 * batch))
    shares = [order.Share(batch, worker, 3, start=start) for worker in range(3)]
    parts = [places(taken(source.stream(4, share), 10 * 2)) for share in shares]
    joined = [part[2 * step : 2 * step + 2] for step in range(10) for part in parts]
    assert [place for pair in joined for place in pair] == whole


@pytest.mark.parametrize("cached", [True, False])
def test_held_out_share_is_disjoint_and_complete(data_dir, cached):
    def numbers(which):
        source = tiny(data_dir, which, cache_dataset=cached, eval_fraction=0.3)
        found = taken(source.in_order(), 100)
        assert [int(one["id"]) for one in found] == list(range(source.num_examples))
        shuffled = taken(source.stream(0), source.num_examples)
        values = {int(one["id"]): int(decoding.decode(one["image"])[0, 0, 0]) for one in shuffled}
        got = [int(decoding.decode(one["image"])[0, 0, 0]) for one in found]
        assert got == [values[i] for i in range(source.num_examples)]
        assert [int(one["label"]) for one in found] == [value % 3 for value in got]
        return got

    train = numbers("train")
    held_out = numbers("eval")
    assert len(held_out) == 9 and sorted(train + held_out) == list(range(29))


def test_same_share_is_held_out_from_memory_and_from_files(data_dir):
    streamed = taken(tiny(data_dir, "eval", cache_dataset=False).in_order(), 9)
    values = [int(decoding.decode(one["image"])[0, 0, 0]) for one in streamed]
    np.testing.assert_array_equal(values, tiny(data_dir, "eval").arrays()[:, 0, 0, 0])


def test_too_large_to_decode_stays_encoded(data_dir, monkeypatch):
    encoded = tiny(data_dir)
    monkeypatch.setattr(tfds_reading, "MEMORY_LIMIT_BYTES", 29 * 100)
    monkeypatch.setattr(tfds_reading, "_fixed_shape", lambda *_: (64, 64, 3))
    source = tiny(data_dir)
    assert source.arrays() is None and source.image_shape is None
    assert places(taken(source.stream(2), 30)) == places(taken(encoded.stream(2), 30))


def test_parts_of_splits(data_dir):
    source = open_digits(data_dir, train_split="train[:90%]")
    assert source.num_examples == 1293
    np.testing.assert_array_equal(source.labels, open_digits(data_dir).labels[:1293])


def test_describe_agrees_with_what_is_opened(data_dir):
    data = config.Data(dataset="tiny_shards", data_dir=data_dir)
    info = sources.describe(data)
    assert (info.num_train, info.num_eval, info.num_classes, info.prepared) == (23, 6, 3, True)
    for which, number in (("train", info.num_train), ("eval", info.num_eval)):
        assert sources.open_source(data, which).num_examples == number
    other = sources.describe(config.Data(dataset="tiny_shards", data_dir=data_dir, split_seed=1))
    assert other.fingerprint != info.fingerprint


def test_describing_the_digits_and_known_sets_needs_no_tensorflow():
    code = (
        "import sys; from simclr_tf import config; from simclr_tf.data import sources;"
        "d = sources.describe(config.Data()); assert (d.num_train, d.num_eval) == (1437, 360);"
        "d = sources.describe(config.Data(dataset='cifar10', data_dir='/nonexistent'));"
        "assert (d.num_train, d.num_eval, d.prepared) == (50000, 10000, False);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"dataset": "cifar1"}, "unknown dataset=cifar1.*did you mean cifar10"),
        ({"dataset": "cifar10/zz"}, "no configuration zz"),
        ({"dataset": "fgvc_aircraft"}, "not part of tensorflow-datasets.*--image_dir"),
        ({"dataset": "huggingface:mnist"}, "community data set"),
        ({"dataset": "coil100"}, "not prepared in .*--download.*--data_dir"),
        ({"train_split": "trian"}, "no split trian; it has test, train"),
        ({"eval_split": "test[200%]"}, "no split test\\[200%\\]"),
        ({"train_split": "train[5:5]"}, "is empty"),
        ({"dataset": "tiny_shards", "eval_split": "test"}, "no split test; it has train"),
    ],
)
def test_wrong_names_are_one_sentence(data_dir, settings, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        sources.describe(config.Data(data_dir=data_dir, **settings))
    assert str(caught.value).count("\n") == 0


def test_known_set_that_is_not_prepared_is_never_downloaded(data_dir):
    with pytest.raises(DataError, match="cifar10 is not prepared.*--download"):
        sources.open_source(config.Data(dataset="cifar10", data_dir=data_dir))


def test_failed_download_is_one_sentence(data_dir, monkeypatch):
    def no_network(self):
        raise ConnectionError("Name or service not known\nlong trace")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(DataError, match="could not be downloaded.*Name or service not known"):
        sources.open_source(config.Data(dataset="cifar10", data_dir=data_dir, download=True))


def test_labels_are_required_in_one_sentence(data_dir):
    require_labels(open_digits(data_dir), "--mode=linear_eval")
    info = sources.describe(config.Data(dataset="voc/2007", data_dir=data_dir))
    with pytest.raises(DataError, match="voc/2007 has no labels, which --mode=linear_eval needs"):
        require_labels(info, "--mode=linear_eval")
