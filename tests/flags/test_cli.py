"""The command line: help, and the way from arguments to (mode, config, given)."""

import logging
import resource
import shlex
import subprocess
import sys

import pytest
from simclr_tf.flags import build, preset_files, terminal
from simclr_tf.flags.parse import parse

import simclr_tf
from simclr_tf import __main__ as door
from simclr_tf import config
from simclr_tf.config import MODES
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.stack import tf

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


def test_help_is_one_screen_with_a_line_for_each_mode(capsys):
    text = printed_help(capsys, "--help")
    lines = text.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    for name, mode in MODES.items():
        assert [line for line in lines if line.split("  ")[1:2] == [name] and mode.summary in line]


@pytest.mark.parametrize("mode", MODES)
def test_help_of_a_mode_has_what_most_people_need(capsys, mode):
    text = printed_help(capsys, mode, "--help")
    shown = {line.split("=")[0].strip() for line in text.splitlines() if line[:6] == "    --"}
    shown = {name.replace("[no]", "")[2:] for name in shown}
    known = config.fields_of(MODES[mode].config)
    assert set(MODES[mode].required) <= shown <= set(MODES[mode].settings)
    assert shown == set(MODES[mode].settings) or len(shown) <= 28
    assert all(known[name][1].metadata["basic"] for name in shown)
    assert all(name in text for name in preset_files.preset_names() if preset_files.preset_mode(name) == MODES[mode].preset_mode)  # fmt: skip
    assert ("--helpfull" in text) == (shown != set(MODES[mode].settings))


@pytest.mark.parametrize("mode", MODES)
def test_helpfull_of_a_mode_has_every_flag_with_default_and_limits(capsys, mode):
    text = printed_help(capsys, f"--mode={mode}", "--helpfull")
    unwrapped = " ".join(text.split())
    known = config.fields_of(MODES[mode].config)
    for name in MODES[mode].settings:
        meta = known[name][1].metadata
        assert f"--{name}=" in text or f"--[no]{name}=" in text
        assert meta["help"] in unwrapped
        assert config.describe_limits(meta) in unwrapped
    assert max(map(len, text.splitlines())) <= 100
    others = {name for module in MODES.values() for name in module.settings}
    assert not [name for name in others - set(MODES[mode].settings) if f"    --{name}=" in text]


def test_helpfull_has_the_flags_of_every_mode(capsys):
    text = printed_help(capsys, "--helpfull")
    names = {name for module in MODES.values() for name in module.settings}
    assert all(f"{name}=" in text for name in names)


def test_a_reader_that_goes_away_ends_help_quietly():
    command = f"{sys.executable} -m simclr_tf --helpfull 2>&1 >&3 | cat >&2"
    shell = f"exec 3> >(head -n 1 >/dev/null); sleep 0.2; {command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], stderr=subprocess.PIPE, text=True)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_the_version_is_one_line(capsys):
    text = printed_help(capsys, "--version")
    assert text.startswith(f"simclr_tf {simclr_tf.__version__} (Python ") and text.count("\n") == 1
    assert "tensorflow 2." in text


@pytest.mark.parametrize("front", [["export"], ["--mode=export"], ["--mode", "export"]])
def test_the_mode_stands_first_or_is_a_flag(front):
    mode, settings, given = parse([*front, "--checkpoint=x"])
    assert mode == "export" and settings.trained.checkpoint == "x" and given == {"checkpoint"}


def test_home_is_expanded_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    arguments = ["embed", "--checkpoint=~/run", "--output=~/e", "--image_dir=~/photos"]
    _, settings, _ = parse(arguments)
    assert settings.trained.checkpoint == "/home/somebody/run"
    assert settings.embed.output == "/home/somebody/e"
    assert config.Data(image_dir="~/photos") == settings.data
    folders = config.TransferSettings(datasets="~/a, cars=~/b,cifar10").datasets
    assert folders == "/home/somebody/a,cars=/home/somebody/b,cifar10"


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
    place += ["--teacher=x"] if mode == "distill" else []
    found, _, given = parse([f"--preset={name}", *place])
    assert found == mode and (len(given) > 4 or name == "auto")
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
        (["--image_dir=photos"], "auto"),
        (["--image_dir=photos", "--workers=a:1,b:1", "--worker_index=0"], "folder"),
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
        ([], "the mode is missing"),
        (["--mode=pretain"], "did you mean pretrain"),
        (["pretain"], "did you mean pretrain"),
        (["export", "--mode=pretrain"], "given twice"),
        (["--model_dir=x", "--preset=digits", "pretrain"], "write the mode first"),
        ([*PRETRAIN, "--image_dir=s3://b/photos"], "s3://"),
        (["export", "--checkpoint=https://tfhub.dev/x"], "https://"),
        (["--preset=imagenett"], "did you mean imagenet"),
        (["--mode=linear_eval", "--preset=cifar10", "--checkpoint=x"], "for --mode=pretrain"),
        (["--mode=pretrain"], "needs --model_dir=PATH"),
        (["--mode=linear_eval"], "needs --checkpoint=PATH"),
        ([*PRETRAIN, "--temprature=0.5"], "did you mean --temperature"),
        ([*PRETRAIN, "--few_shot_draws=3"], "a flag of --mode=linear_eval"),
        ([*PRETRAIN, "--noexport_head"], "a flag of --mode=export"),
        ([*PRETRAIN, "--train_mode=pretrain"], "write python -m simclr_tf pretrain"),
        (["--mode=train_then_eval"], "write python -m simclr_tf pretrain"),
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


def door_to(monkeypatch, error):
    """The door opens to a mode whose runner raises `error`."""

    def run(config, given):
        raise error

    monkeypatch.setattr(door, "runner_of", lambda mode: run)


@pytest.mark.parametrize(
    "error, code, words",
    [
        (SettingsError("Settings."), 2, "Settings."),
        (DataError("Data."), 3, "Data."),
        (KeyboardInterrupt(), 130, "interrupted before a checkpoint was saved"),
        (PermissionError(13, "Permission denied", "/closed/x"), 3, "/closed/x: Permission denied"),
        (OSError(28, "No space left on device"), 3, "No space left on device"),
        (FileNotFoundError(2, "No such file", "runs/x/config.json"), 3, "runs/x/config.json"),
        (ConnectionResetError(104, "Connection reset by peer"), 3, "the network failed"),
        (MemoryError(), 2, "lower one of --train_batch_size=512"),
        (UnicodeEncodeError("utf-8", "a\udcff.jpg", 1, 2, "surrogates"), 3, "is not valid UTF-8"),
        (ModuleNotFoundError("No module named 'tf_keras'", name="tf_keras"), 2, "tf_keras"),
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
            2,
            "--cached_batch_size=512",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "/x/y; No space left on device"),
            3,
            "/x/y; No space left on device; choose another place",
        ),
        (
            tf.errors.NotFoundError(None, None, "gs://none/a not found"),
            3,
            "gs://none/a not found; check that the path exists",
        ),
        (tf.errors.UnavailableError(None, None, "no route"), 3, "check the network"),
        (
            tf.errors.AbortedError(None, None, "libcurl code 6 meaning 'no such host'"),
            3,
            "cannot be reached (libcurl code 6 meaning 'no such host'); check the network",
        ),
        (
            tf.errors.UnimplementedError(None, None, "File system scheme 'x' not implemented"),
            3,
            "give a local path or gs://",
        ),
        (
            tf.errors.DataLossError(None, None, "{{function_node __x}} truncated record at 7"),
            3,
            "a file is damaged (truncated record at 7)",
        ),
    ],
)
def test_trouble_of_a_run_is_one_sentence(monkeypatch, capsys, error, code, words):
    door_to(monkeypatch, error)
    assert door.main(PRETRAIN) == code
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and "{{" not in said


def test_an_interruption_promises_the_checkpoint_that_is_there(monkeypatch, capsys, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-3.index").write_text("")
    door_to(monkeypatch, KeyboardInterrupt())
    assert door.main(["pretrain", "--preset=none", f"--model_dir={tmp_path}"]) == 130
    assert "continues from the last checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        FileNotFoundError(2, "gone", "x"),
        ModuleNotFoundError("No module named 'simclr_tf.x'", name="simclr_tf.x"),
        tf.errors.InvalidArgumentError(None, None, "shapes differ"),
        tf.errors.NotFoundError(None, None, "No registered 'X' OpKernel"),
    ],
)
def test_a_mistake_of_the_program_keeps_its_traceback_and_asks_for_a_report(
    monkeypatch, capsys, error
):
    door_to(monkeypatch, error)
    with pytest.raises(type(error)):
        door.main(PRETRAIN)
    monkeypatch.setattr(sys, "argv", ["simclr_tf", *PRETRAIN])
    # what watches the keyboard stays until its process ends, and this one has tests to run
    monkeypatch.setattr(door.stopping, "watch_keyboard", lambda: None)
    with pytest.raises(SystemExit) as done:
        door.run_and_exit()
    assert done.value.code == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert "Traceback" in _[0] and "please report it" in last and "tensorflow 2." in last


@pytest.mark.parametrize("name", ["image_dir", "checkpoint", "source"])
def test_a_missing_path_is_told_before_tensorflow_is_imported(name):
    mode = {"image_dir": "pretrain", "checkpoint": "knn", "source": "import_weights"}[name]
    code = (
        "import sys\nfrom simclr_tf.__main__ import main\n"
        f"code = main(['{mode}', '--preset=none', '--model_dir=x', '--{name}=~/not/there'])\n"
        "assert code == 3 and 'tensorflow' not in sys.modules, code\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert "not/there does not exist" in done.stderr and done.stderr.count("\n") == 1


def test_warnings_reach_stderr_only_through_the_door(monkeypatch, capsys):
    def run(config, given):
        logging.getLogger("simclr_tf.training.health").warning("the loss %s", "stays")
        logging.getLogger("simclr_tf.runs").info("going on")

    monkeypatch.setattr(door, "runner_of", lambda mode: run)
    assert door.main(PRETRAIN) == 0
    assert capsys.readouterr().err == "warning: the loss stays\nnote: going on\n"
    assert not logging.getLogger("simclr_tf").handlers


def test_chatter_while_importing_is_held_back_unless_the_import_fails(tmp_path, capfd, monkeypatch):
    for name, end in [("chatty_module", "x = 1"), ("broken_module", "raise ImportError('broken')")]:
        (tmp_path / f"{name}.py").write_text(f"import os\nos.write(2, b'chatter')\n{end}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorflow")
    assert terminal.import_quietly("chatty_module").x == 1
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError, match="broken"):
        terminal.import_quietly("broken_module")
    assert capfd.readouterr().err == "chatter"


@pytest.mark.parametrize(
    "official, ours",
    [
        (  # of the official README
            "--train_mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 "
            "--weight_decay=1e-4 --temperature=0.5 --dataset=cifar10 --image_size=32 "
            "--eval_split=test --resnet_depth=18 --use_blur=False --color_jitter_strength=0.5 "
            "--model_dir=/tmp/simclr_test --use_tpu=False",
            "pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 "
            "--weight_decay=1e-4 --temperature=0.5 --dataset=cifar10 --image_size=32 "
            "--eval_split=test --resnet_depth=18 --use_blur=False --color_jitter_strength=0.5 "
            "--model_dir=/tmp/simclr_test --use_tpu=False --num_proj_layers=3",
        ),
        (
            "--mode=train_then_eval --train_mode=finetune --fine_tune_after_block=4 "
            "--zero_init_logits_layer=True "
            "--variable_schema='(?!global_step|(?:.*/|^)Momentum|head)' --global_bn=False "
            "--optimizer=momentum --learning_rate=0.1 --weight_decay=0.0 --train_epochs=100 "
            "--train_batch_size=512 --warmup_epochs=0 --dataset=cifar10 --image_size=32 "
            "--eval_split=test --checkpoint=/tmp/simclr_test --model_dir=/tmp/simclr_test_ft",
            "linear_eval --zero_init_logits_layer=True --global_bn=False --learning_rate=0.1 "
            "--weight_decay=0.0 --train_epochs=100 --train_batch_size=512 --dataset=cifar10 "
            "--image_size=32 --eval_split=test --checkpoint=/tmp/simclr_test "
            "--model_dir=/tmp/simclr_test_ft (without --fine_tune_after_block, "
            "--variable_schema, --optimizer, --warmup_epochs",
        ),
        (
            "--mode=train_then_eval --train_mode=finetune --fine_tune_after_block=-1 "
            "--train_summary_steps=0 --ft_proj_selector=1",
            "finetune --fine_tune_after_block=-1 --log_steps=0 --ft_proj_selector=1.",
        ),
    ],
)
def test_commands_of_the_official_code_are_translated(capsys, official, ours):
    assert door.main(shlex.split(official)) == 2
    said = capsys.readouterr().err
    assert f"write python -m simclr_tf {ours}" in said
    command = said.split("python -m simclr_tf ")[1].split(" (without")[0].strip().rstrip(".")
    mode, settings, _ = parse([*shlex.split(command), *["--checkpoint=x"] * ("ft_proj" in ours)])
    assert mode == ours.split()[0] and settings is not None


def test_quiet_prints_nothing_but_errors(capsys, tmp_path):
    assert door.main(["views", "--quiet", "--dry_run", f"--sheet={tmp_path}/views.png"]) == 0
    assert capsys.readouterr() == ("", "")
    assert door.main(["views", "--quiet", "--image_dir=/nowhere"]) == 3
    said = capsys.readouterr()
    assert said.out == "" and "/nowhere" in said.err


def test_a_notice_is_shown_once_whatever_a_package_does_to_the_root_logger(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    with terminal.notices_on_stderr():
        logging.basicConfig()  # as absl at its first message
        logging.getLogger("simclr_tf.data").warning("a class is missing")
    assert capsys.readouterr().err == "warning: a class is missing\n"
    assert terminal.LOGGER.propagate
