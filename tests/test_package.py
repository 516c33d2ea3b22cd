"""The installed package: one top-level name, a command, and ranges that hold the tested pins."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ("simclr_tf", "flags", "export", "pyproject.toml", "setup.py", "README.md", "LICENSE")
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
TINY = [
    "--preset=none",
    "--image_size=8",
    "--resnet_depth=10",
    "--width_multiplier=0.0625",
    "--proj_out_dim=8",
    "--train_batch_size=16",
    "--train_steps=2",
    "--warmup_epochs=0",
    "--effective_rank_steps=0",
]


def requirements(name):
    """The lines of a requirements file, parsed."""
    lines = (ROOT / name).read_text().splitlines()
    lines = [line.split("#")[0].strip() for line in lines]
    return [Requirement(line) for line in lines if line]


def project():
    """The table [project] of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def for_python(wanted, version):
    """{package: specifier} of the requirements that hold on a Python."""
    chosen = [one for one in wanted if not one.marker or one.marker.evaluate({"python_version": version})]  # fmt: skip
    return {one.name.lower().replace("_", "-"): one.specifier for one in chosen}


@pytest.mark.parametrize("version", PYTHONS)
def test_the_ranges_hold_the_pins_and_no_test_tools(version):
    ranges = for_python([Requirement(line) for line in project()["dependencies"]], version)
    pins = for_python(requirements("requirements.txt"), version)
    assert set(ranges) <= set(pins)
    assert not {"pytest", "pytest-xdist", "ruff"} & set(ranges)
    for name, specifier in ranges.items():
        assert not str(specifier).startswith("=="), name
        (pin,) = pins[name]
        assert specifier.contains(pin.version), (name, specifier, pin)


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize(
    "extra, file",
    [
        ("onnx", "requirements-export.txt"),
        ("test", "requirements.txt"),
        ("mlflow", "requirements-trackers.txt"),
        ("wandb", "requirements-trackers.txt"),
    ],
)
def test_the_extras_hold_the_pins(version, extra, file):
    lines = project()["optional-dependencies"][extra]
    ranges = for_python([Requirement(line) for line in lines], version)
    pins = for_python(requirements(file), version)
    for name, specifier in ranges.items():
        (pin,) = pins[name]
        assert specifier.contains(pin.version), (name, specifier, pin)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without network from a copy of the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(copy / "out"), str(copy)], check=True)
    (path,) = (copy / "out").glob("*.whl")
    return path


def test_the_wheel_holds_one_package_with_presets_and_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"simclr_tf"}
    ours = [path.relative_to(ROOT / "simclr_tf") for path in (ROOT / "simclr_tf").rglob("*.py")]
    assert {f"simclr_tf/{path}" for path in ours} <= set(names)
    assert "simclr_tf/py.typed" in names
    assets = [path.name for path in (ROOT / "simclr_tf" / "report" / "assets").iterdir()]
    assert {"page.js", "page.css", "LICENSE", "NOTICE"} <= set(assets)
    assert {f"simclr_tf/report/assets/{name}" for name in assets} <= set(names)
    for folder in ("flags", "export"):
        inside = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".flags")]
        assert {f"simclr_tf/{path.relative_to(ROOT)}" for path in inside} <= set(names)
    if (ROOT / "LICENSE").exists():
        assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.one_stack
@pytest.mark.slow
def test_an_installed_package_works_beside_modules_named_flags_and_export(wheel, tmp_path):
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    libraries = {"base": str(home), "platbase": str(home)}
    site = pathlib.Path(sysconfig.get_path("purelib", "venv", vars=libraries))
    (site / "installed_here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)

    mine = tmp_path / "mine"
    (mine / "export").mkdir(parents=True)
    for name in ("flags.py", "export/__init__.py"):
        (mine / name).write_text("raise SystemExit('somebody else was imported')\n")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def command(*arguments):
        done = subprocess.run(
            [*map(str, arguments)], cwd=mine, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = command(python, "-c", "import simclr_tf.flags as f; print(f.__file__)")
    assert where.startswith(str(site))
    command(home / "bin" / "simclr-tf", "pretrain", *TINY, "--model_dir=run")
    command(python, "-m", "simclr_tf", "export", "--checkpoint=run")
    assert (mine / "run" / "saved_model" / "2" / "saved_model.pb").exists()
