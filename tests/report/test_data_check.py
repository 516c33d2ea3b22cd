"""A look at images before training: what is found, what is advised."""

import json

import numpy as np
import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.data import sources
from simclr_tf.models.build import build_encoder
from simclr_tf.report import check_speed, data_check, image_check


def picture(seed, size=(80, 60)):
    """A picture of blurred blocks, different for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with one of everything that is looked for."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(12):
        place = root / ("cat" if number < 9 else "dog")
        place.mkdir(exist_ok=True)
        picture(number).save(place / f"{number}.{('png', 'webp', 'jpg')[number % 3]}")
    (root / "dog" / "copy.png").write_bytes((root / "cat" / "0.png").read_bytes())
    picture(3, (64, 48)).save(root / "cat" / "small.jpg", quality=85)
    Image.new("RGB", (50, 50), (9, 99, 9)).save(root / "cat" / "blank.png")
    (root / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xdb" + b"x" * 50)
    (root / "dog" / "notes.txt").write_text("x")
    return root


@pytest.fixture(scope="module")
def examined(photos):
    source = sources.open_whole(config.Data(image_dir=str(photos)), "train")
    return image_check.examine(source, 0, 0)


def names(examined, rows):
    return [examined.name(row).rpartition("/")[2] for row in rows]


def test_what_is_wrong_with_images_is_found(examined):
    assert len(examined) == 15
    ((broken, reason),) = examined.broken.items()
    assert broken.endswith("broken.jpg") and reason.startswith("cannot be decoded: ")
    equal = image_check.groups_of_equal(examined)
    assert [set(names(examined, group)) for group in equal] == [{"0.png", "copy.png"}]
    alike = image_check.near_duplicates(examined, equal)
    assert [set(names(examined, pair)) for pair in alike] == [{"3.png", "small.jpg"}]
    assert names(examined, np.flatnonzero(examined.is_uniform)) == ["blank.png"]
    kinds = {kind: examined.kind.count(kind) for kind in set(examined.kind)}
    assert kinds == {"PNG": 6, "WebP": 4, "JPEG": 5}


def test_a_perceptual_hash_survives_size_and_brightness_and_tells_pictures_apart():
    def grey(image):
        return np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), np.float32)

    pictures = [grey(picture(seed)) for seed in range(20)]
    others = [grey(picture(seed, (300, 200))) * 0.8 + 10 for seed in range(20)]
    first, second = (image_check.perceptual_hashes(np.stack(one)) for one in (pictures, others))
    distance = (first[:, None] != second[None]).sum(-1)
    assert np.diag(distance).max() <= image_check.ALIKE_BITS
    assert distance[~np.eye(20, dtype=bool)].min() > image_check.ALIKE_BITS


def test_figures_and_advice_say_what_stands_out(examined):
    figures = data_check.figures_of(examined, [("cat", 12), ("dog", 1)], 3, 16)
    assert figures["checked"] == 16 and figures["broken"] == 1
    assert figures["exact_duplicates"] == 1 and figures["near_duplicate_pairs"] == 1
    assert figures["duplicates_with_other_labels"] == 1
    assert figures["short_side"] == {"smallest": 48, "median": 60, "largest": 60}
    assert figures["short_side_histogram"] == [("32 to 63", 15)]
    advice = data_check.advice_of(figures, 224)
    for words in ("1 of 16 images cannot", "1 image too many", "1 pair of images look", "uneven: dog has 1",
                  "smaller than --image_size=224", "16 images: few", "different labels", "nearly uniform"):  # fmt: skip
        assert sum(words in sentence for sentence in advice) == 1, (words, advice)
    clean = {**figures, "broken": 0, "exact_duplicates": 0, "near_duplicate_pairs": 0}
    clean.update(duplicates_with_other_labels=0, nearly_uniform=0, class_balance=1.0, images=10**5)
    assert data_check.advice_of(clean, 32) == [
        "Nothing stands out. The images can be used as they are."
    ]
    json.dumps(figures)
    text = data_check.markdown("a|b", figures, advice, "sheet.png")
    assert "# a\\|b" in text and "broken.jpg: cannot be decoded" in text


@pytest.mark.one_stack
def test_multiplications_follow_the_paper():
    billions = {(18, 1): 1.8, (34, 1): 3.6, (50, 1): 3.8, (101, 1): 7.6}  # 1512.03385, table 1
    for (depth, width), want in billions.items():
        assert check_speed.multiply_adds(depth, width, 224, False) / 1e9 == pytest.approx(want, rel=0.08)  # fmt: skip
    encoder = build_encoder(config.Model(resnet_depth=18, stem="small"), 32)
    kernels = sum(int(np.prod(v.shape)) for v in encoder.trainable_variables if len(v.shape) == 4)
    assert check_speed.multiply_adds(18, 1, 1, True) == kernels  # at one pixel each is used once


def test_an_epoch_takes_as_long_as_the_slower_of_step_and_input():
    found = check_speed.epochs(6000, 224, rate_of_step=100.0, rate_of_input=50.0)
    assert found[0]["minutes_per_epoch"] == 2.0 and found[0]["limited_by"] == "input"
    assert found[-1]["limited_by"] == "training step"
    assert found[0]["measured"] and not found[1]["measured"]


def test_the_command_writes_report_and_sheet_and_the_sheet_is_no_image(photos, capsys):
    place = photos / "found"
    command = f"data_check --image_dir={photos} --check_dir={place} --nocheck_speed --image_size=32"
    assert main(command.split()) == 0
    found = json.loads((place / "data_check.json").read_text())
    assert found["images"] == 16 and found["formats"] == {"PNG": 6, "JPEG": 5, "WebP": 4}
    assert found["left_out"] == ["1 file is no image this project reads: 1 .txt"]
    with Image.open(place / "contact_sheet.png") as sheet:
        assert sheet.width > 1000
    shown = capsys.readouterr().out
    assert "advice:" in shown and "data_check.md" in shown
    assert sources.describe(config.Data(image_dir=str(photos))).num_train + 3 == 16
    assert (place / "data_check.md").read_text().startswith("# ")


@pytest.mark.current_stack
@pytest.mark.slow
def test_arrays_are_checked_by_the_library_and_speed_is_measured(tmp_path):
    import simclr_tf

    images = np.stack([np.asarray(picture(seed, (32, 32))) for seed in range(40)])
    found = simclr_tf.data_check(images, tmp_path, labels=np.arange(40) % 2, quiet=True)
    assert found["images"] == 40 and found["formats"] == {"array": 40}
    assert found["class_sizes"] == [["0", 20], ["1", 20]]
    assert found["speed"]["step_images_per_second"] > 0 and found["image_size"] == 32
    assert [one["encoder"] for one in found["speed"]["epochs"]][0] == "ResNet-18"
