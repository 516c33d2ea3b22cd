"""Everything that is measured on a lent GPU, in one command with a time limit.

`--lower` writes the programs on a machine with TensorFlow. Copy that folder and benchmarks/ to the machine
with the GPU, which needs jax and PyTorch, and run the rest there. The figures so far are always in
figures.json, most important cases first, so a session that is cut short still has them.

    python -m benchmarks.gpu_session --lower --folder=lowered
    python -m benchmarks.gpu_session --folder=lowered --output=figures --seconds=540

Every case is a process. First several of them compile side by side, each waits when it is ready; those
that are not ready in time are given up. Then one after another has the GPU for itself, PyTorch right
after ours. Each compilation tries kernels on the GPU: seven at a time ran out of 80 GB.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

from benchmarks import timing

FULL = "mixed_bfloat16", "float32"
# (encoder, image size, batch, precision): most important first
STEPS = [
    ("resnet50", 224, 256, FULL[0]),
    ("resnet18", 32, 2048, FULL[0]),
    ("resnet50", 224, 256, FULL[1]),
    ("resnet18", 32, 2048, FULL[1]),
    ("resnet50", 224, 512, FULL[0]),
    ("resnet18", 32, 4096, FULL[0]),
    ("resnet50", 224, 64, FULL[0]),
    ("resnet18", 32, 512, FULL[0]),
    ("resnet50", 224, 128, FULL[0]),
    ("resnet18", 32, 1024, FULL[0]),
    ("resnet50", 224, 512, FULL[1]),
    ("resnet18", 32, 4096, FULL[1]),
    ("resnet50", 224, 64, FULL[1]),
    ("resnet18", 32, 512, FULL[1]),
    ("resnet50", 224, 128, FULL[1]),
    ("resnet18", 32, 1024, FULL[1]),
]
DETAILED = STEPS[:2]  # with the parts of the step
TORCH_ORDER = [0, 1, 6, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15]  # no two large ones at once
PAIRS = (4096, 65536)
LOSSES = [
    *[("loss", f"loss_{pairs}") for pairs in PAIRS],
    *[("loss_exact", f"loss_{pairs}") for pairs in PAIRS],
    *[(where, f"replica_loss_{PAIRS[-1]}") for where in ("loss", "loss_512")],
]


def name_of(encoder, image_size, batch, precision):
    """Name of the folder of a step's programs."""
    return f"{encoder}_{image_size}_{batch}_{precision}"


def lower_commands(folder):
    """The commands that lower all cases, each for a process of its own."""
    head = [sys.executable, "-m", "benchmarks.lowered_step"]
    commands = [
        [*head, "--parts=loss,replica_loss", f"--output={folder}/loss"],
        [*head, "--parts=loss", "--exact_products", f"--output={folder}/loss_exact"],
        [*head, "--parts=replica_loss", "--block_size=512", f"--output={folder}/loss_512"],
    ]
    smallest = [
        case for case in STEPS if case[:3] in (("resnet50", 224, 64), ("resnet18", 32, 512))
    ]
    for case in STEPS:
        encoder, image_size, batch, precision = case
        parts = "step,views,embed,step_without_bn" if case in DETAILED else "step"
        reference = "auto" if case in DETAILED or case in smallest else "none"
        options = [f"--encoder={encoder}", f"--image_size={image_size}", f"--batch={batch}"]
        options += [f"--precision={precision}", f"--parts={parts}", f"--reference={reference}"]
        commands.append([*head, *options, f"--output={folder}/{name_of(*case)}"])
    return commands


class Case:
    """One process, which compiles, waits, and measures.

    Args:
        name: in the figures.
        module: of benchmarks, with the flag --wait.
        options: of its command line.
    """

    def __init__(self, name, module, *options):
        self.name = name
        self.command = [sys.executable, "-m", f"benchmarks.{module}", *options, "--wait"]
        self.process = None
        self.errors = tempfile.TemporaryFile("w+")
        self.state = "not started"

    def prepare(self):
        """Starts the process and returns when it is ready, failed or stopped."""
        self.state = "compiling"
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )  # fmt: skip
        for line in self.process.stdout:
            if line.startswith('{"ready"'):
                self.state = "ready"
                print(f"ready: {self.name}, {json.loads(line)['ready']:.1f} s", flush=True)
                return
        self.state = "failed"
        print(f"failed: {self.name}: {self.last_error()}", flush=True)

    def last_error(self):
        """The last line that the process wrote to stderr."""
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1][:300] if lines else "stopped"

    def measure(self, timeout):
        """The figures of a ready process: dict, {"failed": one line} if there are none."""
        if self.state != "ready":
            return {"failed": self.last_error() if self.state == "failed" else self.state}
        try:
            out, _ = self.process.communicate("\n", timeout)
        except subprocess.TimeoutExpired:
            return {"failed": f"more than {timeout:.0f} s"}
        if self.process.returncode:
            return {"failed": self.last_error()}
        return json.loads(out.strip().splitlines()[-1])

    def stop(self):
        """Ends the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def prepare_all(cases, lanes, seconds):
    """Compiles the cases, at most `lanes` at a time; gives up those that take longer than `seconds`.

    Args:
        cases: list of Case, in the order in which they start.
        lanes: int.
        seconds: float.
    Returns:
        list of threads; join them.
    """
    waiting = collections.deque(cases)
    ends = time.monotonic() + seconds

    def lane():
        while waiting and time.monotonic() < ends - 10:
            try:
                case = waiting.popleft()
            except IndexError:
                return
            case.prepare()

    def watch():
        time.sleep(seconds)
        for case in cases:
            if case.state == "compiling":
                case.stop()

    threads = [threading.Thread(target=lane) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    threading.Thread(target=watch, daemon=True).start()
    return threads


def all_cases(folder, rounds):
    """Cases of ours and of PyTorch, and all in the order in which they are measured.

    Args:
        folder: of the lowered programs.
        rounds: options of the measurement.
    Returns:
        {name: Case} of ours in the order of compiling, of PyTorch likewise, and the list of names.
    """
    ours = {}
    torch = {}

    def add(where, program, profile=0):
        name = f"{where} {program}"
        options = [os.path.join(folder, where), "--case", program, "--profile", str(profile)]
        ours[name] = Case(name, "run_lowered", *options, *rounds)

    def add_torch(case):
        encoder, image_size, batch, precision = case
        name = f"{name_of(*case)} torch"
        options = [f"--encoder={encoder}", f"--image_size={image_size}", f"--batch={batch}"]
        torch[name] = Case(name, "torch_step", *options, f"--precision={precision}", *rounds)

    for case in DETAILED:
        add(name_of(*case), "step", profile=120)
    for program in ("views", "step_without_bn", "embed"):
        for case in DETAILED:
            add(name_of(*case), program)
    for where, program in LOSSES:
        add(where, program)
    for case in STEPS[len(DETAILED) :]:
        add(name_of(*case), "step")
    for case in TORCH_ORDER:
        add_torch(STEPS[case])
    few = f"torch loss_{PAIRS[0]}"  # the matrix of the many has 64 GiB
    torch[few] = Case(few, "torch_step", f"--loss_only={PAIRS[0]}", *rounds)
    order = []
    for case in STEPS:
        order.append(f"{name_of(*case)} step")
        order.append(f"{name_of(*case)} torch")
        if case in DETAILED:
            order += [f"{name_of(*case)} {p}" for p in ("views", "step_without_bn", "embed")]
        if case == DETAILED[-1]:
            order += [f"{where} {program}" for where, program in LOSSES]
            order.append(few)
    return ours, torch, [name for name in order if name in ours or name in torch]


def short(figures):
    """A line about the figures of a case."""
    if "failed" in figures:
        return "failed: " + figures["failed"]
    parts = [f"{1000 * figures['seconds']:.2f} ms", f"{figures['images_per_second']:.0f} images/s"]
    parts += [f"compile {figures['compile_seconds']:.1f} s"]
    for key in ("needed_mib", "peak_mib"):
        if figures.get(key) is not None:
            parts.append(f"{key[:-4]} {figures[key]:.0f} MiB")
    if figures.get("peak_tflops"):
        parts.append(f"{figures['tflops'] / figures['peak_tflops']:.1%} of peak")
    if figures.get("error") is not None:
        parts.append(f"error {figures['error']:.1e}")
    if not figures.get("passed", True):
        parts.append("WRONG")
    return ", ".join(parts)


def session(arguments):
    """Compiles and measures; figures.json has what was measured so far."""
    ends = time.monotonic() + arguments.seconds
    # so that several processes fit on the device at once, and the peak is what was used
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "6")  # of each of several processes
    os.makedirs(arguments.output, exist_ok=True)
    path = os.path.join(arguments.output, "figures.json")
    ours, torch, order = all_cases(arguments.folder, ["--rounds", "5", "--seconds", "0.5"])
    if arguments.only:
        wanted = arguments.only.split(",")
        ours, torch = ({k: v for k, v in d.items() if k in wanted} for d in (ours, torch))
        order = [name for name in order if name in wanted]
    cases = {**ours, **torch}
    figures = {}
    try:
        threads = prepare_all(list(ours.values()), arguments.jobs, arguments.compile_seconds)
        threads += prepare_all(
            list(torch.values()), arguments.torch_jobs, arguments.compile_seconds
        )
        for thread in threads:
            thread.join()
        for name in order:
            left = ends - time.monotonic()
            if left < 5:
                break
            figures[name] = cases[name].measure(min(60.0, left - 2))
            cases[name].stop()
            timing.write_json(path, figures)
            print(f"{name}: {short(figures[name])}", flush=True)
    finally:
        for case in cases.values():
            case.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", default="lowered", help="Of the lowered programs.")
    parser.add_argument("--lower", action="store_true", help="Write the folder and stop.")
    parser.add_argument("--output", default="", help="Folder for figures.json.")
    parser.add_argument("--seconds", type=float, default=540.0, help="Time limit.")
    parser.add_argument("--compile_seconds", type=float, default=300.0, help="Of these.")
    parser.add_argument("--jobs", type=int, default=2, help="Programs compiled at a time.")
    parser.add_argument("--torch_jobs", type=int, default=1, help="PyTorch steps likewise.")
    parser.add_argument("--only", default="", help="Names of cases, comma-separated.")
    arguments = parser.parse_args()
    if arguments.lower:
        for command in lower_commands(arguments.folder):
            subprocess.run(command, check=True)
        return
    if not arguments.output:
        raise SystemExit("--output is missing: give a folder for figures.json.")
    session(arguments)


if __name__ == "__main__":
    main()
