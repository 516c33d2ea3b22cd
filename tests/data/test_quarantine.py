"""Nothing is lost on bad images: stand-ins, the list, strictness, limits."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.data import batches, decoding, diagnosis, sources
from simclr_tf.data.quarantine import Quarantine
from simclr_tf.errors import DataError
from simclr_tf.stack import tf
from simclr_tf.training import recording


def jpeg(value, size=(48, 40)):
    noise = np.random.default_rng(value).integers(0, 60, (*size, 3))
    stream = io.BytesIO()
    Image.fromarray((noise + value).astype("uint8")).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def folder_of(root, good=6, bad=None):
    """good JPEGs 0.jpg, 1.jpg ... and the files of `bad`, {name: bytes}."""
    for i in range(good):
        (root / f"{i}.jpg").write_bytes(jpeg(20 * i))
    for name, content in (bad or {}).items():
        (root / name).write_bytes(content)
    return root


def opened(root, seed=0, **settings):
    """Every image below `root`: the evaluation images lie in a folder of their own beside it."""
    beside = root.parent / "val"
    beside.mkdir(exist_ok=True)
    (beside / "1.jpg").write_bytes(jpeg(0))
    data = config.Data(image_dir=str(root.parent), train_split=root.name, **settings)
    return sources.open_source(data, "train", seed)


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def mean(example):
    image = decoding.decode(example["image"])
    return {"mean": tf.reduce_mean(tf.cast(image, tf.float32)), "id": example["id"]}


def collect(dataset):
    found = list(dataset.as_numpy_iterator())
    return {key: np.concatenate([one[key] for one in found]) for key in found[0]}


def test_a_class_without_a_usable_image_is_named(tmp_path, caplog):
    for name in ("ant", "bee", "cat"):
        (tmp_path / name).mkdir()
        folder_of(tmp_path / name, good=3)
    for number in range(3):
        (tmp_path / "bee" / f"{number}.jpg").write_bytes(b"no image")
    (tmp_path / "cat" / "0.jpg").write_bytes(b"no image")
    source = sources.open_source(config.Data(image_dir=str(tmp_path), eval_fraction=0.0))
    with recording.bad_images_reported(source.quarantine, source):
        collect(batches.mapped_batches(source, mean, 3))
    assert "no image of the class bee can be used" in caplog.text
    assert "class cat" not in caplog.text and "bee/0.jpg" in caplog.text


BAD = {
    "zero.jpg": b"",
    "text.png": b"this is a text file with another name",
    "cut.jpg": jpeg(3)[:900],
    "cut.png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x04\x00\x00\x00\x04",
    "header.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "cut.gif": b"GIF89a\x01\x00",
}


def test_bad_files_give_way_to_others_and_are_listed(images):
    root = folder_of(images, 6, BAD)
    source = opened(root)
    quarantine = images.parent / "quarantine.txt"
    source.quarantine.attach(str(quarantine))
    found = collect(batches.mapped_batches(source, mean, 4))
    assert len(found["id"]) == source.num_examples == 12
    np.testing.assert_array_equal(found["id"], np.arange(12))
    good = {i: float(m) for i, m in zip(found["id"], found["mean"])}
    names = [source.name_of(i) for i in range(12)]
    bad = [i for i, name in enumerate(names) if os.path.basename(name) in BAD]
    intact = {value for i, value in good.items() if i not in bad}
    assert all(good[i] in intact for i in bad)
    listed = dict(line.split("\t") for line in quarantine.read_text().splitlines())
    assert set(listed) == {names[i] for i in bad} and len(source.quarantine) == len(bad)
    assert listed[str(root / "zero.jpg")] == "empty file"
    assert listed[str(root / "cut.jpg")].startswith("cannot be decoded: ")
    assert "could not be used" in source.quarantine.summary()


def test_wrong_names_of_good_images_are_no_trouble(images):
    png = tf.io.encode_png(np.ones((4, 4, 3), "uint8")).numpy()
    root = folder_of(images, 2, {"really a png.jpg": png})
    source = opened(root)
    collect(batches.mapped_batches(source, mean, 2))
    assert len(source.quarantine) == 0 and source.quarantine.summary() == ""


@pytest.mark.one_stack
def test_stand_ins_are_a_function_of_the_seed_and_survive_a_resume(images):
    root = folder_of(images, 7, {"a.jpg": b"", "b.jpg": b"no"})
    whole = collect(batches.mapped_batches(opened(root), mean, 4, seed=1).take(6))
    again = collect(batches.mapped_batches(opened(root), mean, 4, seed=1, start=12).take(3))
    np.testing.assert_array_equal(whole["id"][12:], again["id"])
    np.testing.assert_array_equal(whole["mean"][12:], again["mean"])
    batched = collect(batches.mapped_batches(opened(root), mean, 3, seed=1).take(8))
    np.testing.assert_array_equal(whole["mean"], batched["mean"])


def test_files_that_vanish_or_may_not_be_read(images):
    root = folder_of(images, 5)
    source = opened(root)
    os.remove(source.name_of(0))
    os.remove(source.name_of(1))
    os.mkdir(source.name_of(1))
    assert len(collect(batches.mapped_batches(source, mean, 2))["id"]) == 5
    reasons = [source.quarantine.reasons[source.name_of(i)] for i in (0, 1)]
    assert all(reason.startswith("cannot be read: ") for reason in reasons)


def test_larger_than_the_limit_is_told_from_the_header(images):
    root = folder_of(images, 3)
    names = ["big.bmp", "big.gif", "big.jpg", "big.png"]
    for name in names:
        Image.new("RGB", (100, 51)).save(images / name)
    source = opened(root, max_image_pixels=5000)
    collect(batches.mapped_batches(source, mean, 3))
    reasons = source.quarantine.reasons
    assert sorted(os.path.basename(name) for name in reasons) == names
    assert set(reasons.values()) == {"5100 pixels, more than --max_image_pixels=5000"}


def test_header_alone_tells_the_pixels():
    huge = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02"
    assert int(decoding.pixels(huge)) == 60000**2
    assert "3600000000 pixels" in diagnosis.why_unusable(huge, 10**8)


def test_strict_stops_with_the_path(images):
    source = opened(folder_of(images, 4, {"cut.jpg": jpeg(1)[:700]}), strict_data=True)
    with pytest.raises(tf.errors.OpError):
        collect(batches.mapped_batches(source, mean, 2))
    with pytest.raises(DataError, match="cut.jpg cannot be used .*--strict_data"):
        source.quarantine.check()


def test_only_bad_files_end_in_one_sentence(images):
    source = opened(folder_of(images, 0, {"a.jpg": b"", "b.jpg": b"no", "c.jpg": b"x"}))
    with pytest.raises(tf.errors.OpError):
        collect(batches.mapped_batches(source, mean, 2))
    with pytest.raises(
        DataError, match=r"[abc]\.jpg \(.*\) and all tried in its place cannot be used"
    ):
        source.quarantine.check()


def test_mistakes_of_the_program_are_not_blamed_on_images(images):
    def broken(example):
        return {"wrong": tf.ensure_shape(decoding.decode(example["image"])[:, :, :1], [1, 1, 1])}

    source = opened(folder_of(images, 3))
    with pytest.raises(tf.errors.OpError, match="can be decoded, but making its views failed"):
        collect(batches.mapped_batches(source, broken, 2))
    assert len(source.quarantine) == 0


def test_labels_come_with_the_stand_in(images):
    for name, value in (("ant", 0), ("bee", 100)):
        (images / name).mkdir()
        folder_of(images / name, 0, {f"{i}.jpg": jpeg(value) for i in range(3)})
    (images / "bee" / "bad.jpg").write_bytes(b"")

    def both(example):
        return {**mean(example), "label": example["label"]}

    found = collect(batches.mapped_batches(opened(images), both, 2))
    assert all((m > 80) == label for m, label in zip(found["mean"], found["label"]))


def test_list_of_an_earlier_part_of_the_run_is_kept(tmp_path):
    path = str(tmp_path / "quarantine.txt")
    first = Quarantine()
    first.attach(path)
    assert not os.path.exists(path)
    first.add("x.jpg", "empty file")
    second = Quarantine()
    second.attach(path)
    second.add("x.jpg", "empty file")
    second.add("y.jpg", "gone")
    assert open(path).read() == "x.jpg\tempty file\ny.jpg\tgone\n" and len(second) == 2


@pytest.mark.parametrize("batch_size, chunk", [(4096, 16), (96, 16), (15, 15), (17, 17), (34, 17)])
def test_chunks_divide_the_batch(batch_size, chunk):
    assert batches.chunk_size(batch_size) == chunk


@pytest.mark.slow
@pytest.mark.current_stack
def test_large_batches_are_joined_from_chunks_in_order(images):
    source = opened(folder_of(images, 5, {"bad.jpg": b""}))
    joined = batches.mapped_batches(source, mean, 48, seed=2)
    assert joined.element_spec["mean"].shape == [48]
    found = collect(joined.take(2))
    want = [int(one["id"]) for one in source.references(2).take(96)]
    np.testing.assert_array_equal(found["id"], want)


@pytest.mark.slow
@pytest.mark.one_stack
def test_hostile_names_keep_their_line_over_a_resume(images):
    """A line break in a name would split the line, and the list would change when it is read."""
    names = ["a\nb.jpg", "\x1b[2J.jpg", "=1+1.jpg", os.fsdecode(b"caf\xe9.jpg")]
    for name in names:
        (images / name).write_bytes(b"")
    folder_of(images, 3)
    path = images.parent / "quarantine.txt"
    for _ in range(2):
        source = opened(images)
        source.quarantine.attach(str(path))
        collect(batches.mapped_batches(source, mean, 4))
        assert len(source.quarantine) == 4
        text = path.read_text()
        assert len(text.splitlines()) == 4 and "\x1b" not in text
        assert "caf\\xe9.jpg\tempty file\n" in text
