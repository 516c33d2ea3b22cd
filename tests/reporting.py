"""What a test run says at its end, and in which order the files go to the processes.

`make test` ends with a sentence: what was tested on which TensorFlow, what was skipped and why.
Every test is charged with the CPU seconds of its process and of the processes that it started,
which other work on the machine does not change; `--record-seconds` writes them to seconds.txt,
from which the next run knows which files to start first.
"""

import collections
import contextlib
import ctypes
import faulthandler
import gc
import json
import pathlib
import platform
import resource
import sys

import pytest

SECONDS = pathlib.Path(__file__).with_name("seconds.txt")
HEADER = "# Seconds of each file, from which follows their order; see pytest --record-seconds."
SLOWEST = 10  # files and tests that `--show-seconds` names
STUCK = 900.0  # seconds after which a test will never end: the slowest takes a tenth of them
UNKNOWN = 20.0  # CPU seconds that a file without a figure may take


def add_options(parser):
    """Adds the options of this module."""
    group = parser.getgroup("simclr_tf")
    group.addoption(
        "--show-seconds", action="store_true", help="print the slowest files and tests, in CPU s"
    )
    group.addoption(
        "--record-seconds", action="store_true", help="write the CPU s of each file to seconds.txt"
    )
    group.addoption(
        "--add-totals", metavar="FILE", help="add the figures of the last line to a JSON file"
    )


def is_worker(config):
    """Whether this is one of several test processes."""
    return hasattr(config, "workerinput")


def is_leader(config):
    """Whether this process only hands tests to others, so that it needs no TensorFlow."""
    return not is_worker(config) and bool(getattr(config.option, "numprocesses", None))


def known_seconds():
    """{file: CPU seconds} as last recorded."""
    lines = SECONDS.read_text(encoding="utf-8").splitlines() if SECONDS.exists() else []
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {name: float(seconds) for seconds, name in pairs}


def longest_first(items):
    """Sorts tests by file, those files first that take longest: no process works alone at the end."""
    known = known_seconds()
    items.sort(key=lambda item: -known.get(file_of(item.nodeid), UNKNOWN))


def file_of(nodeid):
    """The file of a test, as pytest names it."""
    return nodeid.partition("::")[0]


def cpu_seconds():
    """CPU seconds of this process and of the processes that it waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mebibytes():
    """The most main memory that this process had at once, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def give_back_memory():
    """Frees the graphs of a file: Python would wait until a quarter of all objects is new."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # other C libraries have no such call
            ctypes.CDLL(None).malloc_trim(0)


class Reporting:
    """A plugin of pytest: collects the figures of all processes, and prints them."""

    def __init__(self, config):
        self.config = config
        self.left_out = 0
        self.stack = ""
        self.peaks = {}
        self.seconds = collections.Counter()  # of tests
        self.counted = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self._began = cpu_seconds()
        faulthandler.dump_traceback_later(STUCK, exit=True)  # the run ends and names the test
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item, nextitem):
        result = yield
        if nextitem is None or file_of(nextitem.nodeid) != file_of(item.nodeid):
            give_back_memory()
        item.user_properties.append(("cpu_seconds", round(cpu_seconds() - self._began, 3)))
        return result

    def pytest_deselected(self, items):
        self.left_out += len(items)

    def pytest_sessionfinish(self, session):
        if is_leader(self.config):
            return
        from simclr_tf.stack import tf

        self.stack = tf.__version__
        self.peaks["this process"] = peak_mebibytes()
        if is_worker(self.config):
            figures = {"left_out": self.left_out, "stack": self.stack, "peak": peak_mebibytes()}
            self.config.workeroutput["simclr_tf"] = figures

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        figures = getattr(node, "workeroutput", {}).get("simclr_tf")
        if figures:
            self.left_out = figures["left_out"]  # the same in every process
            self.stack = figures["stack"]
            self.peaks[node.gateway.id] = figures["peak"]

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown":
            self.seconds[report.nodeid] = dict(report.user_properties).get("cpu_seconds", 0.0)

    def pytest_terminal_summary(self, terminalreporter):
        if self.config.option.collectonly or is_worker(self.config):
            return  # a worker has a silent terminal too, and only its share of the tests
        by_file = collections.Counter()
        for nodeid, seconds in self.seconds.items():
            by_file[file_of(nodeid)] += seconds
        if self.config.option.record_seconds:
            _record(by_file)
        write = terminalreporter.write_line
        if self.config.option.show_seconds:
            write(f"CPU seconds: {sum(by_file.values()):.0f}, of the slowest files and tests:")
            for figures in (by_file, self.seconds):
                for name, seconds in figures.most_common(SLOWEST):
                    write(f"  {seconds:7.1f}  {name}")
        totals = self.totals(terminalreporter.stats)
        if self.config.option.add_totals:
            add_to_file(totals, self.config.option.add_totals)
        if self.peaks:
            each = ", ".join(f"{name} {peak:,.0f}" for name, peak in sorted(self.peaks.items()))
            write(f"peak memory in MiB: {each}")
        write(sentence(totals))

    def totals(self, stats):
        """What was tested, what was not, and why: a dict for `sentence`."""
        return {
            "stack": f"TensorFlow {self.stack}, Python {platform.python_version()}",
            "passed": len(stats.get("passed", ())),
            "files": len({file_of(nodeid) for nodeid in self.seconds}),
            "failed": [report.nodeid for report in stats.get("failed", ())],
            "error": [report.nodeid for report in stats.get("error", ())],
            "skipped": collections.Counter(_reason(report) for report in stats.get("skipped", ())),
            "left_out": self.left_out,
            "left_out_by": self.config.option.markexpr or self.config.option.keyword,
            "peak": sum(self.peaks.values()),
        }


def add_to_file(totals, path):
    """Adds totals of one run to those of the runs before it."""
    path = pathlib.Path(path)
    if path.exists() and path.stat().st_size:
        totals = sum_of(json.loads(path.read_text(encoding="utf-8")), totals)
    path.write_text(json.dumps(totals), encoding="utf-8")


def sum_of(one, other):
    """The totals of two runs, of which one came after the other."""
    both = {**one, **other, "peak": max(one["peak"], other["peak"])}
    for name in ("passed", "files", "failed", "error", "left_out"):
        both[name] = one[name] + other[name]
    both["skipped"] = collections.Counter(one["skipped"]) + collections.Counter(other["skipped"])
    return both


def sentence(totals):
    """What was tested, what was not, and why, in one line."""
    files = totals["files"]
    words = [f"{totals['stack']}: "]
    words.append(
        f"{totals['passed']:,} tests passed, of {files} {'file' if files == 1 else 'files'}"
    )
    for kind, name in (("failed", "failed"), ("error", "could not start")):
        if totals[kind]:
            words.append(f", {len(totals[kind])} {name}")
    for reason, count in collections.Counter(totals["skipped"]).most_common():
        words.append(f"; {count} skipped: {reason}")
    if totals["left_out"]:
        kind = totals["left_out_by"]
        hint = " (make test-all runs every test)" if "slow" in kind else ""
        words.append(f"; {totals['left_out']} left out by '{kind}'{hint}")
    return "".join(words)


def _reason(report):
    """Why a test was skipped."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def _record(by_file):
    """Replaces the figures of the files that ran; those of files that are gone go."""
    root = SECONDS.parents[1]
    figures = {name: known for name, known in known_seconds().items() if (root / name).exists()}
    figures.update(by_file)
    lines = [HEADER]
    for name, seconds in sorted(figures.items(), key=lambda pair: (-round(pair[1]), pair[0])):
        lines.append(f"{seconds:.0f} {name}")
    SECONDS.write_text("\n".join(lines) + "\n", encoding="utf-8")
