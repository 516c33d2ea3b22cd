"""Paths of gs:// and other file systems: the source, a whole job in memory, and Cloud TPUs."""

import ast
import io
import json
import pathlib

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.errors import SettingsError
from simclr_tf.selftest.resume import draw_images
from simclr_tf.stack import tf
from tests.test_layers import ROOT, SHIPPED, imports
from tests.tiny_run import images_in_folders, save_tiny_run

ROOM = "ram://remote-paths"
LOCAL_ONLY = {
    "os": {"listdir", "makedirs", "mkdir", "open", "remove", "removedirs", "rename", "replace"}
    | {"rmdir", "scandir", "stat", "unlink", "walk"},
    "os.path": {"exists", "getmtime", "getsize", "isdir", "isfile", "islink", "lexists"},
    "np": {"fromfile", "genfromtxt", "loadtxt", "memmap"},
}
"""Functions that know the local disk only; `open` and the modules below are the others."""
LOCAL_MODULES = {"glob", "pathlib", "shutil", "tempfile"}
ALLOWED = {
    "export/keras_file.py": {"open", "os.replace", "tempfile"},  # a local copy that Keras writes
    "export/conversions.py": {"open", "os.path.exists", "tempfile"},  # of a converter's process
    "flags/failures.py": {"glob"},  # local run folders only; remote ones by tf.io.gfile
    "flags/places.py": {"glob", "os.path.exists"},  # local paths only, before TensorFlow is there
    "flags/preset_files.py": {
        "open",
        "os.path.exists",
        "os.path.isfile",
        "pathlib",
    },  # presets of the program, and local files
    "flags/terminal.py": {"open", "os.open", "tempfile"},  # os.devnull, and what stderr held back
    "simclr_tf/__init__.py": {"pathlib"},  # where this package lies
    "simclr_tf/commands/search.py": {"os.path.isfile", "tempfile"},  # local files, a local copy
    "simclr_tf/config/fields.py": {"os.path.exists"},  # a local path with a comma in its name
    "simclr_tf/data/path_list.py": {"os.path.isfile", "os.stat"},  # local lists and files only
    "simclr_tf/data/digits.py": {"open"},  # os.devnull
    "simclr_tf/data/folder.py": {"os.stat"},  # local folders only; remote ones by tf.io.gfile
    "simclr_tf/data/listing.py": {"open", "os.listdir", "os.open", "os.path.exists", "os.scandir"},
    "simclr_tf/data/memory.py": {"os.path.isfile"},  # local paths only, so that one is named early
    "simclr_tf/data/photographs.py": {"os.makedirs", "pathlib"},  # from a package to a local folder
    "simclr_tf/data/stacks.py": {"open"},  # local files only
    "simclr_tf/data/shards/index.py": {"os.stat"},  # local shards only; remote ones by tf.io.gfile
    "simclr_tf/data/shards/opening.py": {"open"},  # the same
    "simclr_tf/distribution/precision.py": {"open"},  # /proc/cpuinfo
    "simclr_tf/distribution/service_key.py": {
        "open",
        "os.makedirs",
        "os.open",
        "os.path.exists",
        "os.unlink",
    },  # a secret of this user, on this machine
    "simclr_tf/embedding/finished.py": {"os.path.exists", "os.stat"},  # local files only
    "simclr_tf/embedding/pictures.py": {"tempfile"},  # a local copy, to be mapped into memory
    "simclr_tf/embedding/tables.py": {"open", "np.memmap"},  # that copy
    "simclr_tf/commands/selftest.py": {"tempfile"},  # unless --scratch_dir says otherwise
    "simclr_tf/files.py": {
        "open",
        "os.open",
        "os.path.exists",
        "os.path.isdir",
        "os.path.isfile",
        "tempfile",
    },  # flushing, regular files and logs, of local disks only
    "simclr_tf/library/functions.py": {"tempfile"},  # a run folder where none is named
    "simclr_tf/phases.py": {"shutil"},  # the width of the terminal
    "simclr_tf/report/damaged.py": {
        "open",
        "os.path.getsize",
        "os.path.isfile",
    },  # local files only; remote ones are named without a picture
    "simclr_tf/runs/lock.py": {
        "open",
        "os.open",
    },  # /proc, and the exclusive creation on local disks
    "simclr_tf/runs/checkpoints.py": {"tempfile"},  # what workers but the chief throw away
}


def local_calls(tree):
    """Names of everything in a module that works on the local disk only."""
    found = {name.split(".")[0] for name in imports(tree)} & LOCAL_MODULES
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            module, _, function = name.rpartition(".")
            if name == "open" or function in LOCAL_ONLY.get(module, ()):
                found.add(name)
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_opened_by_tensorflow(path):
    assert local_calls(ast.parse(path.read_text(encoding="utf-8"))) == ALLOWED.get(
        str(path.relative_to(ROOT)), set()
    )


def test_the_source_check_sees_local_calls():
    text = "import shutil\nopen('a')\nos.path.exists(b)\ntf.io.gfile.exists(c)\nlisting.open(d)\n"
    assert local_calls(ast.parse(text)) == {"shutil", "open", "os.path.exists"}


COMMANDS = f"""
--mode=pretrain --preset=none --image_dir={ROOM}/images --model_dir={ROOM}/run --image_size=16
    --resnet_depth=10 --width_multiplier=0.0625 --proj_out_dim=8 --train_batch_size=8
    --train_steps=2 --warmup_epochs=0 --strategy=default --use_blur=False
--mode=linear_eval --checkpoint={ROOM}/run --linear_form=paper --train_epochs=1
    --train_batch_size=8 --few_shot_draws=1 --strategy=default --baselines=False
--mode=export --checkpoint={ROOM}/run
--mode=embed --checkpoint={ROOM}/run --image_dir={ROOM}/images --output={ROOM}/embedded
    --strategy=default
"""


@pytest.fixture(scope="module")
def remote():
    """Every command of COMMANDS, by the command line, on a file system that is not the disk's."""
    for kind in ("a", "b"):
        draw_images(f"{ROOM}/images/{kind}")
    for command in COMMANDS.strip().split("\n--mode="):
        assert main(("--mode=" + command.removeprefix("--mode=")).split()) == 0, command
    yield ROOM
    tf.io.gfile.rmtree(ROOM)


def read(path, mode="r"):
    with tf.io.gfile.GFile(path, mode) as file:
        return file.read()


@pytest.mark.slow
@pytest.mark.current_stack
def test_a_whole_job_runs_without_a_disk(remote):
    assert [json.loads(line)["step"] for line in read(f"{remote}/run/metrics.jsonl").splitlines()] == [2]  # fmt: skip
    evaluated = json.loads(read(f"{remote}/run/linear_eval/results.json"))
    assert 0 <= evaluated["top_1"] <= 1 and evaluated["num_classes"] == 2
    content = io.BytesIO(read(f"{remote}/embedded/embeddings.npz", "rb"))
    with np.load(content) as found:
        h = found["h"]
        paths = found["path"]
    assert len(h) == len(set(paths)) == 64
    exported = tf.saved_model.load(f"{remote}/run/saved_model/2")
    image = tf.io.decode_png(read(f"{remote}/images/{paths[0]}", "rb"))
    again = exported.signatures["serving_uint8"](images=image[None])["h"]
    np.testing.assert_allclose(again, h[:1], rtol=1e-3, atol=1e-4)
    assert not pathlib.Path("ram:").exists()


def test_a_remote_run_resumes(remote, capsys):
    command = COMMANDS.strip().split("\n--mode=")[0].split()
    assert main(command) == 0
    assert "nothing left to do" in capsys.readouterr().out


CLOUD = {"use_tpu": True, "tpu_name": "pod-7"}


@pytest.mark.parametrize(
    "mode, values, words",
    [
        ("pretrain", {"model_dir": "runs/x"}, "--model_dir=runs/x is a local path"),
        ("pretrain", {"model_dir": "gs://b/x", "image_dir": "/data"}, "--image_dir=/data"),
        ("pretrain", {"model_dir": "gs://b/x", "dataset": "cifar10"}, "give its gs:// folder"),
        ("pretrain", {"dataset": "cifar10", "data_dir": "data"}, "--data_dir=data"),
        ("linear_eval", {"checkpoint": "runs/x"}, "--checkpoint=runs/x"),
        ("finetune", {"init": "runs/x"}, "--init=runs/x"),
        (
            "transfer",
            {"checkpoint": "gs://b/x", "datasets": "dtd,cars=photos"},
            "--datasets=photos",
        ),  # fmt: skip
        ("embed", {"checkpoint": "gs://b/x", "output": "e.npz"}, "--output=e.npz"),
    ],
)
def test_a_cloud_tpu_refuses_local_paths_in_one_sentence(mode, values, words):
    with pytest.raises(SettingsError, match="Cloud TPU pod-7") as caught:
        config.build(config.MODES[mode].config, {**CLOUD, **values})
    assert words in str(caught.value) and str(caught.value).count("\n") == 0


def test_it_is_refused_before_tensorflow_looks_for_a_tpu(capsys):
    flags = "--mode=pretrain --preset=cifar10 --model_dir=runs/x --use_tpu --tpu_name=pod-7"
    assert main(flags.split()) == 2
    assert "--model_dir=runs/x is a local path" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["finetune", "knn", "linear_eval", "probe", "transfer", "embed"])
def test_so_are_those_that_come_from_the_checkpoint(mode, inherited, capsys):
    where = "--output=ram://e.npz" if mode == "embed" else "--model_dir=ram://out"
    flags = [f"--mode={mode}", f"--checkpoint={inherited}", where, "--use_tpu", "--tpu_name=pod-7"]
    flags += ["--datasets=digits"] if mode == "transfer" else []
    assert main(flags) == 2
    assert "is a local path, which the workers of the Cloud TPU pod-7" in capsys.readouterr().err


@pytest.fixture(scope="module")
def inherited(tmp_path_factory):
    """A remote run that was trained on local images."""
    pictures = tmp_path_factory.mktemp("pictures")
    images_in_folders(pictures, {"bars": 8, "dots": 8})
    return save_tiny_run("ram://inherited", image_dir=str(pictures))


@pytest.mark.parametrize(
    "values",
    [
        {**CLOUD, "model_dir": "gs://b/lr=0.1", "dataset": "cifar10", "data_dir": "gs://b/data"},
        {**CLOUD, "model_dir": "gs://b/x"},
        {"use_tpu": True, "model_dir": "runs/x"},
        {"tpu_name": "pod-7", "model_dir": "runs/x"},
    ],
    ids=["remote", "digits", "TPU VM", "no TPU"],
)
def test_other_paths_are_taken(values):
    assert config.build(config.Pretrain, values).run.model_dir == values["model_dir"]


def test_scratch_is_no_path():
    values = {**CLOUD, "init": "scratch", "checkpoint": "gs://b/x"}
    assert config.build(config.Finetune, values).finetuning.init == "scratch"
