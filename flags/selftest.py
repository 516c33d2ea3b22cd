"""`--mode=selftest`: what it is for, and which settings it offers."""

from simclr_tf import config

CONFIG = config.Selftest
SUMMARY = "Check this machine: devices, parity of replicas and precisions, XLA, resume, rates."
SETTINGS = ("checks", "scratch_dir", "seed", "strategy", "logical_cpus")
SETTINGS += ("use_tpu", "tpu_name", "tpu_zone", "gcp_project")
REQUIRED = ()


def default_preset(values):
    """No preset: there is nothing to choose."""
    del values
    return None
