"""What people's folders hold beside images, and what must not become an image or a class."""

import json
import os
import socket

import pytest

from simclr_tf import config
from simclr_tf.commands import plan
from simclr_tf.data import folder as folders
from simclr_tf.data import listing, sources
from simclr_tf.data.info import require_labels
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.report.sheet import write_sheet
from simclr_tf.runs.run_folder import RunFolder
from tests.data.test_folder import folder, values, write


def classes_of(root, **settings):
    return [name for name, _ in sources.describe(folder(root, **settings)).classes]


def left_out(root, **settings):
    return " | ".join(sources.describe(folder(root, **settings)).left_out)


def three_classes(root, count=2):
    for number, name in enumerate(["ant", "bee", "cat"]):
        for i in range(count):
            write(root / name / f"{i}.png", 10 * number + i)


@pytest.mark.parametrize(
    "training, evaluation",
    [
        ("training", "validation"),
        ("Train", "Test"),
        ("training_set", "test_set"),
        ("TRAIN", "VAL"),
        ("train-images", "valid images"),
        ("train", "testing"),
        ("Trainset", "evaluation"),
        ("train", "dev"),
    ],
)
def test_split_folders_are_known_by_their_usual_names(training, evaluation, tmp_path):
    three_classes(tmp_path / training, 3)
    three_classes(tmp_path / evaluation, 1)
    info = sources.describe(folder(tmp_path))
    assert (info.num_train, info.num_eval, info.num_classes) == (9, 3, 3)
    assert (info.train_split, info.eval_split) == (training, evaluation)
    assert values(sources.open_source(folder(tmp_path), "eval")) == {0: 0, 10: 1, 20: 2}


def test_splits_and_classes_are_found_inside_a_folder_of_images(tmp_path):
    three_classes(tmp_path / "set" / "Images" / "train", 3)
    three_classes(tmp_path / "set" / "Images" / "val" / "images", 1)
    (tmp_path / "set" / "labels" / "train").mkdir(parents=True)
    info = sources.describe(folder(tmp_path / "set"))
    assert (info.num_train, info.num_eval, info.num_classes) == (9, 3, 3)
    assert not info.unlabelled_eval


def test_classes_that_are_called_like_a_split_are_classes(tmp_path):
    for name in ("train", "bus", "plane"):
        write(tmp_path / name / "1.png")
    info = sources.describe(folder(tmp_path))
    assert info.num_classes == 3
    assert "the class folder train looks like a split" in info.notes[0]


def test_no_names_are_splits_without_both_kinds():
    assert folders.splits_in(["train", "dog"]) is None
    assert folders.splits_in(["trainer", "tester"]) is None
    assert folders.splits_in(["val", "test", "train"]) == ("train", ["test", "val"])


def test_evaluation_images_without_a_class_are_refused_where_labels_are_needed(tmp_path):
    three_classes(tmp_path / "train")
    write(tmp_path / "val" / "x.png")
    info = sources.describe(folder(tmp_path))  # pretraining works
    with pytest.raises(DataError, match="val has 1 image without a class folder of train, such as val/x.png"):  # fmt: skip
        require_labels(info, "--mode=knn")
    three_classes(tmp_path / "val")
    with pytest.raises(DataError, match="val has 1 image without"):  # one stray among the classes
        require_labels(sources.describe(folder(tmp_path)), "--mode=knn")
    os.rename(tmp_path / "val" / "x.png", tmp_path / "val" / "ant" / "x.png")
    require_labels(sources.describe(folder(tmp_path)), "--mode=knn")


def test_an_evaluation_folder_with_classes_goes_before_one_without(tmp_path):
    """As of ImageNet, whose test images have no public labels."""
    three_classes(tmp_path / "train")
    write(tmp_path / "test" / "x.png")
    before = sources.describe(folder(tmp_path)).fingerprint
    three_classes(tmp_path / "val")
    info = sources.describe(folder(tmp_path))
    assert info.eval_split == "val" and not info.unlabelled_eval
    assert info.earlier_fingerprints == (before,)


def test_one_image_beside_the_class_folders_is_named(tmp_path):
    three_classes(tmp_path)
    write(tmp_path / "stray.png")
    info = sources.describe(folder(tmp_path))
    assert info.num_classes == 0
    rows = dict(plan.image_rows(info))
    assert rows["note"].startswith("1 image lies beside the 3 folders, such as stray.png")
    with pytest.raises(DataError, match="no labels.*stray.png, so the folders are no classes"):
        require_labels(info, "--mode=knn")


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    three_classes(tmp_path)
    for name in ("a.txt", "b.txt", "c.PSD", "README", "ant/x.mp4"):
        (tmp_path / name).write_text("x")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "bee/.hidden.png"):
        (tmp_path / name).write_text("x")
    for name in ("@eaDir", "$RECYCLE.BIN", "__MACOSX", "lost+found", "System Volume Information"):
        write(tmp_path / name / "thumbnail.png")
    found = sources.describe(folder(tmp_path))
    assert found.num_classes == 3 and found.num_train == 6 - found.num_eval
    formats, hidden = found.left_out
    assert formats.startswith("5 files are no images this project reads: 2 .txt, ")
    assert "1 .psd" in formats and "1 .mp4" in formats and "1 without a suffix" in formats
    assert hidden.startswith("9 hidden or system files and folders, such as ")


def test_no_image_at_all_is_told_with_what_is_there(tmp_path):
    (tmp_path / "1.mp4").write_text("x")
    with pytest.raises(DataError, match="holds no images;.*left out: 1 file is no image this project reads: 1 .mp4"):  # fmt: skip
        sources.describe(folder(tmp_path))


def test_links_that_lead_out_are_counted_and_followed_if_asked(tmp_path):
    three_classes(tmp_path / "store")
    write(tmp_path / "in" / "dog" / "1.png")
    for name in ("ant", "bee"):
        os.symlink(tmp_path / "store" / name, tmp_path / "in" / name)
    os.symlink(tmp_path / "nowhere", tmp_path / "in" / "gone.png")
    os.symlink(tmp_path / "in", tmp_path / "in" / "dog" / "up")
    text = left_out(tmp_path / "in")
    assert "2 links that lead out of the folder, such as " in text and "--follow_links" in text
    assert "1 link that leads nowhere (gone.png)" in text
    assert "1 link that leads in a circle (dog/up)" in text
    assert classes_of(tmp_path / "in", follow_links=True) == ["ant", "bee", "dog"]
    assert "lead out" not in left_out(tmp_path / "in", follow_links=True)


def test_links_in_a_circle_and_links_that_multiply_end(tmp_path, monkeypatch):
    write(tmp_path / "a" / "1.png")
    os.symlink("two.png", tmp_path / "a" / "one.png")
    os.symlink("one.png", tmp_path / "a" / "two.png")
    os.symlink("itself", tmp_path / "a" / "itself")
    found = listing.look_below(str(tmp_path))
    assert found.images == ["a/1.png"] and found.left_out[listing.LOOP] == 3
    monkeypatch.setattr(listing, "_MOST_LINKED", 50)
    for number in range(6):
        for other in range(6):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            os.symlink(tmp_path / str(other), tmp_path / str(number) / f"to{other}")
    with pytest.raises(DataError, match="links between the folders below .* multiply them"):
        listing.look_below(str(tmp_path))


def test_only_regular_files_are_opened(tmp_path):
    three_classes(tmp_path)
    os.mkfifo(tmp_path / "ant" / "pipe.png")
    os.mkfifo(tmp_path / "bee" / "pipe.npy")
    with socket.socket(socket.AF_UNIX) as one:
        place = os.getcwd()
        os.chdir(tmp_path)  # the address of a socket is short
        one.bind("socket.jpg")
        os.chdir(place)
    os.symlink("/dev/zero", tmp_path / "ant" / "zero.png")
    os.mkfifo(tmp_path / "config.json")
    os.mkfifo(tmp_path / "cat" / "config.json")
    os.mkfifo(tmp_path / "cat" / "views.png")
    found = sources.describe(folder(tmp_path, follow_links=True))
    assert found.num_train + found.num_eval == 6 and found.num_classes == 3
    assert any("5 pipes, sockets and devices" in phrase for phrase in found.left_out)
    with pytest.raises(OSError, match="not a regular file"):
        listing.open_regular(str(tmp_path / "bee" / "pipe.npy"))


def test_what_this_project_wrote_is_no_image_and_no_class(tmp_path):
    three_classes(tmp_path)
    import numpy as np

    rows = [("original", np.zeros((2, 8, 8, 3), np.uint8))]
    write_sheet(rows, str(tmp_path / "views.png"))
    write_sheet(rows, str(tmp_path / "mine.jpg"))
    RunFolder(str(tmp_path / "run")).claim("pretrain", {}, (), {"name": "a", "fingerprint": "b"})
    write(tmp_path / "run" / "report" / "overview.png")
    write(tmp_path / "config" / "1.png")
    (tmp_path / "config" / "config.json").write_text(json.dumps({"mode": "mine"}))
    info = sources.describe(folder(tmp_path))
    assert [name for name, _ in info.classes] == ["ant", "bee", "cat", "config"]
    assert any(phrase.startswith("3 files and folders that simclr_tf wrote") for phrase in info.left_out)  # fmt: skip


def test_a_sheet_without_the_mark_beside_classes_is_left_out(tmp_path):
    three_classes(tmp_path)
    write(tmp_path / "views.png")  # as earlier versions wrote it
    info = sources.describe(folder(tmp_path))
    assert info.num_classes == 3
    assert "1 file or folder that simclr_tf wrote (views.png)" in info.left_out
    write(tmp_path / "mine.png")  # images beside the folders: then it may be anybody's
    assert listing.list_images(str(tmp_path))[-1] == "views.png"


def test_class_names_that_are_no_text_are_shown_as_escapes(tmp_path):
    three_classes(tmp_path)
    place = os.path.join(os.fsencode(tmp_path), b"caf\xe9\n=x")
    os.rename(tmp_path / "ant", place)
    info = sources.describe(folder(tmp_path))
    assert [name for name, _ in info.classes] == ["bee", "caf\\xe9\n=x", "cat"]
    assert plan.classes_in_words(info) == "3 classes (bee 1, caf\\xe9\\n=x 1, cat 1)"
    assert sources.open_source(folder(tmp_path)).class_names[1] == "caf\\xe9\n=x"


def test_without_labels_every_image_trains(tmp_path):
    for i in range(10):
        write(tmp_path / f"{i}.png", i)
    info = sources.describe(folder(tmp_path))
    assert (info.num_train, info.num_eval) == (10, 0)
    assert info.held_out == "nothing: without labels every image trains"
    with pytest.raises(DataError, match="no image left to evaluate on.*--eval_fraction=0.2"):
        sources.open_source(folder(tmp_path), "eval")
    assert sources.describe(folder(tmp_path, eval_fraction=0.2)).num_eval == 2
    three_classes(tmp_path / "classes", 5)
    labelled = sources.describe(folder(tmp_path / "classes"))
    assert labelled.num_eval == 3
    assert labelled.held_out == "3 of 15 images to measure on (0.2 of each class)"
    assert sources.describe(folder(tmp_path / "classes", eval_fraction=0.0)).num_train == 15
    with pytest.raises(SettingsError, match="eval_fraction=-0.5"):
        config.Data(eval_fraction=-0.5)


def claimed(run, **settings):
    """Whether a pretraining with these settings resumes the run."""
    mode = config.build(config.Pretrain, settings)
    place = RunFolder(str(run))
    path = run / "config.json"
    if path.exists():
        before = json.loads(path.read_text())["settings"]
        mode = config.keep_stored(mode, frozenset(settings), before)
    dataset = sources.describe(mode.data).identity
    return place.claim("pretrain", config.flatten(mode), frozenset(["model_dir"]), dataset)


def stored(run, **changes):
    """Rewrites settings of a run folder, as another version would have written them."""
    path = run / "config.json"
    content = json.loads(path.read_text())
    content.pop("file_checksum", None)
    for name, value in changes.items():
        if value is None:
            del content["settings"][name]
        else:
            content["settings"][name] = value
    path.write_text(json.dumps(content))


def test_the_same_images_resume_wherever_they_lie(tmp_path, monkeypatch):
    three_classes(tmp_path / "photos")
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert not claimed(run, image_dir="photos")
    (run / "results.json").write_text("{}")
    assert claimed(run, image_dir=f"{tmp_path}/photos/")
    os.rename("photos", "pictures")
    os.symlink("pictures", "link")
    assert claimed(run, image_dir="link")
    assert claimed(run, image_dir="./pictures", eval_fraction=0.2)
    write(tmp_path / "pictures" / "ant" / "new.png")
    with pytest.raises(SettingsError, match="--image_dir=pictures|images of pictures changed"):
        claimed(run, image_dir="pictures")


def test_other_images_of_the_same_names_do_not_resume(tmp_path):
    three_classes(tmp_path / "one")
    three_classes(tmp_path / "two")
    for path in (tmp_path / "two").glob("*/*.png"):
        write(path, 77, size=(20, 30))
    run = tmp_path / "run"
    claimed(run, image_dir=f"{tmp_path}/one")
    (run / "results.json").write_text("{}")
    with pytest.raises(SettingsError, match="but other sizes"):
        claimed(run, image_dir=f"{tmp_path}/two")


def test_a_run_of_an_earlier_version_keeps_its_held_out_share(tmp_path):
    """It held out a fifth without labels too, and did not know --follow_links."""
    for i in range(10):
        write(tmp_path / "flat" / f"{i}.png", i)
    run = tmp_path / "run"
    claimed(run, image_dir=f"{tmp_path}/flat", eval_fraction=0.2)
    (run / "results.json").write_text("{}")
    stored(run, follow_links=None)
    assert claimed(run, image_dir=f"{tmp_path}/flat")
    stored(run, follow_links=None)
    with pytest.raises(SettingsError, match="other settings|changed"):
        claimed(run, image_dir=f"{tmp_path}/flat", eval_fraction=0.0)
