"""What is made from embeddings: near-duplicates, the projector, the sheet of neighbours."""

import csv
import io
import json
import urllib.parse
import wsgiref.util

import numpy as np
import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.data import sources
from simclr_tf.embedding import duplicates, projector, sheet, stream
from simclr_tf.embedding.parts import Parts
from simclr_tf.evaluation.features import Extractor
from simclr_tf.stack import tf
from tests.tiny_run import images_in_folders


@pytest.mark.parametrize("threshold", [0.2, 0.7, 0.99])
def test_near_duplicates_are_all_pairs_above_the_threshold(threshold, monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    monkeypatch.setattr(duplicates, "_BANK_BLOCK", 10)
    rng = np.random.default_rng(0)
    h = rng.normal(size=(33, 5)).astype("float32")
    h[20] = 2 * h[3]
    h[30] = 0
    unit = np.float64(h) / np.maximum(np.linalg.norm(np.float64(h), axis=1, keepdims=True), 1e-9)
    cosine = unit @ unit.T
    want = [(i, j) for i in range(33) for j in range(i + 1, 33) if cosine[i, j] >= threshold]
    done = []
    found, first, second, total = duplicates.near_duplicates(h, threshold, progress=done.append)
    assert total == len(want) > 0 and done[-1] == 33
    assert sorted(zip(first.tolist(), second.tolist())) == want
    assert (first[0], second[0]) == (3, 20) and (np.diff(found) <= 0).all()
    np.testing.assert_allclose(found, cosine[first, second], atol=1e-5)
    few = duplicates.near_duplicates(h, threshold, most=2)
    assert few[3] == total and len(few[0]) == min(2, total)
    np.testing.assert_array_equal(few[0], found[:2])


def test_list_of_duplicates_survives_odd_names(tmp_path):
    path = str(tmp_path / "d.tsv")
    pairs = np.float32([1.0]), np.array([1]), np.array([0])
    duplicates.write_duplicates(path, pairs, ['a\t"b.png', "ü.png"])
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows == [["cosine", "path", "near_duplicate"], ["1.000000", "ü.png", 'a\\t"b.png']]


@pytest.fixture
def embedded(tmp_path):
    """(source, parts) of 20 images in two folders, h = the mean colour."""
    images_in_folders(tmp_path / "images", {"bars": 12, "dots": 8})
    source = sources.open_whole(config.Data(image_dir=str(tmp_path / "images")), "train")
    parts = Parts(str(tmp_path / "parts"), {"weights": "a"})

    def encoder(images, training):
        return {"h": tf.reduce_mean(images, [1, 2])}

    stream.embed(source, Extractor(encoder, 6), parts, 24, stream.Sprites.of(20, 10, 24))
    return source, parts


def test_tensorboard_reads_the_projector_folder(embedded, tmp_path):
    from tensorboard.backend.event_processing import data_provider
    from tensorboard.backend.event_processing import plugin_event_multiplexer as multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.projector import projector_plugin

    source, parts = embedded
    folder = str(tmp_path / "projector")
    assert projector.write_projector(folder, parts, source.names, source.class_names) == 10
    events = multiplexer.EventMultiplexer()
    provider = data_provider.MultiplexerDataProvider(events, folder)
    context = base_plugin.TBContext(logdir=folder, data_provider=provider, multiplexer=events)
    apps = projector_plugin.ProjectorPlugin(context).get_plugin_apps()

    def get(route, **query):
        status = []
        environ = {"PATH_INFO": route, "QUERY_STRING": urllib.parse.urlencode(query)}
        wsgiref.util.setup_testing_defaults(environ)
        body = b"".join(apps[route](environ, lambda code, headers: status.append(code)))
        assert status == ["200 OK"], body
        return body

    run = json.loads(get("/runs"))[0]
    settings = json.loads(get("/info", run=run))["embeddings"][0]
    assert settings["tensorShape"] == [10, 3]
    tensor = get("/tensor", run=run, name="h")
    want = np.concatenate([c["h"][np.isin(c["id"], c["sprite_id"])] for _, c in parts])
    np.testing.assert_allclose(np.frombuffer(tensor, "<f4").reshape(10, 3), want, rtol=1e-5)
    lines = get("/metadata", run=run, name="h").decode().splitlines()
    assert lines[0] == "path\tclass" and len(lines) == 11
    assert lines[1].endswith("bars/000.png\tbars") and lines[-1].endswith("dots/006.png\tdots")
    sprites = Image.open(io.BytesIO(get("/sprite_image", run=run, name="h")))
    assert sprites.size == (4 * 24, 4 * 24) and settings["sprite"]["singleImageDim"] == [24, 24]
    tile = np.asarray(sprites)[24:48, 24:48]  # the sixth picture
    sixth = np.asarray(Image.open(tmp_path / "images/bars/010.png"))
    assert np.abs(tile.astype(int) - sixth).max() <= 1


def test_the_sheet_shows_queries_and_their_neighbours(embedded, tmp_path):
    source, parts = embedded
    h = np.concatenate([columns["h"] for _, columns in parts])
    path = str(tmp_path / "neighbours.png")
    sheet.draw_neighbours(path, source, h, np.arange(20), [f"{i} ä.png" for i in range(20)])
    with Image.open(path) as image:
        pixels = np.asarray(image)
    line = sheet.SIDE + 2 * sheet.CAPTION + sheet.GAP
    column = sheet.SIDE + sheet.GAP
    assert pixels.shape == (10 * line + sheet.GAP, 9 * column + sheet.GAP, 3)
    tiles = np.float64([
        pixels[y + sheet.GAP :, x + sheet.GAP :][: sheet.SIDE, : sheet.SIDE].mean((0, 1)) / 255
        for y in range(0, 10 * line, line)
        for x in (0, column)
    ]).reshape(10, 2, 3)  # mean colour of query and nearest neighbour  # fmt: skip
    unit = tiles / np.linalg.norm(tiles, axis=2, keepdims=True)
    all_unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    best = [np.sort(all_unit @ all_unit[i])[-2] for i in np.linspace(0, 19, 10).astype(int)]
    np.testing.assert_allclose((unit[:, 0] * unit[:, 1]).sum(1), best, atol=0.02)
