"""Running a function on the replicas of a strategy, each with rows of its own."""

import numpy as np

from simclr_tf.stack import tf


def split_rows(strategy, rows):
    """The rows cut into equal parts, one per replica: a per-replica value for `strategy.run`."""
    parts = np.split(np.asarray(rows), strategy.num_replicas_in_sync)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def run_on_replicas(strategy, function, *rows):
    """Runs `function` with each array of `rows` split; returns one NumPy structure a replica."""
    step = tf.function(lambda *args: strategy.run(function, args=args), autograph=False)
    results = step(*[split_rows(strategy, array) for array in rows])
    flat = [strategy.experimental_local_results(leaf) for leaf in tf.nest.flatten(results)]
    return [
        tf.nest.pack_sequence_as(results, [leaf[replica].numpy() for leaf in flat])
        for replica in range(strategy.num_replicas_in_sync)
    ]
