"""The command line: help, and the way from arguments to (mode, config, given)."""

import resource
import subprocess
import sys

import pytest
from simclr_tf.flags import build, preset_files
from simclr_tf.flags.parse import parse

from simclr_tf import __main__ as door
from simclr_tf import config
from simclr_tf.config import MODES
from simclr_tf.errors import DataError, SettingsError

PRETRAIN = ["--mode=pretrain", "--preset=none", "--model_dir=runs/x"]


def test_help_answers_within_two_seconds_and_without_tensorflow():
    code = (
        "import sys; sys.argv = ['simclr_tf', '--help']\n"
        "from simclr_tf.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in "
        "('tensorflow', 'tf_keras', 'numpy')]\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor time: what a user of an idle machine waits, whatever else runs on this one
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


def printed_help(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        parse(list(arguments))
    assert done.value.code == 0
    return capsys.readouterr().out


def test_help_lists_modes_presets_and_the_flags_of_the_first_mode(capsys):
    text = printed_help(capsys, "--help")
    for name in [*MODES, *preset_files.preset_names(), *config.fields_of(config.Pretrain)]:
        assert name in text
    assert "few_shot_draws" not in text


@pytest.mark.parametrize("mode", MODES)
def test_help_of_a_mode_has_every_flag_with_default_and_limits(capsys, mode):
    text = printed_help(capsys, f"--mode={mode}", "--help")
    unwrapped = " ".join(text.split())
    known = config.fields_of(MODES[mode].config)
    for name in MODES[mode].settings:
        meta = known[name][1].metadata
        assert f"--{name}=" in text or f"--[no]{name}=" in text
        assert meta["help"] in unwrapped
        assert config.describe_limits(meta) in unwrapped
    assert max(map(len, text.splitlines())) <= 100


def test_helpfull_has_the_flags_of_every_mode(capsys):
    text = printed_help(capsys, "--helpfull")
    names = {name for module in MODES.values() for name in module.settings}
    assert all(f"{name}=" in text for name in names)


@pytest.mark.parametrize("mode", MODES)
def test_flags_equal_the_dataclass(mode):
    module = MODES[mode]
    flag_values = build.mode_flags(module)
    known = config.fields_of(module.config)
    assert set(flag_values) == set(module.settings) <= set(known)
    for name in module.settings:
        assert flag_values[name].default == known[name][1].default
        assert flag_values[name].help == known[name][1].metadata["help"]


def test_all_ways_to_write_a_flag():
    arguments = [
        *PRETRAIN,
        "--temperature",
        "0.25",
        "-train_epochs=7",
        "--use_blur=False",
        "--noflip",
        "--deterministic",
        "--global_bn=false",
        "--weight_decay=1e-4",
        "--dataset=cifar10",
    ]
    mode, settings, given = parse(arguments)
    assert mode == "pretrain"
    assert settings.loss.temperature == 0.25 and settings.training.train_epochs == 7
    assert settings.views.use_blur is False and settings.views.flip is False
    assert settings.run.deterministic is True and settings.model.global_bn is False
    assert settings.optimizer.weight_decay == 1e-4 and settings.data.dataset == "cifar10"
    names = "temperature train_epochs use_blur flip deterministic global_bn weight_decay dataset"
    assert given == frozenset(names.split()) | {"model_dir"}


def test_the_official_pretraining_command_is_understood():
    arguments = """--mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0
        --weight_decay=1e-4 --temperature=0.5 --dataset=cifar10 --image_size=32 --eval_split=test
        --resnet_depth=18 --use_blur=False --color_jitter_strength=0.5
        --model_dir=/tmp/simclr_test --use_tpu=False"""
    _, settings, given = parse(arguments.split())
    assert settings.optimizer.learning_rate == 1.0 and settings.data.image_size == 32
    assert len(given) == 13


def test_the_command_line_wins_over_the_preset():
    arguments = ["--mode=pretrain", "--preset=cifar10", "--model_dir=x", "--temperature=0.3"]
    _, settings, given = parse(arguments)
    assert settings.loss.temperature == 0.3
    assert settings.optimizer.learning_rate == 1.0
    assert {"temperature", "learning_rate"} <= given and "optimizer" not in given


@pytest.mark.parametrize("name", preset_files.preset_names())
def test_presets_parse_and_name_their_source(name):
    mode, summary = preset_files.preset_summary(name)
    place = ["--checkpoint=x"] if mode == "linear_eval" else ["--model_dir=x"]
    found, _, given = parse([f"--preset={name}", *place])
    assert found == mode and len(given) > 4
    assert len(summary) > 20


def test_presets_have_the_published_values():
    _, settings, _ = parse(["--preset=imagenet", "--model_dir=x"])
    assert settings.training.train_batch_size == 4096
    assert settings.optimizer.learning_rate == 0.3
    assert settings.optimizer.learning_rate_scaling == "linear"
    assert settings.optimizer.weight_decay == 1e-6
    assert settings.loss.temperature == 0.1
    assert settings.model.resnet_depth == 50
    _, settings, _ = parse(["--preset=cifar10", "--model_dir=x"])
    assert (settings.training.train_batch_size, settings.training.train_epochs) == (512, 1000)
    assert (settings.optimizer.learning_rate, settings.loss.temperature) == (1.0, 0.5)
    assert (settings.views.color_jitter_strength, settings.views.use_blur) == (0.5, False)
    _, settings, _ = parse(["--preset=cifar10_small_batch", "--model_dir=x"])
    assert (settings.optimizer.learning_rate, settings.model.proj_out_dim) == (0.2, 64)
    _, settings, _ = parse(["--preset=imagenet_small_batch", "--model_dir=x"])
    assert (settings.optimizer.learning_rate, settings.loss.temperature) == (0.075, 0.2)


@pytest.mark.parametrize(
    "arguments, preset",
    [
        ([], "digits"),
        (["--dataset=digits"], "digits"),
        (["--image_dir=photos"], "folder"),
        (["--dataset=cifar10"], None),
        (["--preset=none"], None),
    ],
)
def test_a_command_without_preset_gets_the_one_of_its_data_and_says_so(capsys, arguments, preset):
    parse(["--mode=pretrain", "--model_dir=x", *arguments])
    said = capsys.readouterr().out
    assert (f"--preset={preset}" in said) if preset else (said == "")


def test_own_images_may_use_the_recipe_of_a_preset_for_another_data_set():
    _, settings, given = parse(["--preset=cifar10", "--model_dir=x", "--image_dir=photos"])
    assert settings.data.image_dir == "photos" and settings.data.eval_split == ""
    assert settings.loss.temperature == 0.5 and "dataset" not in given


def test_flags_may_come_from_a_flagfile(tmp_path):
    (tmp_path / "mine.flags").write_text("--temperature=0.7\n--train_epochs=3\n")
    _, settings, _ = parse([*PRETRAIN, f"--flagfile={tmp_path / 'mine.flags'}"])
    assert settings.loss.temperature == 0.7 and settings.training.train_epochs == 3


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "--mode is missing"),
        (["--mode=pretain"], "did you mean pretrain"),
        (["--preset=imagenett"], "did you mean imagenet"),
        (["--mode=linear_eval", "--preset=cifar10", "--checkpoint=x"], "for --mode=pretrain"),
        (["--mode=pretrain"], "needs --model_dir=PATH"),
        (["--mode=linear_eval"], "needs --checkpoint=PATH"),
        ([*PRETRAIN, "--temprature=0.5"], "did you mean --temperature"),
        ([*PRETRAIN, "--few_shot_draws=3"], "a flag of --mode=linear_eval"),
        ([*PRETRAIN, "--noexport_head"], "a flag of --mode=export"),
        ([*PRETRAIN, "--train_mode=pretrain"], "calls it --mode"),
        ([*PRETRAIN, "--zzz"], "is not a flag of --mode=pretrain"),
        ([*PRETRAIN, "--temperature=0.1", "--temperature=0.5"], "given twice"),
        ([*PRETRAIN, "--mode=export"], "given twice"),
        ([*PRETRAIN, "--flip", "--noflip"], "given twice"),
        ([*PRETRAIN, "--temperature=hot"], "is not a number"),
        ([*PRETRAIN, "--train_epochs=1.5"], "is not a whole number"),
        ([*PRETRAIN, "--use_blur=maybe"], "is not true or false"),
        ([*PRETRAIN, "--use_blur", "False"], "'False' is not a flag"),
        ([*PRETRAIN, "--temperature"], "--name=value"),
        ([*PRETRAIN, "--temperature=0"], "above 0"),
        ([*PRETRAIN, "--temperature=nan"], "not allowed"),
        ([*PRETRAIN, "--resnet_depth=20"], "one of 10, 18, 34, 50"),
        ([*PRETRAIN, "--crop_area_min=0.9", "--crop_area_max=0.5"], "swap them"),
        ([*PRETRAIN, "--image_dir=a", "--dataset=cifar10"], "contradict"),
        ([*PRETRAIN, "--flagfile=/nowhere/x.flags"], "/nowhere/x.flags"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(capsys, arguments, words):
    assert door.main(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.startswith("simclr_tf: ") and said.err.count("\n") == 1
    assert said.err.rstrip().endswith(".")


def test_the_same_value_twice_is_no_contradiction():
    _, settings, _ = parse([*PRETRAIN, "--temperature=0.5", "--temperature=0.50"])
    assert settings.loss.temperature == 0.5


class Runner:
    """Stands in for a mode's `run`: raises what it was made with."""

    def __init__(self, error):
        self.error = error

    def __call__(self, config, given):
        raise self.error


@pytest.mark.parametrize(
    "error, code, words",
    [
        (SettingsError("Settings."), 2, "Settings."),
        (DataError("Data."), 3, "Data."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "/closed/x"), 3, "/closed/x: Permission denied"),
        (OSError(28, "No space left on device"), 3, "No space left on device"),
    ],
)
def test_trouble_of_a_run_is_one_sentence(monkeypatch, capsys, error, code, words):
    monkeypatch.setattr(door.importlib, "import_module", lambda name: Box(Runner(error)))
    assert door.main(PRETRAIN) == code
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


class Box:
    """A module with nothing but `run`."""

    def __init__(self, run):
        self.run = run


@pytest.mark.parametrize("error", [ValueError("a bug"), FileNotFoundError(2, "gone", "x")])
def test_a_programming_error_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr(door.importlib, "import_module", lambda name: Box(Runner(error)))
    with pytest.raises(type(error)):
        door.main(PRETRAIN)
