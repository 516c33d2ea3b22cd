"""`--mode=distill` on a tiny teacher: the table, the files, resuming, replicas, refusals."""

import json

import numpy as np
import pytest
from simclr_tf.export.lite import LiteModel

import simclr_tf
from simclr_tf import config
from simclr_tf.commands import distill, distill_start
from simclr_tf.data.info import Facts
from simclr_tf.data.source import ArraySource
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.stack import keras, tf
from simclr_tf.training import distillation, length, supervised_run
from simclr_tf.training.loop import StepRunner
from simclr_tf.views.batches import train_batches
from tests.conftest import mirrored
from tests.tiny_run import images_in_folders, save_tiny_run

SHORT = {
    "train_steps": 4, "train_batch_size": 16, "warmup_epochs": 0.0, "strategy": "default",
    "width_multiplier": 0.03125, "learning_rate": 0.5, "label_fraction": 0.05,
}  # fmt: skip


def distilled(**values):
    values = {**SHORT, **values}
    return distill.run(config.build(config.Distill, values), frozenset(values))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_tiny_run(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def results(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "run"
    mixed = {"distill_label_weight": 0.3, "distill_temperature": 2.0, "log_steps": 1}
    return distilled(teacher=teacher, model_dir=str(folder), **mixed), folder


def test_the_table_compares_teacher_student_and_labels_alone(results):
    found, folder = results
    assert read_json(str(folder / "results.json")) == found
    rows = found["rows"]
    assert list(rows) == ["teacher", "student", "labels_alone", "tflite", "tflite_int8"]
    assert found["num_labels"] == 72 and found["top_1"] == rows["student"]["top_1"]
    for figures in rows.values():
        low, high = figures["top_1_interval"]
        assert 0 <= low <= figures["top_1"] <= high <= 1
        assert figures["megabytes"] > 0 and figures["milliseconds"] > 0
    assert rows["student"]["parameters"] < rows["teacher"]["parameters"] / 2
    text = (folder / "results.md").read_text()
    assert "| student, TensorFlow Lite int8 |" in text and "72 labels" in text
    logs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logs] == [1, 2, 3, 4]
    assert {"loss", "agreement", "label_loss"} <= set(logs[0])


def test_the_student_is_a_run_like_any_other_and_its_files_say_the_same(results):
    found, folder = results
    model = simclr_tf.load(folder)
    images = np.random.default_rng(0).random([3, 16, 16, 3]).astype(np.float32)
    want = model.logits(images)
    assert want.shape == (3, 10)
    exported = tf.saved_model.load(found["files"]["saved_model"])
    np.testing.assert_allclose(exported.serve(images)["logits"], want, atol=1e-5)
    np.testing.assert_allclose(LiteModel(found["files"]["tflite"]).logits(images), want, atol=1e-4)
    assert LiteModel(found["files"]["tflite_int8"]).logits(images).shape == (3, 10)


def test_the_checkpoint_holds_the_student_only(results, teacher):
    _, folder = results
    names = [name for name, _ in tf.train.list_variables(str(folder / "checkpoints"))]
    before = restore.load_trained(teacher)
    assert not [name for name in names if "teacher" in name]
    student = restore.load_trained(str(folder))
    count = sum(name.startswith("encoder/") for name in names)
    assert count == len(student.encoder.variables)
    assert student.settings["width_multiplier"] == 0.03125
    assert before.settings["width_multiplier"] == 0.0625


def test_running_it_again_has_nothing_left_to_do(results, teacher, capsys):
    found, folder = results
    mixed = {"distill_label_weight": 0.3, "distill_temperature": 2.0, "log_steps": 1}
    assert distilled(teacher=teacher, model_dir=str(folder), **mixed) == found
    assert "nothing left to do" in capsys.readouterr().out
    starts = read_json(str(folder / "starts.json"))
    write_json(str(folder / "starts.json"), {**starts, "student": "another"})
    with pytest.raises(SettingsError, match="started with other weights"):
        distilled(teacher=teacher, model_dir=str(folder), **mixed)
    write_json(str(folder / "starts.json"), starts)


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_resumed_distillation_equals_the_uninterrupted_one(teacher, tmp_path, monkeypatch):
    settings = dict(teacher=teacher, checkpoint_steps=2, log_steps=1, baselines=False)
    settings.update(export_formats="", distill_label_weight=0.2)
    distilled(**settings, model_dir=str(tmp_path / "whole"))

    def stop(runner, steps, start, *others):
        train(runner, length.Steps(**{**vars(steps), "total": 2}), start, *others)
        raise KeyboardInterrupt

    train = supervised_run.train
    monkeypatch.setattr(supervised_run, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        distilled(**settings, model_dir=str(tmp_path / "halves"))
    monkeypatch.undo()
    distilled(**settings, model_dir=str(tmp_path / "halves"))
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "halves")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 4


def trained(teacher, strategy, precision="float32", steps=2, **changes):
    """A Distilled after a few steps, and the hash of the teacher's variables before and after."""
    values = {**SHORT, "teacher": teacher, "distill_label_weight": 0.3, **changes}
    keras.mixed_precision.set_global_policy(precision)
    try:
        with strategy.scope():
            start = distill_start.find(config.build(config.Distill, values), frozenset(values))
            for norm in (m for m in start.encoder.submodules if hasattr(m, "moving_variance")):
                norm.gamma.assign(tf.ones_like(norm.gamma))  # or most gradients start at zero
        rng = np.random.default_rng(1)
        pixels = rng.integers(0, 256, (48, 16, 16, 3)).astype(np.uint8)
        facts = Facts("test", 48, tuple("abcdefghij"), "0", (16, 16, 3))
        source = ArraySource(facts, pixels, np.arange(48) % 10)
        teaching = distillation.Teaching(
            start.config, strategy, start.logits, 10, source, source, None
        )
        found = start.config
        total = length.resolve_steps(found.training, found.optimizer, 48, whole=False)
        with strategy.scope():
            model = distillation.build_model(teaching, start.encoder, start.head, total)
        batches = train_batches(source, start.config.views, 16, 16, 0, num_views=1)
        StepRunner(model, strategy, batches).run(steps)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    return model, start


@pytest.mark.slow
@pytest.mark.one_stack
def test_two_replicas_distil_as_one_and_leave_the_teacher_as_it_was(teacher):
    one, start = trained(teacher, tf.distribute.get_strategy())
    two, _ = trained(teacher, mirrored(2))
    for a, b in zip(one.encoder.variables, two.encoder.variables):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-3, atol=2e-4)
    for name in ("loss", "agreement", "label_loss"):
        want = float(one.running[name].result())
        assert float(two.running[name].result()) == pytest.approx(want, abs=2e-3)
    fresh = restore.load_trained(teacher)
    for before, after in zip(fresh.encoder.variables, start.teacher.encoder.variables):
        np.testing.assert_array_equal(after.numpy(), before.numpy())
    known = {id(v) for v in one.variables}
    assert not known & {id(v) for v in start.teacher.encoder.variables}


@pytest.mark.current_stack
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns_the_same(teacher, precision):
    full, _ = trained(teacher, tf.distribute.get_strategy())
    half, _ = trained(teacher, tf.distribute.get_strategy(), precision)
    want = float(full.running["loss"].result())
    assert float(half.running["loss"].result()) == pytest.approx(want, rel=0.05)
    assert half.encoder.compute_dtype == precision.replace("mixed_", "")


def find(teacher, given=None, **values):
    values = {**SHORT, "teacher": teacher, **values}
    return distill_start.find(config.build(config.Distill, values), frozenset(given or values))


def test_a_student_without_settings_of_its_own_copies_the_teacher(teacher):
    start = find(teacher, given={"teacher"})
    assert start.config.model.width_multiplier == 0.0625
    assert start.config.model.proj_head_mode == "none"
    assert start.config.views.crop_area_min == 0.25 and start.config.data.image_size == 16


def test_a_student_may_start_from_a_checkpoint(teacher, tmp_path):
    run = save_tiny_run(tmp_path, width_multiplier=0.03125)
    start = find(teacher, given={"teacher", "checkpoint"}, checkpoint=run)
    assert start.config.model.width_multiplier == 0.03125 and "step 7" in start.origin
    before = restore.load_trained(run).encoder.variables[0].numpy()
    np.testing.assert_array_equal(start.encoder.variables[0].numpy(), before)
    np.testing.assert_array_equal(distill_start.again(start)[0].variables[0].numpy(), before)


@pytest.mark.slow
@pytest.mark.one_stack
def test_images_without_labels_need_none(teacher, tmp_path):
    images_in_folders(tmp_path / "flat", {"": 24})
    found = distilled(
        teacher=teacher, image_dir=str(tmp_path / "flat"), model_dir=str(tmp_path / "run"),
        export_formats="", train_steps=1, train_batch_size=8,
    )  # fmt: skip
    assert found["num_labels"] == 0 and "top_1" not in found
    assert list(found["rows"]) == ["teacher", "student"]
    assert simclr_tf.load(tmp_path / "run").logits(np.zeros([1, 16, 16, 3])).shape == (1, 10)
    with pytest.raises(SettingsError, match="needs labels of the teacher's 10 classes"):
        distilled(
            teacher=teacher, image_dir=str(tmp_path / "flat"), model_dir=str(tmp_path / "other"),
            distill_label_weight=0.5,
        )  # fmt: skip


def test_a_teacher_without_a_classifier_is_refused(tmp_path):
    run = save_tiny_run(tmp_path, lineareval_while_pretraining=False)
    with pytest.raises(DataError, match="has no classifier"):
        find(run)
    with pytest.raises(SettingsError, match="image_size=32 differs from the teacher's 16"):
        find(save_tiny_run(tmp_path / "other"), image_size=32)


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_library_distils_an_exported_teacher_into_an_application(tmp_path):
    teacher = save_tiny_run(tmp_path, image_size=32)  # the least that it takes
    exported = simclr_tf.export(teacher, tmp_path / "exported", quiet=True)
    found = simclr_tf.distill(
        exported["path"], model_dir=tmp_path / "student", quiet=True, strategy="default",
        encoder="applications:MobileNetV3Small", train_steps=1, train_batch_size=8, warmup_epochs=0,
        export_formats="tflite", baselines=False,
    )  # fmt: skip
    assert 0 <= found["rows"]["tflite"]["top_1"] <= 1
    assert found["rows"]["student"]["parameters"] > 500_000
