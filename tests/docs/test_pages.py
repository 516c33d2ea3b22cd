"""README.md and docs/: links, tables, flags and the syntax of every command, in a moment."""

import ast
import re
import shlex

import pytest
from simclr_tf.flags import preset_files
from simclr_tf.flags.parse import parse

from simclr_tf import errors
from simclr_tf.config import MODES
from tests.docs.pages import MARKS, PAGES, ROOT, blocks, read

pytestmark = pytest.mark.one_stack

FLAGS = {name for mode in MODES.values() for name in mode.settings}
FRONT = {"quiet", "mode", "preset", "help", "helpfull", "version"}

# every flag of run.py of the official code, TensorFlow 2 and 1, at commit 383d414
OFFICIAL_FLAGS = """
batch_norm_decay cache_dataset checkpoint checkpoint_epochs checkpoint_steps color_jitter_strength
data_dir dataset eval_batch_size eval_name eval_split eval_steps fine_tune_after_block
ft_proj_selector gcp_project global_bn hidden_norm image_size keep_checkpoint_max
keep_hub_module_max learning_rate learning_rate_scaling lineareval_while_pretraining master mode
model_dir momentum num_proj_layers optimizer proj_head_mode proj_out_dim resnet_depth se_ratio
sk_ratio temperature tpu_name tpu_zone train_batch_size train_epochs train_mode train_split
train_steps train_summary_steps use_blur use_tpu variable_schema warmup_epochs weight_decay
width_multiplier zero_init_logits_layer
""".split()


def check_command(line):
    """Fails unless a line of a sh block could be run."""
    words = shlex.split(line)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert words[1] in targets, line
    elif words[0] in ("simclr-tf", "python") and "simclr_tf" in words[:3] + words[:1]:
        try:
            # a file of the user is written by a command before
            parse([re.sub(r"^--preset=.*[.]flags$", "--preset=auto", word) for word in words[3:]])
        except SystemExit as done:
            assert done.code in (0, None), line
    elif words[:3] == ["python", "-m", "pytest"]:
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/")), line
    elif words[:2] == ["python", "-m"]:
        source = (ROOT / f"{words[2].replace('.', '/')}.py").read_text(encoding="utf-8")
        for word in words[3:]:
            name = word.split("=")[0]
            assert f'"{name}"' in source or f'("{name[2:]}"' in source, line
    else:
        assert words == [".", ".venv/bin/activate"], line


@pytest.mark.parametrize("page", PAGES)
def test_every_command_has_valid_flags(page, capsys):
    for block in blocks(page):
        if block.language == "sh" and block.mark != "not run":
            for line in block.commands:
                check_command(line)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_known_and_every_snippet_is_python(page):
    for block in blocks(page):
        assert block.language in ("sh", "python", "text"), block
        assert block.mark in ("", *MARKS), block
        if block.language == "python":
            ast.parse(block.text)


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_leads_to_a_file(page):
    here = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", read(page)):
        generated = target.startswith("reference/")  # by `make docs`, see docs/site_pages.py
        assert generated or (here / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_that_a_sentence_names_exists(page):
    text = re.sub(r"```.*?^```|`run\.py[^`]*`", "", read(page), flags=re.S | re.M)
    for name in re.findall(r"`[^`]*?--(\w+)", text):
        bare = name[2:] if name.startswith("no") else name
        elsewhere = (
            "logdir",
            "output",
            "json",
            "show",
            "record",
            "format",
        )  # TensorBoard, benchmarks, pytest
        assert name in FLAGS | FRONT or bare in FLAGS or name in elsewhere, name


def test_the_tables_are_complete():
    assert all(f"| `{name}` |" in read("README.md") for name in MODES)
    assert all(f"`{name}`" in read("docs/pretraining.md") for name in preset_files.preset_names())
    exits = read("docs/troubleshooting.md")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert all(f"\n| {kind.exit_code} |" in exits for kind in kinds)
    official = read("docs/from-official.md")
    rows = " ".join(re.findall(r"^\|(.*?)\|", official, re.M))
    assert [name for name in OFFICIAL_FLAGS if f"`{name}`" not in rows] == []


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
