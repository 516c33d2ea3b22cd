"""`--mode=search`: nearest images of folders and embeddings, and an index that stays true."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

import simclr_tf
from simclr_tf import config
from simclr_tf.commands import embed as embedding
from simclr_tf.commands import search as searching
from simclr_tf.data import memory
from simclr_tf.embedding import stored, stream
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs import restore
from simclr_tf.selftest import encoder
from tests.tiny_run import images_in_folders, save_tiny_run

SMALL = {"encoder": encoder.NAME, "num_proj_layers": 1}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("tiny"), **SMALL)


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """Every command of this file gets the same encoder of a run, which takes a second to build."""
    built = {}
    load = restore.load_trained

    def load_once(checkpoint, *rest, **named):
        if checkpoint not in built:
            built[checkpoint] = load(checkpoint, *rest, **named)
        return built[checkpoint]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore, "load_trained", load_once)
        yield


@pytest.fixture(scope="module")
def model(run_dir):
    return simclr_tf.load(run_dir, trust_code=True)


@pytest.fixture
def photos(tmp_path):
    images_in_folders(tmp_path / "photos", {"bars": 4, "dots": 3})
    (tmp_path / "photos" / "dots" / "bad.jpg").write_bytes(b"nothing")
    return tmp_path / "photos"


def search(**values):
    values = {"strategy": "default", "trust_code": True, **{name: str(v) if isinstance(v, os.PathLike) else v for name, v in values.items()}}  # fmt: skip
    return searching.run(config.build(config.Search, values), frozenset(values))


def embed(run_dir, photos, output, **values):
    values = {"checkpoint": run_dir, "image_dir": str(photos), "output": str(output), "strategy": "default", "trust_code": True, **values}  # fmt: skip
    return embedding.run(config.build(config.Embed, values), frozenset(values))


def repaint(path, colour=7):
    Image.new("RGB", (24, 24), (colour, 250, 0)).save(path)
    os.utime(path, (1e9 + colour, 1e9 + colour))


def expected(model, query, paths):
    """Paths from most to least similar, in plain NumPy."""
    h = np.float64(model.embed([str(query), *map(str, paths)]))
    h /= np.linalg.norm(h, axis=1, keepdims=True)
    return [str(paths[at]) for at in np.argsort(-(h[1:] @ h[0]), kind="stable")]


@pytest.mark.current_stack
def test_the_nearest_images_of_a_folder_and_an_index_that_stays_true(run_dir, model, photos, tmp_path, capsys):  # fmt: skip
    query = tmp_path / "a, query.png"
    repaint(query, 90)
    files = sorted(photos.rglob("*.png"))
    values = {"checkpoint": run_dir, "image_dir": photos, "output": tmp_path / "out", "nearest": 3}
    first = search(query=f"{query},{files[0]}", **values)
    outside, inside = first["queries"]
    assert outside["query"] == str(query)
    assert [one["path"] for one in outside["nearest"]] == expected(model, query, files)[:3]
    assert [one["path"] for one in inside["nearest"]] == expected(model, files[0], files)[1:4]
    assert (first["num_images"], first["num_embedded"], first["num_unusable"]) == (7, 7, 1)
    assert "bad.jpg\tcannot be decoded" in (tmp_path / "out" / "quarantine.txt").read_text()
    with open(first["table"], newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["query", "rank", "cosine", "path"] and len(rows) == 7
    assert (
        json.loads((tmp_path / "out" / "nearest.json").read_text())["queries"] == first["queries"]
    )
    with Image.open(first["sheet"]) as sheet:
        assert sheet.size == (4 * 100 + 4, 2 * 128 + 4)
    kept = [
        "index.npz",
        "lock.json",
        "nearest.csv",
        "nearest.json",
        "nearest.png",
        "quarantine.txt",
    ]
    assert set(os.listdir(tmp_path / "out")) <= set(kept)

    before = os.stat(tmp_path / "out" / "index.npz").st_mtime_ns
    again = search(query=query, **values)
    assert again["num_embedded"] == 0
    for one, same in zip(again["queries"][0]["nearest"], outside["nearest"]):
        assert one["path"] == same["path"]
        assert one["cosine"] == pytest.approx(same["cosine"], abs=1e-5)  # one query or two at once
    assert os.stat(tmp_path / "out" / "index.npz").st_mtime_ns == before

    files[1].unlink()
    repaint(files[2])
    repaint(photos / "new.png", 91)
    repaint(photos / "dots" / "bad.jpg", 8)
    changed = search(query=query, **values)
    files = sorted([*photos.rglob("*.png"), photos / "dots" / "bad.jpg"])
    assert (changed["num_images"], changed["num_embedded"], changed["num_unusable"]) == (8, 3, 0)
    found = [one["path"] for one in changed["queries"][0]["nearest"]]
    assert found == expected(model, query, files)[:3]
    assert not (tmp_path / "out" / "quarantine.txt").exists()

    other = save_tiny_run(tmp_path, seed=3, **SMALL)
    capsys.readouterr()
    assert search(query=query, **{**values, "checkpoint": other})["num_embedded"] == 8
    assert "was made with other weights: making a new index" in capsys.readouterr().out


@pytest.mark.one_stack
@pytest.mark.slow
def test_an_interrupted_index_goes_on(run_dir, model, photos, tmp_path, monkeypatch):
    values = {"checkpoint": run_dir, "image_dir": photos, "output": tmp_path / "out"}
    values.update(query=photos / "bars" / "000.png", eval_batch_size=2)
    monkeypatch.setattr(stream, "PART_ROWS", 2)
    real = stream._add

    def stop(parts, *rest):
        real(parts, *rest)
        if parts.count == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(stream, "_add", stop)
    with pytest.raises(KeyboardInterrupt):
        search(**values)
    monkeypatch.setattr(stream, "_add", real)
    embedded = []
    each = stream.Sprites.of_batch
    monkeypatch.setattr(stream.Sprites, "of_batch", lambda *given: embedded.extend(given[1]) or each(*given))  # fmt: skip
    whole = search(**values)
    assert whole["num_images"] == 7 and len(embedded) == 3
    files = sorted(photos.rglob("*.png"))
    assert [one["path"] for one in whole["queries"][0]["nearest"]] == expected(model, files[0], files)[1:]  # fmt: skip


@pytest.mark.one_stack
@pytest.mark.slow
def test_embeddings_are_searched_alone_and_reused(run_dir, model, photos, tmp_path, capsys):
    embed(run_dir, photos, tmp_path / "embedded")
    query = photos / "bars" / "000.png"
    values = {"checkpoint": run_dir, "query": query, "output": tmp_path / "out"}
    files = sorted(photos.rglob("*.png"))
    want = expected(model, query, files)[1:]
    found = search(embeddings=tmp_path / "embedded", **values)
    assert [one["path"] for one in found["queries"][0]["nearest"]] == want
    found = search(embeddings=tmp_path / "embedded" / "embeddings.parquet", **values)
    below = [os.path.relpath(path, photos) for path in expected(model, query, files)]
    assert [one["path"] for one in found["queries"][0]["nearest"]] == below
    assert "does not say which weights made it" in capsys.readouterr().out
    assert not (tmp_path / "out" / "index.npz").exists()
    repaint(files[3])
    both = search(embeddings=tmp_path / "embedded", image_dir=photos, **values)
    assert (both["num_images"], both["num_embedded"]) == (7, 1)
    assert [one["path"] for one in both["queries"][0]["nearest"]] == expected(model, query, files)[1:]  # fmt: skip
    other = save_tiny_run(tmp_path, seed=3, **SMALL)
    for dry_run in (True, False):
        with pytest.raises(SettingsError, match="made with other weights than"):
            search(embeddings=tmp_path / "embedded", **{**values, "checkpoint": other}, dry_run=dry_run)  # fmt: skip


def damage(path):
    content = bytearray(path.read_bytes())
    content[-200:] = b"x" * 200
    path.write_bytes(content)


@pytest.mark.current_stack
def test_what_cannot_be_used_is_said_in_one_sentence(run_dir, model, photos, tmp_path, monkeypatch):
    query = photos / "bars" / "000.png"
    values = {"checkpoint": run_dir, "image_dir": photos, "output": tmp_path / "out"}
    with pytest.raises(DataError, match="query=.*gone.png is no image file"):
        search(query=f"{query},{photos}/gone.png", **values)
    with pytest.raises(DataError, match="query=.*bad.jpg cannot be used .*decoded"):
        search(query=photos / "dots" / "bad.jpg", **values)
    assert not (tmp_path / "out").exists()  # before any other work
    with pytest.raises(SettingsError, match="another command"):
        search(query=query, **{**values, "output": run_dir})
    search(query=query, **values)
    damage(tmp_path / "out" / "index.npz")
    with pytest.raises(DataError, match="index.npz is damaged .*remove it and embed"):
        search(query=query, **values)
    with pytest.raises(SettingsError, match="needs images: give --image_dir"):
        search(checkpoint=run_dir, query=query, output=tmp_path / "out")


def test_the_library_searches_arrays_folders_and_embeddings(
    run_dir, model, photos, tmp_path, monkeypatch
):
    files = sorted(map(str, photos.rglob("*.png")))
    found = model.search(files[2], str(photos), output=tmp_path / "a", quiet=True, strategy="default")  # fmt: skip
    want = [one["path"] for one in found["queries"][0]["nearest"]]
    assert want == expected(model, files[2], files)[1:]
    images = [np.asarray(Image.open(path)) for path in files]
    arrays = simclr_tf.search(model, images[:2], images, nearest=2, output=tmp_path / "b", quiet=True, strategy="default")  # fmt: skip
    assert [one["nearest"][0]["path"] for one in arrays["queries"]] == ["0", "1"]
    assert arrays["queries"][0]["nearest"][0]["cosine"] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.current_stack
def test_an_index_is_of_one_folder(run_dir, model, tmp_path, capsys):
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        for name in ("x.bmp", "y.bmp"):  # names, sizes and times are the same
            repaint(tmp_path / folder / name, 40 * number + ord(name[0]))
            os.utime(tmp_path / folder / name, (1e9, 1e9))
    values = {"checkpoint": run_dir, "output": tmp_path / "out", "query": tmp_path / "a" / "x.bmp"}
    assert search(image_dir=tmp_path / "a", **values)["num_embedded"] == 2
    found = search(image_dir=tmp_path / "b", **values)
    files = sorted((tmp_path / "b").iterdir())
    assert found["num_embedded"] == 2 and "is of the images of" in capsys.readouterr().out
    assert [one["path"] for one in found["queries"][0]["nearest"]] == expected(model, values["query"], files)  # fmt: skip
    before = (tmp_path / "out" / "index.npz").read_bytes()
    images = np.zeros((2, 16, 16, 3), np.uint8)
    simclr_tf.search(model, images[:1], images, output=tmp_path / "out", quiet=True, strategy="default")  # fmt: skip
    assert (tmp_path / "out" / "index.npz").read_bytes() == before


@pytest.mark.slow
def test_a_name_that_is_not_utf_8_is_known_again(run_dir, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    odd = os.fsdecode(os.fsencode(photos) + b"/caf\xe9.png")
    for colour, path in enumerate((odd, photos / "plain.png")):
        repaint(path, 20 * colour)
    values = {"checkpoint": run_dir, "output": tmp_path / "out", "image_dir": photos, "query": odd}
    assert search(**values)["num_embedded"] == 2
    found = search(**values)
    assert found["num_embedded"] == 0
    assert [one["path"] for one in found["queries"][0]["nearest"]] == [str(photos / "plain.png")]
    assert "searched 2 images, 0 of them embedded now" in capsys.readouterr().out
    repaint(odd, 60)
    assert search(**values)["num_embedded"] == 1


@pytest.mark.one_stack
def test_a_query_in_an_object_store_is_not_its_own_neighbour():
    h = np.eye(3, 2, dtype=np.float32)
    rows = stored.Stored("e.npz", np.array(["a.png", "b.png", "c.png"]), h, made={"image_dir": "gs://b/photos"})  # fmt: skip
    queries = memory.MemoryImages(["gs://b/photos/a.png"], np.array([-1], np.int32), ())
    made = config.build(config.Search, {"nearest": 2})
    (found,) = searching._search(made, h[:1], queries, rows, None)
    assert found.paths == ["gs://b/photos/b.png", "gs://b/photos/c.png"]


@pytest.mark.one_stack
def test_queries_are_read_as_the_images_of_the_embeddings(photos):
    queries = memory.as_images([str(photos / "bars" / "000.png")])
    given = config.build(config.Search, {"value_range": "0,255"})
    h = np.zeros((1, 2), np.float32)
    for text, want in (("(0.0, 4095.0)", (0, 4095)), ("None", None)):
        made = {"value_range": text, "converts_profiles": "False"}
        rows = stored.Stored("e.npz", np.array(["a"]), h, made=made)
        source = searching._query_source(given, queries, None, rows)
        assert source.value_range == want and not source.converts_profiles
    plain = searching._query_source(given, queries, None, stored.Stored("e.npz", np.array(["a"]), h))  # fmt: skip
    assert plain.value_range == (0, 255)


def test_a_comma_in_a_name_separates_nothing(tmp_path, monkeypatch):
    for name in ("a", "a,b", "lr=0.1", "c, d"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert config.places_in("a,b") == ["a,b"] and config.places_in("a,a") == ["a", "a"]
    assert config.places_in("x,a,b,gs://c,y") == ["x", "a,b", "gs://c", "y"]
    assert config.places_in("a, c, d") == ["a", "c, d"]
    runs = "one=a,b,lr=0.1,c, d"
    assert config.folders_in(runs) == ["one=a,b", "lr=0.1", "c, d"]
    assert config.folders_in("dtd, mnist,x=a,y=a,b") == ["dtd", "mnist", "x=a", "y=a,b"]
    from simclr_tf.commands.compare import named_runs
    from simclr_tf.config.evaluation import CompareSettings

    assert CompareSettings(runs=runs).runs == runs
    assert named_runs(runs) == {"one": "a,b", "lr=0.1": "lr=0.1", "c, d": "c, d"}
    remote = "gs://b/lr=0.1,best=gs://b/lr=0.2"
    assert named_runs(remote) == {"lr=0.1": "gs://b/lr=0.1", "best": "gs://b/lr=0.2"}
    assert CompareSettings(runs=remote).runs == remote
    with pytest.raises(SettingsError, match="names one run"):
        CompareSettings(runs="a,b")
