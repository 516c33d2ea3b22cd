"""Prints how far the cached gradient of two replicas is from the direct one of one device.

Run by test_gradient_cache.py in a process of its own: python -m tests.gradient_cache_parity
"""

import json

from simclr_tf.stack import tf
from simclr_tf.training import gradient_cache
from tests import test_gradient_cache as single


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    direct = single.build(single.PlainEncoder, "none")
    start = single.weights(direct)
    direct.train_step(single.batch_of())
    with strategy.scope():
        model = single.build(single.PlainEncoder, "none")
    shape = (single.PARTS, 2, single.ROWS // 2, 12)
    cache = gradient_cache.GradientCache(model, strategy, shape)
    dataset = tf.data.Dataset.from_tensors(single.batch_of())
    iterator = iter(strategy.experimental_distribute_dataset(dataset))
    tf.function(lambda it: cache.run(next(it)))(iterator)
    error = single.relative(single.weights(model) - start, single.weights(direct) - start)
    print(json.dumps({"gradient": float(error)}))


if __name__ == "__main__":
    main()
