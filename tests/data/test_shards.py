"""Shards: exact order, resume and shares, labels, what is damaged or hostile."""

import io
import itertools
import json
import os
import struct
import tarfile

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.data import order, sources
from simclr_tf.data.batches import mapped_batches
from simclr_tf.data.shards import index, opening, patterns, units
from simclr_tf.data.subset import subset
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.stack import tf
from tests import tiny_shards

COUNT = 61
OFFSET = {"tfrecord": 1, "parquet": 0, "tar": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("shards")
    tiny_shards.write_all(found, COUNT)
    return found


@pytest.fixture
def small_units(monkeypatch):
    """Units of a few images and windows of a few units, so that tiny shards have many of both."""
    cut = units.cut
    monkeypatch.setattr(units, "cut", lambda shards: cut(shards, 2500))
    monkeypatch.setattr(units.Windows.__init__, "__defaults__", (12_000,))


def data_of(folder, kind, **settings):
    named = {"shards": str(folder / tiny_shards.PATTERNS[kind]), "shard_label_offset": OFFSET[kind]}
    return config.Data(**{**named, "image_size": 12, **settings})


def taken(dataset, count=None):
    """[(id, label, epoch, encoded image)] of the first examples."""
    return [
        (int(one["id"]), int(one["label"]), int(one["epoch"]), one["image"].numpy())
        for one in itertools.islice(dataset, count)
    ]


@pytest.mark.parametrize("kind", sorted(tiny_shards.PATTERNS))
def test_the_stream_of_shards_is_exact_from_any_position_and_for_any_reader(kind, folder, small_units):  # fmt: skip
    source = sources.open_source(data_of(folder, kind), "train")
    n = source.num_examples
    assert source._windows.per_epoch > 2 and source._windows.units_per_window > 1
    whole = taken(source.stream(3), 3 * n)
    for epoch in range(3):
        part = whole[epoch * n : (epoch + 1) * n]
        assert sorted(one[0] for one in part) == list(range(n))
        assert {one[2] for one in part} == {epoch}
    assert [one[0] for one in whole[:n]] != [one[0] for one in whole[n : 2 * n]]
    for start in (1, n - 1, n, 2 * n - 3):
        assert taken(source.stream(3, start), 5) == whole[start : start + 5]
    share = order.Share(6, 1, 3, 1, start=12, stride=2)
    want = [whole[12 + 2 + k // 2 * 12 + k % 2] for k in range(12)]  # rows 2 and 3 of each second
    assert taken(source.stream(3, share), 12) == want
    assert taken(source.in_order()) == sorted((one[0], one[1], 0, one[3]) for one in whole[:n])


@pytest.mark.parametrize("kind", sorted(tiny_shards.PATTERNS))
def test_every_record_comes_with_its_own_image_and_label(kind, folder):
    source = sources.open_whole(data_of(folder, kind), "train")
    images = tiny_shards.drawn(COUNT)
    want = [images[n] for shard in range(4) for n in range(shard, COUNT, 4)]
    found = taken(source.in_order())
    assert [(one[3], one[1]) for one in found] == want
    image, label = source.fetch(tf.constant(17, tf.int64))
    assert (source.resolve(image).numpy(), int(label)) == want[17]
    assert sources.look(data_of(folder, kind), source).unusable == ()
    part = subset(source, np.array([4, 30, 60]))
    assert [(one[3], one[1]) for one in taken(part.in_order())] == [want[n] for n in (4, 30, 60)]
    assert part.names(1, 2) == source.names(30, 31)


def test_the_held_out_share_is_drawn_by_seed_and_balanced(folder):
    def ids(kind, which, **settings):
        source = sources.open_source(data_of(folder, kind, **settings), which)
        return {one[3] for one in taken(source.in_order())}, source.labels

    train, _ = ids("tar", "train")
    held_out, labels = ids("tar", "eval")
    assert len(train | held_out) == COUNT and not train & held_out
    assert np.bincount(labels).tolist() == [4, 4, 4]
    assert ids("tar", "eval", split_seed=1)[0] != held_out
    assert ids("tfrecord", "eval")[0] == held_out  # the same records in the same order
    settings = {"eval_shards": str(folder / "data-000.parquet")}
    assert len(ids("parquet", "eval", **settings)[0]) == 16
    assert len(ids("parquet", "train", **settings)[0]) == COUNT


def test_class_names_come_from_the_files(folder, tmp_path):
    assert sources.describe(data_of(folder, "parquet")).classes[0] == ("apple", 17)
    assert sources.describe(data_of(folder, "tar")).classes[0] == ("0", 17)
    images = tiny_shards.drawn(4)
    texts = [("a.jpg", images[0][0]), ("a.cls", b"dog"), ("b.jpg", images[1][0]), ("b.cls", b"cat")]
    tiny_shards.write_tar(tmp_path / "t.tar", texts)
    source = sources.open_whole(config.Data(shards=str(tmp_path / "t.tar")), "train")
    assert source.class_names == ("cat", "dog") and source.labels.tolist() == [1, 0]


def test_records_without_labels_train_and_hold_nothing_out(tmp_path):
    images = [one for one, _ in tiny_shards.drawn(8)]
    tiny_shards.write_tar(tmp_path / "t.tar", [(f"{n}.png", one) for n, one in enumerate(images)])
    info = sources.describe(config.Data(shards=str(tmp_path)))
    assert (info.num_train, info.num_eval, info.num_classes) == (8, 0, 0)
    with pytest.raises(DataError, match="has no image left to evaluate on"):
        sources.open_source(config.Data(shards=str(tmp_path)), "eval")


def test_the_index_is_kept_and_only_changed_shards_are_read_again(folder, tmp_path, monkeypatch):
    for name in ("train-00000-of-00004", "train-00001-of-00004"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    data = config.Data(shards=str(tmp_path / "train-*"), shard_index=str(tmp_path / "kept"))
    read = []
    real = index._index
    monkeypatch.setattr(index, "_index", lambda *args: read.append(args[0]) or real(*args))

    def described():
        index._built.clear()  # as in another process
        read.clear()
        return sources.describe(data), [os.path.basename(path) for path in sorted(read)]

    first, names = described()
    assert names == ["train-00000-of-00004", "train-00001-of-00004"]
    assert described() == (first, [])
    changed = tmp_path / "train-00001-of-00004"
    os.utime(changed, ns=(0, 1_000_000_000))
    assert described() == (first, ["train-00001-of-00004"])
    tiny_shards.write_records(changed, [tiny_shards.example(*tiny_shards.drawn(1)[0])])
    other, names = described()
    assert names == ["train-00001-of-00004"] and other.fingerprint != first.fingerprint
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    assert described()[0] == other


def test_a_damaged_record_gives_way_to_another_and_is_listed(folder, tmp_path):
    path = tmp_path / "train-00000-of-00001"
    content = bytearray((folder / "train-00000-of-00004").read_bytes())
    content[600] ^= 1  # in the first image
    path.write_bytes(content)
    source = sources.open_whole(config.Data(shards=str(path)), "train")
    batches = mapped_batches(source, lambda one: {"image": one["image"], "id": one["id"]}, 16)
    (batch,) = list(batches)
    assert batch["id"].numpy().tolist() == list(range(16))
    reasons = source.quarantine.reasons
    assert list(reasons) == [f"{path} record 0"] and "damaged: corrupted record" in reasons[f"{path} record 0"]  # fmt: skip
    assert batch["image"][0].numpy() in batch["image"].numpy()[1:].tolist()


def test_a_row_without_bytes_is_listed_and_its_path_is_not_followed(tmp_path):
    secret = tmp_path / "0.jpg"
    secret.write_bytes(tiny_shards.drawn(1)[0][0])
    images = [None, *(one for one, _ in tiny_shards.drawn(7))]
    tiny_shards.write_parquet(tmp_path / "d.parquet", images, [0, None, *range(6)])
    source = sources.open_whole(config.Data(shards=str(tmp_path / "d.parquet")), "train")
    assert source.labels.tolist() == [0, -1, *range(6)]
    found = sources.look(config.Data(shards=str(tmp_path / "d.parquet")), source)
    assert [name for name, _ in found.unusable] == [f"{tmp_path}/d.parquet record 0"]
    source.report(0, b"")
    assert "a path alone is not followed" in next(iter(source.quarantine.reasons.values()))


def header(length):
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", opening.masked_crc(packed))


def cut_short(content):
    return content[:-5]


def claims_too_much(content):
    return content + header(2**63)


def other_checksum(content):
    return content + header(10)[:8] + b"\0\0\0\0" + bytes(14)


def compressed(content):
    import gzip

    return gzip.compress(content)


@pytest.mark.parametrize(
    "change, words",
    [
        (cut_short, "is cut short after 15 records"),
        (claims_too_much, "is cut short after 16 records"),
        (other_checksum, "is damaged after 16 records"),
        (compressed, "is compressed as a whole"),
        (lambda content: b"hello, world", "is no TFRecord, Parquet or tar file"),
        (lambda content: header(3) + b"abc" + bytes(4), "is no tf.train.Example"),
        (lambda content: b"PAR1" + content, "is a damaged Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_by_offset_is_one_sentence(change, words, folder, tmp_path):
    path = tmp_path / "train-00000-of-00001"
    path.write_bytes(change((folder / "train-00000-of-00004").read_bytes()))
    with pytest.raises(DataError, match=words):
        sources.describe(config.Data(shards=str(path)))


@pytest.mark.one_stack
def test_tar_members_that_are_no_regular_files_do_not_count(tmp_path):
    image = tiny_shards.drawn(1)[0][0]
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name, kind, target in (
            ("a.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            ("b.jpg", tarfile.LNKTYPE, "../../secret.jpg"),
            ("c.jpg", tarfile.FIFOTYPE, ""),
            ("d.jpg", tarfile.DIRTYPE, ""),
        ):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, target
            archive.addfile(about)
        for name in ("/etc/../etc/evil\x1b[2J.jpg", "x" * 300 + ".jpg"):
            about = tarfile.TarInfo(name)
            about.size = len(image)
            archive.addfile(about, io.BytesIO(image))
    source = sources.open_whole(config.Data(shards=str(tmp_path / "t.tar")), "train")
    assert source.num_examples == 2
    assert source.name_of(0).endswith("record 0 (evil\\x1b[2J.jpg)")
    assert [one[3] for one in taken(source.in_order())] == [image, image]


@pytest.mark.one_stack
def test_a_claimed_name_of_a_gigabyte_is_not_read(tmp_path, monkeypatch):
    about = tarfile.TarInfo("././@LongLink")
    about.type, about.size = tarfile.GNUTYPE_LONGNAME, 2**30
    path = tmp_path / "t.tar"
    with open(path, "wb") as file:
        file.write(about.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**30 + 2048)  # sparse on the disk
    with pytest.raises(DataError, match="is a damaged tar file"):
        sources.describe(config.Data(shards=str(path)))


@pytest.mark.one_stack
@pytest.mark.parametrize("kind", sorted(tiny_shards.PATTERNS))
def test_no_damage_does_more_than_raise_a_sentence(kind, folder, tmp_path):
    name = sorted(folder.glob(tiny_shards.PATTERNS[kind].replace("{000..003}", "*")))[0]
    whole = name.read_bytes()
    rng = np.random.default_rng(1)
    used = 0
    for number in range(40):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(0, len(content))] = rng.integers(0, 256)
        content = content[: rng.integers(1, len(content))] if number % 4 == 0 else content
        path = tmp_path / f"{number}-{name.name}"
        path.write_bytes(content)
        try:
            source = sources.open_whole(config.Data(shards=str(path)), "train")
            used += len([source._read_ids(np.array([n])) for n in range(source.num_examples)])
        except DataError as error:
            assert str(error).count("\n") == 0
    assert used > 100


@pytest.mark.one_stack
def test_patterns_have_braces_globs_commas_and_folders(folder, tmp_path):
    found = patterns.shard_paths(f"{folder}/set-{{000,003}}.tar,{folder}/data-00[01].parquet")
    names = [os.path.basename(path) for path in found]
    assert names == ["data-000.parquet", "data-001.parquet", "set-000.tar", "set-003.tar"]
    assert len(patterns.shard_paths(str(folder))) == 12
    with pytest.raises(DataError, match="is a folder without shards"):
        patterns.shard_paths(str(tmp_path))
    with pytest.raises(DataError, match="names no file"):
        patterns.shard_paths(f"{folder}/set-{{000..004}}.tar")


@pytest.mark.one_stack
def test_braces_are_written_out():
    assert list(patterns.braces_expanded("a{08..11}b")) == ["a08b", "a09b", "a10b", "a11b"]
    assert list(patterns.braces_expanded("{a,b{1..2}}-{x,y}")) == ["a-x", "a-y", "b1-x", "b1-y", "b2-x", "b2-y"]  # fmt: skip
    assert patterns.split_patterns("a{1,2}, b") == ["a{1,2}", "b"]
    for text in ("a{1..2", "a}1{"):
        with pytest.raises(DataError, match="a brace without its partner"):
            patterns.split_patterns(text)
    with pytest.raises(DataError, match="more than 1,000,000 files"):
        patterns.shard_paths("a{0..99999999}")


def test_shards_on_another_file_system_are_read(folder):
    tf.io.gfile.makedirs("ram://remote-shards")
    for kind, name in (("tar", "set-000.tar"), ("parquet", "data-000.parquet"), ("tfrecord", "train-00000-of-00004")):  # fmt: skip
        place = f"ram://remote-shards/{name}"
        with tf.io.gfile.GFile(place, "wb") as file:
            file.write((folder / name).read_bytes())
        data = config.Data(shards=place, shard_label_offset=OFFSET[kind])
        found = taken(sources.open_whole(data, "train").in_order())
        assert [one[3] for one in found] == [one for one, _ in tiny_shards.drawn(COUNT)[::4]]


def test_settings_that_do_not_fit_are_one_sentence(folder):
    for settings, words in (
        ({"image_dir": "x"}, "both shards=.* and image_dir=x are given"),
        ({"dataset": "cifar10"}, "both shards=.* and dataset=cifar10 are given"),
    ):
        with pytest.raises(SettingsError, match=words):
            data_of(folder, "tar", **settings)
    with pytest.raises(SettingsError, match="without shards"):
        config.Data(eval_shards="x")
    with pytest.raises(SettingsError, match="shards have no splits with names"):
        sources.describe(data_of(folder, "tar", eval_split="test"))
    with pytest.raises(DataError, match="give shards of one format"):
        sources.describe(config.Data(shards=str(folder)))
    with pytest.raises(DataError, match="no key shard_label_key=color"):
        sources.describe(data_of(folder, "tfrecord", shard_label_key="color"))


def test_a_label_that_no_classifier_could_have_is_refused(tmp_path):
    images = [one for one, _ in tiny_shards.drawn(2)]
    tiny_shards.write_records(tmp_path / "a.tfrecord", [tiny_shards.example(images[0], 2**40)])
    with pytest.raises(DataError, match="have the label 1,099,511,627,777"):
        sources.describe(config.Data(shards=str(tmp_path / "a.tfrecord")))


@pytest.mark.current_stack
@pytest.mark.slow
def test_a_training_on_shards_is_measured_embedded_and_resumed(folder, tmp_path):
    import simclr_tf

    tiny = {"resnet_depth": 10, "width_multiplier": 0.0625, "image_size": 12, "proj_out_dim": 8}
    tiny = {**tiny, "train_batch_size": 8, "strategy": "default", "warmup_epochs": 0.0}
    shards = str(folder / tiny_shards.PATTERNS["parquet"])
    whole = simclr_tf.pretrain(shards=shards, model_dir=tmp_path / "run", train_steps=4, **tiny)
    assert whole.results["num_train"] == 49
    found = simclr_tf.linear_eval(tmp_path / "run", linear_form="fast", few_shot_draws=1)
    assert (found["num_train"], found["num_eval"], found["num_classes"]) == (49, 12, 3)
    embedded = simclr_tf.embed(tmp_path / "run", output=tmp_path / "embedded")
    assert embedded["num_images"] == COUNT
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["shards"] == shards  # fmt: skip
    assert len(list((tmp_path / "shard_index").iterdir())) == 1
