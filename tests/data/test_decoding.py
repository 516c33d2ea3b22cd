"""Every format becomes upright RGB: compared with Pillow."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from simclr_tf.data import decoding, exif, preprocess
from simclr_tf.stack import tf

TOLERANCE = 10  # TensorFlow's fast inverse DCT and upsampling against Pillow's


def picture(mode="RGB", height=11, width=14, seed=0):
    """A smooth picture (so that JPEG keeps it) with four different corners."""
    rows, columns = np.mgrid[0:height, 0:width].astype("float32")
    channels = [rows * 255 / height, columns * 255 / width, (rows + columns) * 255 / 26]
    image = Image.fromarray(np.stack(channels, -1).astype("uint8"))
    if mode in ("RGBA", "LA"):
        image = image.convert("RGB" if mode == "RGBA" else "L")
        alpha = np.random.default_rng(seed).integers(0, 256, (height, width)).astype("uint8")
        image.putalpha(Image.fromarray(alpha))
        return image
    return image.convert(mode)


def encoded(image, name, **options):
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def decoded(data):
    graph = tf.data.Dataset.from_tensors(data).map(decoding.decode)  # as in the input pipeline
    return next(iter(graph)).numpy()  # get_single_element would keep 5 MiB of every graph


def over_white(image):
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(mode, progressive):
    data = encoded(picture(mode), "JPEG", quality=95, progressive=progressive)
    want = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), "int32")
    got = decoded(data)
    assert got.dtype == np.uint8 and got.shape == (11, 14, 3)
    assert np.abs(got - want).max() <= TOLERANCE


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
def test_png(mode):
    data = encoded(picture(mode), "PNG")
    want = over_white(Image.open(io.BytesIO(data)))
    assert np.abs(decoded(data).astype("int32") - want).max() <= 1


def test_pngs_that_one_operation_decodes_are_known_by_their_bytes():
    for mode in ("RGB", "L"):
        data = encoded(picture(mode), "PNG")
        assert decoding.is_flat_png(data)
        np.testing.assert_array_equal(tf.io.decode_png(data, channels=3), decoded(data))
    turned = Image.Exif()
    turned[0x0112] = 6
    wide = tf.io.encode_png(np.zeros([3, 4, 1], np.uint16)).numpy()
    others = [encoded(picture(mode), "PNG") for mode in ("P", "1", "RGBA", "LA")]
    others += [encoded(picture(), "PNG", exif=turned.tobytes()), wide]
    others += [encoded(picture(), "PNG", transparency=(0, 0, 0)), encoded(picture(), "JPEG"), b""]
    assert not any(map(decoding.is_flat_png, others))


def test_png_palette_with_transparent_color():
    image = picture("P")
    data = encoded(image, "PNG", transparency=image.getpixel((3, 3)))
    got = decoded(data)
    want = over_white(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(got[3, 3], 255)


def test_sixteen_bit_png_keeps_the_high_byte():
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    data = tf.io.encode_png(values[..., None]).numpy()
    np.testing.assert_array_equal(decoded(data), np.repeat((values >> 8)[..., None], 3, -1))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_bmp(mode):
    image = picture(mode)
    data = encoded(image, "BMP")
    np.testing.assert_array_equal(decoded(data), np.asarray(image.convert("RGB")))


def test_first_frame_of_an_animation_with_transparency_over_white():
    first = picture("P")
    second = picture("P").rotate(180)
    hole = first.getpixel((3, 3))
    data = encoded(first, "GIF", save_all=True, append_images=[second], transparency=hole, loop=0)
    want = over_white(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decoded(data), want)
    np.testing.assert_array_equal(decoded(data)[3, 3], 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_exif_orientation_becomes_upright(orientation, byte_order):
    tags = Image.Exif()
    tags.endian = byte_order
    tags[0x010F] = "a camera with a name that is stored elsewhere"
    tags[0x0112] = orientation
    data = encoded(picture(), "JPEG", quality=95, exif=tags.tobytes())
    assert int(exif.jpeg_orientation(data)) == orientation
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), "int32")
    got = decoded(data)
    assert got.shape == want.shape and np.abs(got - want).max() <= TOLERANCE


def test_orientation_behind_other_segments_and_without_any():
    tags = Image.Exif()
    tags[0x0112] = 6
    plain = encoded(picture(), "JPEG")
    assert int(exif.jpeg_orientation(plain)) == 1
    with_exif = encoded(picture(), "JPEG", exif=tags.tobytes(), icc_profile=b"x" * 300)
    jfif = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    assert int(exif.jpeg_orientation(with_exif[:2] + jfif + with_exif[2:])) == 6
    assert int(exif.jpeg_orientation(b"\xff\xd8\xff\xe1")) == 1


def test_arrays_become_rgb():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    np.testing.assert_array_equal(decoding.decode(grey), np.repeat(grey, 3, -1))
    clear = np.zeros((2, 3, 4), np.uint8)
    np.testing.assert_array_equal(decoding.decode(clear), np.full((2, 3, 3), 255))


@pytest.mark.parametrize("data", [b"", b"text, no image", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM"])
def test_what_is_no_image_raises(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(data)


def test_evaluation_crop_follows_the_official_geometry():
    image = picture(height=90, width=121)
    got = preprocess.eval_image(np.asarray(image), 64).numpy()
    side = round(0.875 * 90)  # 78.75 -> 79
    top = (90 - side + 1) // 2
    left = (121 - side + 1) // 2
    square = np.asarray(image, "float32")[top : top + side, left : left + side] / 255
    want = np.clip(tf.image.resize(square, [64, 64], "bicubic"), 0, 1)
    assert got.dtype == np.float32 and got.shape == (64, 64, 3)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_small_images_of_the_right_size_are_untouched_and_others_resized():
    image = np.asarray(picture(height=32, width=32))
    np.testing.assert_array_equal(preprocess.eval_image(image, 32), image.astype("float32") / 255)
    for height, width in ((8, 8), (28, 28), (96, 96), (20, 50), (1, 1)):
        got = preprocess.eval_image(np.full((height, width, 3), 51, np.uint8), 32)
        np.testing.assert_allclose(got, np.full((32, 32, 3), 0.2), atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("place", ["before", "behind"])
def test_exif_orientation_of_a_png_becomes_upright(orientation, place):
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = encoded(picture(), "PNG", exif=tags.tobytes())
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    if place == "behind":  # other writers put it after the pixels
        data = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert int(exif.png_orientation(data)) == orientation
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    np.testing.assert_array_equal(decoding.decode(data), want)


def test_a_png_without_exif_or_with_a_broken_chunk_is_upright():
    data = encoded(picture(), "PNG")
    assert int(exif.png_orientation(data)) == 1
    assert int(exif.png_orientation(data[:8] + b"\xff\xff\xff\xff" + data[12:])) == 1
    assert int(exif.png_orientation(data[:8])) == 1
