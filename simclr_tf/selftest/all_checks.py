"""All checks by name, one after the other, and their table."""

import time

from simclr_tf.errors import first_line
from simclr_tf.evaluation.results import plain_table
from simclr_tf.selftest import checks, rates, resume

# resume is the last one: it makes all kernels deterministic, which would slow down the others
CHECKS = {
    "devices": checks.devices,
    "replicas": checks.replicas,
    "precision": checks.precision,
    "xla": checks.xla,
    "rates": rates.rates,
    "resume": resume.resume,
}


def run_checks(job, wanted):
    """The outcomes of the checks with the names `wanted`, in the order of CHECKS.

    Args:
        job: checks.Job; wanted: names.
    Returns:
        list of checks.Outcome.
    """
    outcomes = []
    for name, check in CHECKS.items():
        if name in wanted:
            outcomes += _outcomes(name, check, job)
    return outcomes


def _outcomes(name, check, job):
    """The outcomes of a check; what it cannot even compute is a failure of that check alone."""
    began = time.monotonic()
    print(f"checking {name}", end="", flush=True)
    try:
        return check(job)
    except Exception as error:
        words = first_line(error)
        return [checks.Outcome(name, False, "error", f"{type(error).__name__}: {words}")]
    finally:
        print(f": {time.monotonic() - began:.0f} s", flush=True)


def table(outcomes):
    """The outcomes as text: check, result, figure, what the figure is."""
    rows = [[one.name, "pass" if one.passed else "FAIL", one.figure] for one in outcomes]
    lines = plain_table(["check", "result", "figure"], rows).splitlines()
    meanings = ["", "", *(one.meaning for one in outcomes)]
    return "\n".join(f"{line}  {words}".rstrip() for line, words in zip(lines, meanings))
