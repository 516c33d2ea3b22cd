"""Formats that Pillow reads: upright sRGB, several at once, told by their first bytes."""

import concurrent.futures
import io
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from simclr_tf import config
from simclr_tf.data import avif, batches, decoding, diagnosis, formats, pillow, sources, stacks
from simclr_tf.errors import DataError
from simclr_tf.stack import tf
from tests.data.test_decoding import TOLERANCE, decoded, encoded, over_white, picture
from tests.data.test_folder import folder

DEEP = (np.arange(37 * 51).reshape(37, 51) * 34).astype(np.uint16)
WITH_EXIF = ("WEBP", "TIFF", "AVIF")


def has(feature):
    return not formats.why_missing(feature)


def tiff(values, order="<", planar=1, tags=()):
    """An uncompressed TIFF of [h, w, c], written from the specification."""
    height, width, channels = values.shape
    if planar == 2:
        values = values.transpose(2, 0, 1)
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    planes = channels if planar == 2 else 1
    found = {256: width, 257: height, 258: values.dtype.itemsize * 8, 259: 1, 262: 1, 277: channels}
    found.update({278: height, 284: planar, **dict(tags)})
    size = 8 + 2 + 12 * (len(found) + 2) + 4
    pieces = 8 * planes if planes > 1 else 0
    starts = [size + pieces + i * (len(data) // planes) for i in range(planes)]
    lengths = [len(data) // planes] * planes
    found[273] = starts[0] if planes == 1 else size
    found[279] = lengths[0] if planes == 1 else size + 4 * planes
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(found))
    for tag, value in sorted(found.items()):
        content += struct.pack(order + "HHII", tag, 4, planes if tag in (273, 279) else 1, value)
    content += struct.pack(order + "I", 0)
    if planes > 1:
        content += struct.pack(f"{order}{2 * planes}I", *starts, *lengths)
    return content + data


def gamma_profile(primaries, gamma):
    """An ICC profile of three primaries (XYZ at D50) and a power law, written from ICC.1:2001."""
    fixed = lambda number: struct.pack(">i", round(number * 65536))  # noqa: E731
    xyz = lambda three: b"XYZ \0\0\0\0" + b"".join(fixed(one) for one in three)  # noqa: E731
    text = b"a test"
    parts = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 81}
    parts[b"cprt"] = b"text\0\0\0\0none\0\0\0\0"
    parts[b"wtpt"] = xyz((0.9642, 1.0, 0.8249))
    for name, three in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries):
        parts[name] = xyz(three)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        parts[name] = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    table = struct.pack(">I", len(parts))
    data = b""
    for name, part in parts.items():
        part += b"\0" * (-len(part) % 4)
        table += name + struct.pack(">II", 128 + 4 + 12 * len(parts) + len(data), len(part))
        data += part
    head = b"\0" * 8 + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + b"\0" * 12 + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    content = head.ljust(128, b"\0") + table + data
    return struct.pack(">I", len(content)) + content[4:]


ADOBE = np.array([[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]])  # fmt: skip
SRGB = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])  # fmt: skip


def from_adobe(image):
    """Adobe RGB (1998) -> sRGB by the definitions of both, D50."""
    linear = (np.asarray(image, float) / 255) ** (563 / 256)
    light = np.clip(linear @ ADOBE @ np.linalg.inv(SRGB), 0, 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(shown * 255)


@pytest.mark.parametrize(
    "kind, modes",
    [
        ("WEBP", ("RGB", "RGBA", "L")),
        ("TIFF", ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")),
        ("AVIF", ("RGB", "RGBA")),
        ("PPM", ("RGB", "L", "1")),
        ("JPEG2000", ("RGB", "RGBA", "L", "LA")),
    ],
)
def test_every_mode_of_a_format_is_what_pillow_reads(kind, modes):
    if kind == "AVIF" and not has("AVIF"):
        pytest.skip("this Pillow reads no AVIF; it needs 11.3")
    for mode in modes:
        data = encoded(picture(mode), kind)
        np.testing.assert_array_equal(decoded(data), over_white(Image.open(io.BytesIO(data))), mode)
        assert int(decoding.pixels(data)) == 11 * 14
        assert diagnosis.why_unusable(data, 154) is None
        assert diagnosis.why_unusable(data, 153) == "154 pixels, more than --max_image_pixels=153"


@pytest.mark.parametrize("kind", WITH_EXIF)
def test_orientations_become_upright(kind):
    if kind == "AVIF" and not has("AVIF"):
        pytest.skip("this Pillow reads no AVIF; it needs 11.3")
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = orientation
        places = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {}
        got = decoded(encoded(picture(), kind, exif=tags.tobytes(), **places)).astype(int)
        plain = encoded(picture(), "PNG", exif=tags.tobytes())
        want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(plain))).convert("RGB"))
        assert got.shape == want.shape and np.abs(got - want).max() <= 20, orientation


def test_heic_is_read_with_its_package_and_named_without(monkeypatch):
    without = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40
    assert formats.name_of(without) == "HEIC"
    with monkeypatch.context() as patch:
        formats.why_missing.cache_clear()
        patch.setattr(formats, "_has", lambda feature: False)
        reason = diagnosis.why_unusable(without, 10**6)
        assert "HEIC is not read" in reason and "pip install pillow-heif" in reason
        assert ".heic" not in formats.suffixes_of("all")
    formats.why_missing.cache_clear()
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    pillow._register_heic()
    data = encoded(picture("RGBA"), "HEIF")
    np.testing.assert_array_equal(decoded(data), over_white(Image.open(io.BytesIO(data))))
    assert int(decoding.pixels(data)) == 11 * 14


def test_sixteen_bits_keep_their_high_byte():
    for kind, options in [("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PPM", {}), ("JPEG2000", {})]:  # fmt: skip
        data = encoded(Image.fromarray(DEEP), kind, **options)
        np.testing.assert_array_equal(decoded(data), np.repeat((DEEP >> 8)[..., None], 3, -1))
        stretched = decoding.in_range(data, 0, 4095).numpy()
        want = np.rint(np.clip(DEEP / 4095, 0, 1) * 255)
        np.testing.assert_array_equal(decoded(stretched)[..., 1], want)
    colors = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], -1)
    for order in "<>":
        for planar in (1, 2):
            data = tiff(colors, order, planar, {262: 2})
            np.testing.assert_array_equal(decoded(data), colors >> 8)
    inverted = tiff(DEEP[..., None], tags={262: 0})
    np.testing.assert_array_equal(decoded(inverted)[..., 0], (65535 - DEEP) >> 8)


def test_the_largest_value_of_a_pgm_is_white():
    values = DEEP % 4096
    data = b"P5\n# a comment\n51 37\n4095\n" + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(decoded(data)[..., 0], np.rint(values / 4095 * 255))
    assert "truncated" in diagnosis.why_unusable(data[:-1], 10**6)


def test_a_tiff_of_many_channels_is_a_stack_and_its_first_page_counts(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**16, (9, 8, 7)).astype(np.uint16)
    for order in "<>":
        for planar in (1, 2):
            data = tiff(values, order, planar)
            np.testing.assert_array_equal(decoding.decode(data, 7), values >> 8)
            assert diagnosis.why_unusable(data, 71, 7).startswith("72 pixels, more than")
    assert "7 channels, where the other images have 3" in diagnosis.why_unusable(data, 10**6)
    (tmp_path / "stacks").mkdir()
    for i in range(4):
        (tmp_path / "stacks" / f"{i}.tif").write_bytes(tiff(values))
    source = sources.open_source(folder(tmp_path / "stacks"))
    assert source.channels == 7
    Image.new("RGB", (5, 5)).save(tmp_path / "stacks" / "x.webp")
    with pytest.raises(DataError, match="x.webp has 3 channels and .*0.tif has 7"):
        sources.open_source(folder(tmp_path / "stacks"))
    pages = encoded(picture(), "TIFF", save_all=True, append_images=[picture(height=40)])
    np.testing.assert_array_equal(decoded(pages), np.asarray(picture()))
    assert stacks.common_channels([]) == 3


@pytest.mark.parametrize("kind", ["f4", "u4", "i2"])
def test_values_that_are_not_read_say_what_to_do(kind):
    sample = {"f": 3, "u": 1, "i": 2}[kind[0]]
    data = tiff(np.ones((4, 4, 1), kind), tags={339: sample})
    assert "save 8 or 16 bits" in diagnosis.why_unusable(data, 10**6)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "JPEG", "PNG"])
def test_colours_of_another_profile_become_srgb(kind, tmp_path):
    profile = gamma_profile(ADOBE, 563 / 256)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}  # fmt: skip
    name = f"1.{kind.lower()}"
    picture().save(tmp_path / name, kind, icc_profile=profile, **options)
    read = {}
    for choice in ("all", "early"):
        if choice == "all" or kind in ("JPEG", "PNG"):
            source = sources.open_source(folder(tmp_path, image_formats=choice))
            one = source.in_order().map(lambda e: decoding.decode(e["image"]))
            read[choice] = next(iter(one)).numpy().astype(int)
    off = TOLERANCE if kind == "JPEG" else 2  # of 255; 2 for the rounding of the profile
    assert np.abs(read["all"] - from_adobe(picture())).max() <= off
    assert np.abs(np.asarray(picture(), int) - from_adobe(picture())).max() > 15
    if "early" in read:
        assert np.abs(read["early"] - np.asarray(picture(), int)).max() <= TOLERANCE


def test_shards_are_read_in_the_same_colours_as_a_folder(tmp_path):
    inside = tmp_path / "images"
    inside.mkdir()
    picture().save(inside / "1.png", icc_profile=gamma_profile(ADOBE, 563 / 256))
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(inside / "1.png", "1.png")
    read = []
    for data in (folder(inside), config.Data(shards=str(tmp_path / "shard.tar"))):
        one = sources.open_source(data).in_order().map(lambda e: decoding.decode(e["image"]))
        read.append(next(iter(one)).numpy().astype(int))
    np.testing.assert_array_equal(*read)
    assert np.abs(read[1] - np.asarray(picture(), int)).max() > 15


def test_a_profile_that_is_srgb_or_damaged_changes_nothing():
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"junk" * 50, gamma_profile(ADOBE, 2.2)[:200]):
        data = encoded(picture(), "TIFF", icc_profile=profile)
        np.testing.assert_array_equal(decoded(data), np.asarray(picture()))


def test_formats_are_told_by_their_first_bytes():
    kinds = {
        "JPEG": "JPEG",
        "PNG": "PNG",
        "GIF": "GIF",
        "BMP": "BMP",
        "WEBP": "WebP",
        "TIFF": "TIFF",
    }
    kinds.update({"PPM": "PNM", "JPEG2000": "JPEG 2000"})
    for kind, name in kinds.items():
        assert formats.name_of(encoded(picture(), kind)[: formats.MOST_HEAD]) == name
    if has("AVIF"):
        assert formats.name_of(encoded(picture(), "AVIF")) == "AVIF"
    for other in (b"", b"P5", b"Pixels", b"<html>", b"RIFF\0\0\0\0AVI ", b"\0\0\0\x18ftypisom"):
        assert formats.name_of(other) == ""
    disguised = encoded(picture(), "WEBP")  # whatever its name, see `folder`
    assert decoded(disguised).shape == (11, 14, 3)


def webp(width, height):
    """The header of a WebP with a canvas, and no picture."""
    canvas = struct.pack("<I", 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")  # fmt: skip
    chunk = b"VP8X" + struct.pack("<I", 10) + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def changed(data, old, new):
    assert data.count(old) >= 1
    return data.replace(old, new)


def test_the_size_that_the_decoder_uses_decides_for_every_format():
    limit = 10**6
    large = [
        webp(2**24, 2**24),
        webp(20_000, 20_000),
        changed(
            tiff(DEEP[..., None]),
            struct.pack("<HHII", 256, 4, 1, 51),
            struct.pack("<HHII", 256, 4, 1, 2**31),
        ),  # fmt: skip
        tiff(DEEP[..., None], tags={322: 40_000, 323: 40_000}),
        b"P6 10000 5000 255\n",
    ]
    for data in large:
        assert "pixels, more than --max_image_pixels" in diagnosis.why_unusable(data, limit)
    twice = bytearray(tiff(DEEP[..., None], tags={300: 9}))
    place = bytes(twice).index(struct.pack("<HHII", 300, 4, 1, 9))
    twice[place : place + 12] = struct.pack("<HHII", 256, 4, 1, 60_000)
    assert "the tag 256 is there twice" in diagnosis.why_unusable(bytes(twice), limit)
    small = encoded(Image.new("RGB", (30, 20)), "JPEG2000")
    place = small.index(b"ihdr") + 4
    lying = small[:place] + struct.pack(">II", 9, 9) + small[place + 8 :]
    assert "cannot be decoded" in diagnosis.why_unusable(lying, limit)


def test_the_coded_size_of_an_avif_decides_whatever_its_container_says():
    if not has("AVIF"):
        pytest.skip("this Pillow reads no AVIF; it needs 11.3")
    for size, options in [((400, 300), {}), ((64, 48), {"quality": 100, "subsampling": "4:4:4"})]:
        for mode in ("RGB", "RGBA"):
            data = encoded(Image.new(mode, size, (1, 2, 3, 4)[: len(mode)]), "AVIF", **options)
            assert avif.coded_pixels(data) == size[0] * size[1]
            lying = changed(data, struct.pack(">II", *size), struct.pack(">II", 10, 10))
            assert int(pillow.pixels(lying)) == size[0] * size[1]
    frames = [picture(seed=i) for i in range(3)]
    moving = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert avif.coded_pixels(moving) == 11 * 14
    assert avif.coded_pixels(b"\0\0\0\x18ftypavif" + b"x" * 60) == 0


def test_damaged_files_of_every_format_give_one_reason_and_never_a_mistake():
    for kind in ("WEBP", "TIFF", "AVIF", "PPM", "JPEG2000"):
        if kind == "AVIF" and not has("AVIF"):
            continue
        data = encoded(picture(), kind)
        drawn = np.random.default_rng(0)
        for _ in range(40):
            harmed = bytearray(data)
            for place in drawn.integers(12, len(data), 4):
                harmed[place] = drawn.integers(256)
            for content in (bytes(harmed), data[: drawn.integers(1, len(data))]):
                try:
                    assert pillow.decode(content).ndim == 3
                except ValueError as error:
                    assert str(error)


def test_a_deflated_strip_cannot_grow_beyond_its_page():
    import zlib

    bomb = zlib.compress(b"\0" * 10**8)
    values = np.zeros((4, 4, 5), np.uint8)
    head = tiff(values, tags={259: 8})[: -values.nbytes]
    head = changed(head, struct.pack("<HHII", 279, 4, 1, 80), struct.pack("<HHII", 279, 4, 1, len(bomb)))  # fmt: skip
    np.testing.assert_array_equal(decoding.decode(head + bomb, 5), values)


def test_python_decodes_keep_the_order_of_the_stream_and_resume_anywhere(tmp_path):
    for i in range(12):
        Image.new("RGB", (9, 9), (20 * i, 0, 0)).save(tmp_path / f"{i:02d}.webp", lossless=True)
    source = sources.open_source(folder(tmp_path), seed=3)

    def one(example):
        return {"image": decoding.decode(example["image"])[0, 0, 0], "id": example["id"]}

    def taken(start, count):
        made = batches.mapped_batches(source, one, 4, seed=3, start=start)
        return [batch["image"].numpy().tolist() for batch in made.take(count)]

    whole = taken(0, 6)
    assert whole == taken(0, 6) and whole[2:] == taken(8, 4)
    assert sorted(sum(whole[:3], [])) == [20 * i for i in range(12)]


def test_pillow_decodes_on_several_threads_at_once():
    """While a thread decodes, another one runs Python: the lock is free."""
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)), "WEBP")  # fmt: skip
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(pillow.decode, data)
        turns = 0
        while not done.done():
            turns += 1
    assert done.result().shape == (900, 900, 3) and turns > 100


def test_runs_of_the_first_version_keep_their_images(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "1.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "2.webp")
    assert sources.describe(folder(tmp_path)).num_train == 2
    assert sources.describe(folder(tmp_path, image_formats="early")).num_train == 1
    stored = {"image_dir": str(tmp_path)}
    assert config.build_stored(config.Pretrain, stored).data.image_formats == "early"
    assert tf.constant(1) == 1
