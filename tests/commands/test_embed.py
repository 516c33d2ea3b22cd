"""`--mode=embed` from the command line: outputs, resuming after a kill, what it refuses."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.commands import embed as embedding
from simclr_tf.embedding import work
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs.files import read_json
from tests.tiny_run import images_in_folders, save_tiny_run

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def embed(**values):
    values = {"strategy": "default", **values}
    return embedding.run(config.build(config.Embed, values), frozenset(values))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    images_in_folders(folder, {"bars": 9, "dots": 8})
    (folder / "dots" / "bad.jpg").write_bytes(b"nothing")
    return str(folder)


def test_a_folder_gives_every_output_once(run_dir, photos, tmp_path, capsys):
    output = tmp_path / "out"
    values = {"checkpoint": run_dir, "image_dir": photos, "output": str(output)}
    results = embed(embed_head=True, **values)
    assert results["num_images"] == 17 and results["num_unusable"] == 1
    kept = "config.json duplicates.tsv embeddings.npz embeddings.parquet neighbours.png projector "
    assert sorted(os.listdir(output)) == (kept + "quarantine.txt results.json").split()
    with np.load(output / "embeddings.npz") as found:
        assert found["path"][0] == "bars/000.png" and len(found["path"]) == 17
        assert found["h"].shape == (17, 32) and found["z"].shape == (17, 8)
    assert "dots/bad.jpg\tcannot be decoded" in (output / "quarantine.txt").read_text()
    assert read_json(str(output / "results.json")) == results
    with pytest.raises(SettingsError, match="--embed_head=False .was True.*another --output"):
        embed(**values)
    capsys.readouterr()
    assert embed(embed_head=True, **values) == results
    assert "nothing left to do" in capsys.readouterr().out


@pytest.fixture
def few(tmp_path):
    """A folder of three images, one of which is none."""
    images_in_folders(tmp_path / "few", {"": 2})
    (tmp_path / "few" / "bad.png").write_bytes(b"nothing")
    return tmp_path / "few"


def repaint(path, colour=7):
    """Another image under the same name, with another time of modification."""
    Image.new("RGB", (24, 24), (colour,) * 3).save(path)
    os.utime(path, (1e9 + colour, 1e9 + colour))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


CHANGES = {
    "a table that was removed": lambda few, out: (out / "embeddings.npz").unlink(),
    "a table that was cut short": lambda few, out: truncate(out / "embeddings.npz"),
    "another table that was cut short": lambda few, out: truncate(out / "embeddings.parquet"),
    "a picture that was removed": lambda few, out: (out / "neighbours.png").unlink(),
    "an image that was mended": lambda few, out: repaint(few / "bad.png"),
    "an image that was replaced": lambda few, out: repaint(few / "000.png"),
}
ALWAYS = ("a table that was removed", "an image that was replaced")


@pytest.mark.one_stack
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.slow) for name in CHANGES],
)
def test_nothing_is_left_to_do_only_if_everything_is_there(run_dir, few, tmp_path, name, capsys):
    out = tmp_path / "out"
    values = {"checkpoint": run_dir, "image_dir": str(few), "output": str(out)}
    values["projector_images"] = 0
    embed(**values)
    embed(**values)
    assert "nothing left to do" in capsys.readouterr().out
    CHANGES[name](few, out)
    results = embed(**values)
    assert "embedding again: " in capsys.readouterr().out
    assert results["num_images"] == 3 - (name != "an image that was mended")
    with np.load(out / "embeddings.npz") as found:
        assert len(found["h"]) == results["num_images"]
    embed(**values)
    assert "nothing left to do" in capsys.readouterr().out


@pytest.mark.one_stack
def test_verify_looks_into_the_images(run_dir, few, tmp_path, capsys):
    values = {"checkpoint": run_dir, "image_dir": str(few), "output": str(tmp_path / "out")}
    values.update(projector_images=0, verify=True)
    embed(**values)
    embed(**values)
    assert "nothing left to do" in capsys.readouterr().out
    before = os.stat(few / "000.png")
    content = bytearray((few / "000.png").read_bytes())
    content[-20] ^= 1  # of the same size and time
    (few / "000.png").write_bytes(content)
    os.utime(few / "000.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    embed(**{**values, "verify": False})
    assert "nothing left to do" in capsys.readouterr().out
    embed(**values)
    assert "the contents of the images changed" in capsys.readouterr().out


@pytest.mark.one_stack
def test_no_image_at_all_is_no_embedding(run_dir, tmp_path, monkeypatch):
    images_in_folders(tmp_path / "gone", {"": 2})
    real = work._embed

    def vanish(job, parts):
        for path in (tmp_path / "gone").iterdir():
            path.unlink()
        return real(job, parts)

    monkeypatch.setattr(work, "_embed", vanish)
    values = {"checkpoint": run_dir, "image_dir": str(tmp_path / "gone")}
    with pytest.raises(DataError, match="none of 2 images could be used, so nothing was written"):
        embed(output=str(tmp_path / "out"), **values)
    assert not (tmp_path / "out" / "embeddings.npz").exists()
    images_in_folders(tmp_path / "gone", {"": 2})
    monkeypatch.setattr(work, "_embed", real)
    assert embed(output=str(tmp_path / "out"), **values)["num_images"] == 2


def test_one_file_and_a_split(run_dir, tmp_path):
    for name, split in (("e.parquet", "test"), ("e.npz", "train[:30]")):
        results = embed(checkpoint=run_dir, split=split, output=str(tmp_path / name))
    assert results["num_images"] == 30
    assert sorted(os.listdir(tmp_path)) == ["e.npz", "e.parquet"]
    with np.load(tmp_path / "e.npz") as found:
        assert found["path"][29] == "digits/train[:30]/29"
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "e.parquet").num_rows == 360


def test_what_is_refused_costs_no_work(run_dir, photos, tmp_path):
    values = {"checkpoint": run_dir, "output": str(tmp_path / "out")}
    with pytest.raises(DataError, match="does not exist"):
        embed(image_dir=photos + "/none", **values)
    with pytest.raises(DataError, match="has no split validation; it has test, train"):
        embed(split="validation", **values)
    assert embed(image_dir=photos, dry_run=True, **values) is None
    assert not os.listdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(SettingsError, match="is not empty.*as --output"):
        embed(image_dir=photos, **values)


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_killed_run_continues(run_dir, tmp_path):
    """SIGKILL after the first part; the same command then gives the bytes of a whole run."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(pictures / f"{i:05d}.png")
        for copy in range(1, 100):
            os.link(pictures / f"{i:05d}.png", pictures / f"{i + 40 * copy:05d}.png")
    command = [sys.executable, "-m", "simclr_tf", "--mode=embed", f"--checkpoint={run_dir}"]
    command += [f"--image_dir={pictures}", "--eval_batch_size=16", "--duplicate_similarity=0"]
    output = tmp_path / "cut"
    parts = output / "unfinished"

    def start(output):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        return subprocess.Popen(
            [*command, f"--output={output}"], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    killed = start(output)
    while not (parts / "000000.npz").exists():
        assert killed.poll() is None
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (output / "embeddings.npz").exists()
    made = [path.stat().st_mtime_ns for path in sorted(parts.glob("*.npz"))]
    assert 1 <= len(made) < 4
    again = start(output)
    printed, _ = again.communicate()
    assert again.returncode == 0 and f"continuing with image {1024 * len(made):,} of" in printed
    whole = start(tmp_path / "whole")
    whole.communicate()
    assert whole.returncode == 0
    for name in ("embeddings.npz", "embeddings.parquet", "projector/h.tsv", "neighbours.png"):
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
