"""What a plan says of images: where a stored folder came from, and what a sample of it shows."""

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import say
from simclr_tf.commands import evaluation_run, plan
from simclr_tf.data import sources
from simclr_tf.errors import DataError
from simclr_tf.stack import tf


def knn(**data):
    return config.build(config.Knn, {"checkpoint": "runs/first", **data})


def test_a_stored_folder_that_is_gone_is_told_with_who_named_it(tmp_path):
    gone = str(tmp_path / "gone")
    sentence = f"runs/first was trained with --image_dir={gone}.*give --image_dir with the place"
    with pytest.raises(DataError, match=sentence):
        evaluation_run.check_place(knn(image_dir=gone), frozenset())
    with pytest.raises(DataError, match="runs/first was trained with --data_dir="):
        evaluation_run.check_place(knn(dataset="cifar10", data_dir=gone), frozenset())
    evaluation_run.check_place(knn(image_dir=gone), {"image_dir"})  # told by the source
    evaluation_run.check_place(knn(image_dir=str(tmp_path)), frozenset())
    evaluation_run.check_place(knn(dataset="cifar10"), frozenset())
    evaluation_run.check_place(knn(dataset="digits", data_dir=gone), frozenset())
    with pytest.raises(DataError, match=sentence):
        evaluation_run.check_place(knn(image_dir=f"{tmp_path},{gone}"), frozenset())
    evaluation_run.check_place(knn(image_dir="gs://bucket/photos"), frozenset())


def write_16_bit(path, most):
    path.parent.mkdir(exist_ok=True)
    values = np.random.default_rng(0).integers(0, most, (8, 8, 3)).astype(np.uint16)
    path.write_bytes(tf.io.encode_png(values).numpy())


def test_plans_of_evaluations_show_a_sample(tmp_path):
    for name in ("ant", "bee"):
        for number in range(3):
            write_16_bit(tmp_path / name / f"{number}.png", 4096)
    data = config.Data(image_dir=str(tmp_path))
    rows = dict(evaluation_run.data_rows(sources.describe(data), data))
    assert rows["sample"] == "4 of 4 images decoded"
    assert "nearly black" in rows["note"] and "--value_range=auto" in rows["note"]
    assert "sample" not in dict(
        evaluation_run.data_rows(sources.describe(config.Data()), config.Data())
    )
    assert plan.sample_rows(None) == []


def test_remote_folders_have_a_digest_of_sizes():
    place = "ram://sizes"

    def write(name, content):
        tf.io.gfile.makedirs(f"{place}/{name[0]}")
        with tf.io.gfile.GFile(f"{place}/{name}", "wb") as file:
            file.write(content)

    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        write(name, b"12345")
    data = config.Data(image_dir=place, eval_fraction=0.0)
    first = sources.describe(data)
    assert first.sizes and sources.describe(data).sizes == first.sizes
    write("a/1.png", b"123456789")
    again = sources.describe(data)
    assert again.sizes != first.sizes and again.fingerprint == first.fingerprint


def test_the_door_prints_no_command_of_a_terminal(capsys):
    assert say("odd \x1b[31mname\nnext line", 3) == 3
    assert capsys.readouterr().err == "simclr_tf: odd \\x1b[31mname\nnext line\n"
