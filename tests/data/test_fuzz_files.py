"""Bytes flipped at random in everything that a run leaves or reads.

Either the figures are those of the intact file, or one sentence says which file is damaged; what
was there before is still there.
"""

import os
import random
import re
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from simclr_tf.__main__ import main
from tests.data.test_sources import TinyShards
from tests.tiny_run import images_in_folders, save_tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.one_stack]
IMAGES = 40  # of each format
FLIPS = {
    "config.json": 12,
    "checkpoints/ckpt-7.index": 8,
    "checkpoints/ckpt-7.data-00000-of-00001": 8,
    "checkpoints/checkpoint": 4,
}


def flip(path, rng):
    """Changes one bit of a file, beyond its first two bytes, which tell the format."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(2, len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def files_of(folder):
    """{path: content} of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def embed(capsys, output, *arguments):
    """(exit code, what was said, h or None) of an embedding."""
    command = ["--mode=embed", f"--output={output}", "--strategy=default", *arguments]
    code = main(command)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    sentences = re.findall(r"^simclr_tf: .*", said, re.M)
    assert len(sentences) == (code != 0), said
    if code:
        assert not os.path.exists(output), sentences
        return code, sentences[0], None
    with np.load(output) as found:
        return code, "", found["h"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run, a few photographs, and what a run makes of them."""
    folder = tmp_path_factory.mktemp("fuzz")
    save_tiny_run(folder)
    images_in_folders(folder / "few", {"": 3})
    return folder


@pytest.fixture(scope="module")
def intact(place):
    arguments = [f"--checkpoint={place / 'run'}", f"--image_dir={place / 'few'}"]
    output = place / "intact.npz"
    assert main(["--mode=embed", f"--output={output}", "--strategy=default", *arguments]) == 0
    with np.load(output) as found:
        return found["h"]


@pytest.mark.parametrize("name", FLIPS)
def test_damaged_runs_are_refused_or_the_same(name, place, intact, tmp_path, capsys):
    rng = random.Random(name)
    refused = 0
    for number in range(FLIPS[name]):
        run = tmp_path / f"run{number}"
        shutil.copytree(place / "run", run)
        flip(run / name, rng)
        before = files_of(run)
        arguments = [f"--checkpoint={run}", f"--image_dir={place / 'few'}"]
        code, said, h = embed(capsys, tmp_path / f"{number}.npz", *arguments)
        assert code in (0, 2, 3) and files_of(run) == before, said
        refused += code != 0
        if code == 0:
            np.testing.assert_array_equal(h, intact)
    # without the name of the newest checkpoint it is found by its step
    assert bool(refused) == (name != "checkpoints/checkpoint")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(a finished pretraining, the command that made it)."""
    run = tmp_path_factory.mktemp("finished") / "run"
    command = """--mode=pretrain --preset=none --dataset=digits --image_size=16 --strategy=default
        --encoder=tests.tiny_encoder:encoder --operators= --train_batch_size=32 --warmup_epochs=0
        --train_steps=2 --checkpoint_steps=1 --log_steps=1""".split()
    assert main([*command, f"--model_dir={run}"]) == 0
    return run, command


@pytest.mark.parametrize(
    "name", ["config.json", "results.json", *(f"checkpoints/{part}" for part in (
        "checkpoint", "ckpt-2.index", "ckpt-2.data-00000-of-00001"
    ))]
)  # fmt: skip
def test_damaged_runs_are_not_trained_over(name, finished, tmp_path, capsys):
    rng = random.Random(name)
    for number in range(3):
        run = tmp_path / f"run{number}"
        shutil.copytree(finished[0], run)
        flip(run / name, rng)
        before = files_of(run)
        code = main([*finished[1], f"--model_dir={run}"])
        said = capsys.readouterr().err
        assert code in (0, 2, 3) and "Traceback" not in said
        assert len(re.findall(r"^simclr_tf: .*", said, re.M)) == (code != 0), said
        after = files_of(run)
        kept = [path for path in before if path.name not in ("config.json", "checkpoint")]
        assert [path.name for path in kept if after[path] != before[path]] == []


def test_damaged_images_are_used_or_listed(place, tmp_path, capsys):
    """A flipped bit of a pixel passes unseen; what cannot be decoded is named."""
    rng = random.Random(1)
    images_in_folders(tmp_path / "drawn", {"": IMAGES}, side=20)
    folder = tmp_path / "flipped"
    folder.mkdir()
    for path in sorted((tmp_path / "drawn").iterdir()):
        for suffix in (".jpg", ".png"):
            target = folder / (path.stem + suffix)
            Image.open(path).save(target)
            flip(target, rng)
    output = tmp_path / "e.npz"
    code, _, h = embed(capsys, output, f"--checkpoint={place / 'run'}", f"--image_dir={folder}")
    assert code == 0 and np.all(np.isfinite(h))
    listed = (tmp_path / "e.npz.quarantine.txt").read_text().splitlines()
    assert len(listed) > IMAGES / 4  # a PNG has checksums
    with np.load(output) as found:
        names = set(found["path"]) | {line.split("\t")[0] for line in listed}
    assert len(h) + len(listed) == 2 * IMAGES == len(names)


def test_damaged_records_are_refused(place, tmp_path, capsys):
    data = tmp_path / "data"
    TinyShards(data_dir=str(data)).download_and_prepare(
        download_config=tfds.download.DownloadConfig(num_shards=1)
    )
    arguments = [f"--checkpoint={place / 'run'}", "--dataset=tiny_shards", f"--data_dir={data}"]
    code, said, intact = embed(capsys, tmp_path / "intact.npz", *arguments, "--split=train")
    assert code == 0, said
    (record,) = data.rglob("*train*.tfrecord*")
    whole = record.read_bytes()
    rng = random.Random(2)
    refused = 0
    for number in range(8):
        record.write_bytes(whole)
        flip(record, rng)
        output = tmp_path / f"{number}.npz"
        code, said, h = embed(capsys, output, *arguments, "--split=train")
        assert code in (0, 3), said
        refused += code == 3
        if code == 0:
            np.testing.assert_array_equal(h, intact)
    assert refused
