"""Prints how far R replicas are from one: run by test_training.py in a process of its own.

One process can hold one MirroredStrategy graph only, so each replica count gets a new process.
Usage: python -m tests.replica_parity REPLICAS
"""

import json
import sys

from simclr_tf.selftest import parity
from simclr_tf.stack import tf


def main(replicas):
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, logical)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    print(json.dumps(parity.replica_errors(strategy)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
