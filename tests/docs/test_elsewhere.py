"""Every command and snippet of docs/elsewhere.md, each in a process of its own."""

import importlib.util

import pytest

from tests import forking
from tests.docs.pages import blocks
from tests.tiny_run import save_tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.current_stack]

PAGE = "docs/elsewhere.md"
CODE = [block for block in blocks(PAGE) if block.language in ("sh", "python")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(folder with runs/demo, launcher): the blocks run in their order."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "runs").mkdir()
    save_tiny_run(folder)
    (folder / "run").rename(folder / "runs" / "demo")
    with forking.Launcher(folder) as launcher:
        yield folder, launcher


@pytest.mark.parametrize("number", range(len(CODE)))
def test_the_block_runs(place, number):
    folder, launcher = place
    block = CODE[number]
    if block.mark:
        package = block.mark.split()[-1]
        assert block.mark.startswith("needs "), block.mark
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    work = (
        [block.text]
        if block.language == "python"
        else [line.split()[3:] for line in block.commands]
    )
    if block.mark in ("needs jax", "needs torch") and importlib.util.find_spec("keras.ops") is None:
        pytest.skip("Keras 2 has one backend")
    for one in work:
        said = folder / "said.txt"
        assert launcher.run(one, said) == 0, f"{one}\n{said.read_text()[-3000:]}"
