"""Several folders, and lists of paths with or without labels."""

import numpy as np
import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.data import path_list, sources
from simclr_tf.errors import DataError
from simclr_tf.library.images import given_images
from tests.data.test_folder import folder

pytestmark = pytest.mark.one_stack


def images(root, *paths):
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / path)
    return root


def labels_of(data, which="train"):
    source = sources.open_source(data, which)
    return {source.name_of(i).rpartition("/")[2]: int(source.labels[i]) for i in range(len(source.labels))}  # fmt: skip


def test_several_folders_are_one_set_and_share_their_classes(tmp_path):
    first = images(tmp_path / "a", "cat/1.png", "dog/2.png", "dog/3.png")
    second = images(tmp_path / "b", "cat/4.png", "emu/5.png")
    (second / "notes.txt").write_text("x")
    data = folder(f"{first}, {second}", eval_fraction=0.0)
    info = sources.describe(data)
    assert info.classes == (("cat", 2), ("dog", 2), ("emu", 1)) and info.num_train == 5
    assert info.left_out == ("1 file is no image this project reads: 1 .txt",)
    assert labels_of(data) == {"1.png": 0, "2.png": 1, "3.png": 1, "4.png": 0, "5.png": 2}
    source = sources.open_whole(data, "train")
    assert sources.open_source(data).fingerprint == source.fingerprint
    moved = tmp_path / "moved"
    first.rename(moved)
    assert sources.describe(folder(f"{moved},{second}", eval_fraction=0.0)).fingerprint == info.fingerprint  # fmt: skip
    flat = images(tmp_path / "c", "6.png")
    assert sources.describe(folder(f"{moved},{flat}")).num_classes == 0


def test_a_comma_in_the_name_of_a_folder_is_no_list(tmp_path):
    place = images(tmp_path / "a,b", "1.png")
    assert path_list.places_of(str(place)) == [str(place)]
    assert sources.describe(folder(place)).num_train == 1


@pytest.mark.parametrize(
    "name, text, want",
    [
        ("l.txt", "in/1.png\n\n# a comment\nin/2, x.png\n", {"1.png": -1, "2, x.png": -1}),
        ("l.txt", "in/1.png\tcat\nin/2, x.png\tant\n", {"1.png": 1, "2, x.png": 0}),
        ("l.csv", 'in/1.png,10\n"in/2, x.png",9\n', {"1.png": 1, "2, x.png": 0}),
        ("l.csv", 'label,width,path\r\nb,4,in/1.png\r\na,4,"in/2, x.png"\r\n', {"1.png": 1, "2, x.png": 0}),
        ("l.tsv", 'filename\n"in/1.png\nin/1.png\n', {"1.png": -1}),
        ("l.csv", "\ufeffpath,class\nin/1.png,a\nin/3.png,b\nin/1.png,\n", {"1.png": -1, "3.png": 1}),
    ],
)  # fmt: skip
def test_a_list_names_one_image_a_line(name, text, want, tmp_path):
    images(tmp_path, "in/1.png", "in/2, x.png", "in/3.png")
    (tmp_path / name).write_bytes(text.encode())
    assert labels_of(folder(tmp_path / name, eval_fraction=0.0)) == want


def test_images_without_a_label_train_and_are_not_measured_on(tmp_path):
    images(tmp_path, *[f"{i}.png" for i in range(20)])
    rows = [f"{i}.png,{'ab'[i % 2] if i < 10 else ''}" for i in range(20)]
    (tmp_path / "l.csv").write_text("\n".join(rows))
    info = sources.describe(folder(tmp_path / "l.csv"))
    assert info.num_eval == 2 and info.num_train == 18 and info.classes == (("a", 4), ("b", 4))
    assert "10 images have no label" in info.notes[0]
    assert min(labels_of(folder(tmp_path / "l.csv"), "eval").values()) == 0


def test_lines_that_name_no_file_are_counted_and_devices_are_not_opened(tmp_path):
    images(tmp_path, "1.png")
    (tmp_path / "l.txt").write_text("1.png\nmissing.png\n/dev/zero\n.\n")
    info = sources.describe(folder(tmp_path / "l.txt"))
    assert info.num_train == 1
    assert info.left_out == ("3 lines that name no file, such as missing.png",)
    (tmp_path / "l.txt").write_text("missing.png\n")
    with pytest.raises(DataError, match="names no images.*1 line that names no file .missing.png"):
        sources.describe(folder(tmp_path / "l.txt"))


def test_a_list_and_a_folder_may_be_mixed_and_a_label_change_is_seen(tmp_path):
    place = images(tmp_path / "a", "cat/1.png", "dog/2.png")
    images(tmp_path, "3.png")
    (tmp_path / "l.csv").write_text("3.png,emu\n")
    data = folder(f"{place},{tmp_path}/l.csv", eval_fraction=0.0)
    assert labels_of(data) == {"1.png": 0, "2.png": 1, "3.png": 2}
    before = sources.describe(data).fingerprint
    (tmp_path / "l.csv").write_text("3.png,cat\n")
    assert sources.describe(data).fingerprint != before


def test_an_image_is_no_list_and_splits_need_one_folder(tmp_path):
    images(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match="1.png is a PNG image; give the folder"):
        sources.describe(folder(tmp_path / "1.png"))
    with pytest.raises(DataError, match="have no splits"):
        sources.describe(folder(f"{tmp_path},{tmp_path}", train_split="a"))


def test_each_place_is_expanded_and_reaches_the_library(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    images(tmp_path, "a/1.png", "b/2.png")
    assert config.Data(image_dir="~/a, ~/b").image_dir == f"{tmp_path}/a,{tmp_path}/b"
    both = f"{tmp_path}/a,{tmp_path}/b"
    assert given_images(both).settings == {"image_dir": both}
    assert given_images("cifar10").settings == {"dataset": "cifar10"}
    assert np.all(sources.open_source(folder(both)).labels == -1)
