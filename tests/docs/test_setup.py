"""Set-up: `.ci/setup`, the Makefile and requirements.txt, without installing anything."""

import ast
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.one_stack

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
PACKAGE_OF_MODULE = {
    "absl": "absl-py",
    "google": "protobuf",
    "mlflow": "mlflow-skinny",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tf_keras": "tf-keras",
    "umap": "umap-learn",
}

# A Python that claims another version, and whose `-m venv` makes an environment with a pip that
# only writes down what it was asked for.
FAKE_PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then
    code="import sys; sys.version_info = {version} + ('final', 0)
$2"
    exec {real} -c "$code"
fi
case "$*" in
"-m venv "*)
    [ ! -f no_venv ] || exit 1
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    touch "$3/pyvenv.cfg" ;;
"-m pip install "*)
    echo installed >>installs
    [ ! -f broken_network ] || exit 1 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the set-up script, requirements and a `bin` of fake Pythons."""
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir(parents=True)
    (folder / "bin").mkdir()
    shutil.copy(ROOT / ".ci" / "setup", folder / ".ci" / "setup")
    shutil.copy(ROOT / "requirements.txt", folder / "requirements.txt")
    for tool in "sh dirname cksum cat ls rm mkdir cp touch grep tail".split():
        (folder / "bin" / tool).symlink_to(shutil.which(tool))
    return folder


def add_python(checkout, name, version):
    path = checkout / "bin" / name
    path.write_text(FAKE_PYTHON.format(version=version, real=sys.executable))
    path.chmod(0o755)


def set_up(checkout, *python):
    """Runs the script with only the fake Pythons on the PATH."""
    return subprocess.run(
        [str(checkout / ".ci" / "setup"), ".venv", *python],
        env={"PATH": str(checkout / "bin")},
        capture_output=True,
        text=True,
    )


def installs(checkout):
    log = checkout / "installs"
    return len(log.read_text().split()) if log.exists() else 0


def test_a_second_run_installs_nothing(checkout):
    add_python(checkout, "python3", (3, 11, 7))
    first = set_up(checkout)
    second = set_up(checkout)
    assert first.returncode == second.returncode == 0, first.stderr
    assert "installing requirements.txt into .venv with Python 3.11.7" in first.stdout
    assert second.stdout == "" and installs(checkout) == 1


def test_other_requirements_or_another_python_install_again(checkout):
    add_python(checkout, "python3", (3, 11, 7))
    add_python(checkout, "python3.12", (3, 12, 1))
    set_up(checkout)
    with open(checkout / "requirements.txt", "a") as file:
        file.write("# changed\n")
    assert set_up(checkout, "python3").returncode == 0 and installs(checkout) == 2
    assert "Python 3.12.1" in set_up(checkout, "python3.12").stdout
    assert installs(checkout) == 3
    assert set_up(checkout).stdout == "", "without PYTHON the environment that is there stays"
    assert installs(checkout) == 3


def test_an_interrupted_installation_is_repaired(checkout):
    add_python(checkout, "python3", (3, 11, 7))
    (checkout / "broken_network").touch()
    failed = set_up(checkout)
    assert failed.returncode == 1 and "pip could not install" in failed.stderr
    (checkout / "broken_network").unlink()
    assert set_up(checkout).returncode == 0
    assert installs(checkout) == 2


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 14, 0), (2, 7, 18)])
def test_an_unsupported_python_is_one_sentence(checkout, version):
    add_python(checkout, "python3", version)
    for arguments in ([], ["python3"]):
        done = set_up(checkout, *arguments)
        assert done.returncode == 1
        assert "3.9 to 3.13" in done.stderr and ".".join(map(str, version)) in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


def test_the_first_suitable_python_is_taken(checkout):
    (checkout / "bin" / "python3.11").write_text("#!/bin/sh\nexit 127\n")  # a dead pyenv name
    (checkout / "bin" / "python3.11").chmod(0o755)
    add_python(checkout, "python3", (3, 14, 0))
    add_python(checkout, "python3.12", (3, 12, 1))
    assert "with Python 3.12.1" in set_up(checkout).stdout


def test_no_python_and_a_wrong_name_are_one_sentence(checkout):
    missing = set_up(checkout)
    wrong = set_up(checkout, "python3.11")
    assert missing.returncode == wrong.returncode == 1
    assert "found: nothing" in missing.stderr and missing.stderr.count("\n") == 1
    assert "PYTHON=python3.11 cannot be run" in wrong.stderr and wrong.stderr.count("\n") == 1


def test_a_folder_that_is_no_environment_is_left_alone(checkout):
    add_python(checkout, "python3", (3, 11, 7))
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "letter").write_text("keep me")
    assert "not a virtual environment" in set_up(checkout).stderr
    assert (checkout / ".venv" / "letter").read_text() == "keep me"


def test_an_environment_that_make_did_not_make_is_left_alone(checkout):
    add_python(checkout, "python3", (3, 11, 7))
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "pyvenv.cfg").write_text("of the user")
    for arguments in ([], ["python3"]):
        refused = set_up(checkout, *arguments)
        assert refused.returncode == 1 and "VENV=.venv-new" in refused.stderr
    assert (checkout / ".venv" / "pyvenv.cfg").read_text() == "of the user"
    assert not installs(checkout)


def test_of_a_link_to_an_environment_only_the_link_is_replaced(checkout, tmp_path):
    add_python(checkout, "python3", (3, 11, 7))
    set_up(checkout)
    (checkout / ".venv").rename(tmp_path / "shared")
    (checkout / ".venv").symlink_to(tmp_path / "shared")
    (checkout / "requirements.txt").write_text("# changed\n")
    assert set_up(checkout).returncode == 0
    assert (tmp_path / "shared" / "bin" / "python").exists()
    assert not (checkout / ".venv").is_symlink()


def test_a_set_up_that_stopped_before_the_environment_was_whole_is_repeated(checkout):
    add_python(checkout, "python3", (3, 11, 7))
    (checkout / "no_venv").touch()
    assert "cannot make a virtual environment" in set_up(checkout).stderr
    (checkout / "no_venv").unlink()
    assert set_up(checkout).returncode == 0


def pins(python, name="requirements.txt"):
    """{package: version} that a requirements file asks for on a Python; one pin per package."""
    from packaging.requirements import Requirement

    found = {}
    for line in (ROOT / name).read_text().splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        requirement = Requirement(line)
        version = {"python_version": python, "python_full_version": f"{python}.0"}
        if requirement.marker is None or requirement.marker.evaluate(version):
            assert requirement.name not in found
            found[requirement.name] = str(requirement.specifier)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_once(python):
    found = pins(python)
    assert all(re.fullmatch(r"==[0-9.]+", version) for version in found.values())
    classic = python in ("3.9", "3.10", "3.11")
    assert found["tensorflow"] == ("==2.15.1" if classic else "==2.21.0")
    assert found["tf-keras"] == found["tensorflow"]
    assert ("tensorflow-addons" in found) == classic


def test_this_environment_is_what_requirements_ask_for():
    from importlib.metadata import version

    found = pins("%d.%d" % sys.version_info[:2])
    packages = ("tensorflow", "tf-keras", "tensorflow-datasets", "tensorflow-hub", "scikit-learn")
    assert {name: "==" + version(name) for name in packages} == {
        name: found[name] for name in packages
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_every_imported_package_is_a_requirement(python):
    from tests.test_layers import SHIPPED, imports, is_standard

    ours = {
        "simclr_tf",
        "flags",
        "export",
        "tests",
        "benchmarks",
        *(path.stem for path in [*SHIPPED, *(ROOT / "tests").rglob("*.py")]),
    }
    found = pins(python)
    extras = re.findall(r"^([\w-]+)==", (ROOT / "requirements-export.txt").read_text(), re.M)
    assert "onnxruntime" in extras
    extras += re.findall(r"^([\w-]+)==", (ROOT / "requirements-tools.txt").read_text(), re.M)
    optional = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    extras += re.findall(r'^[\w-]+ = \["([\w-]+)', optional.split("\n[")[0], re.M)
    assert "pillow-heif" in extras and "ruff" in extras
    for path in [*SHIPPED, *(ROOT / "tests").rglob("*.py")]:
        for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            head = name.split(".")[0]
            package = PACKAGE_OF_MODULE.get(head, head.replace("_", "-"))
            known = head in ours or is_standard(head) or package in found or package in extras
            assert known or (head == "tensorflow_addons" and python > "3.11"), f"{path}: {name}"


def dry_make(*arguments):
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_make_runs_the_set_up_first():
    for target in ("demo", "test"):
        lines = dry_make(target, "VENV=.venv-x", "PYTHON=python3.12").splitlines()
        assert lines[0] == ".ci/setup '.venv-x' 'python3.12'"
        assert all(line.startswith(".venv-x/bin/python -m ") for line in lines[1:])


def test_make_demo_is_photographs_then_digits_with_export_and_report():
    lines = dry_make("demo")
    modes = re.findall(r"--mode=(\w+)", lines)
    assert modes == ["pretrain", "linear_eval", "pretrain", "linear_eval", "export", "report"]
    assert lines.index("simclr_tf.data.photographs") < lines.index("--image_dir=")


CI_MAKE = '#!/bin/sh\necho "make $* other: $SIMCLR_TF_OTHER_PYTHON"\n'
CI_MAKE += 'case "$*" in *{failing}*) exit 2 ;; esac\n'


def run_ci(checkout, failing="nothing"):
    shutil.copy(ROOT / ".ci" / "run", checkout / ".ci" / "run")
    make = checkout / "bin" / "make"
    make.write_text(CI_MAKE.format(failing=failing))
    make.chmod(0o755)
    return subprocess.run(
        [str(checkout / ".ci" / "run")],
        env={"PATH": str(checkout / "bin")},
        capture_output=True,
        text=True,
    )


def test_ci_tests_both_stacks_and_fails_if_either_fails(checkout):
    add_python(checkout, "python3.11", (3, 11, 7))
    add_python(checkout, "python3.12", (3, 12, 1))
    good = run_ci(checkout)
    assert good.returncode == 0
    assert "PYTHON=python3.11" in good.stdout and "PYTHON=python3.12" in good.stdout
    assert "VENV=.venv-py3.11" in good.stdout and "VENV=.venv-py3.12" in good.stdout
    tests = re.findall("^make .* test-all .*", good.stdout, re.M)
    for line, other in zip(tests, ("3.12", "3.11")):
        assert line.endswith(f"other: {checkout}/.venv-py{other}/bin/python")
    assert '-m "not current_stack"' in tests[0] and '-m "not one_stack"' in tests[1]
    for version in ("3.11", "3.12"):
        bad = run_ci(checkout, failing=f"PYTHON=python{version}")
        assert bad.returncode == 1 and f"FAILED on Python {version}" in bad.stdout
        assert bad.stdout.count("make --no-print-directory test-all") == 2, "both are tested"


def test_ci_says_loudly_that_the_second_python_is_missing(checkout):
    add_python(checkout, "python3.11", (3, 11, 7))
    done = run_ci(checkout)
    assert done.returncode == 0
    assert "WARNING: PYTHON 3.12 IS MISSING" in done.stdout
    (tests,) = re.findall("^make .* test-all .*", done.stdout, re.M)
    assert tests.endswith("other: ")
    assert "PYTHON=python3.11" in done.stdout and "not current_stack" not in done.stdout


def test_ci_finds_pythons_of_pyenv(checkout):
    versions = checkout / "pyenv" / "versions"
    for version in ((3, 11, 7), (3, 12, 1)):
        name = "%d.%d.%d" % version
        (versions / name / "bin").mkdir(parents=True)
        add_python(checkout, "python", version)
        (checkout / "bin" / "python").rename(versions / name / "bin" / "python")
    (checkout / "bin" / "pyenv").write_text(f"#!/bin/sh\necho {checkout / 'pyenv'}\n")
    (checkout / "bin" / "pyenv").chmod(0o755)
    done = run_ci(checkout)
    assert done.returncode == 0
    assert "versions/3.11.7/bin/python" in done.stdout
    assert "versions/3.12.1/bin/python" in done.stdout
