"""How many workers of a data service an accelerator needs, and a simulation of many readers.

Part `input` of `benchmarks.scaling`. The rates of one core are measured here: reading records from a
TFRecord shard, and making two views of 224 pixels from JPEGs of 500x375. The rate of an accelerator
is on paper: its peak, the share of it that is reached, and the operations of ResNet-50. The simulation
uses the planning of `simclr_tf.data.shards.units` and `data.order.Share` as they are, with the sizes
of 1,000 shards made up and nothing read.
"""

import os
import statistics
import tempfile
import time

import numpy as np

from benchmarks import timing

FLOP_PER_IMAGE = 2 * 4.1e9 * 3 * 2  # ResNet-50, 224 pixels: multiply-adds, 3 passes, 2 views
ACCELERATORS = {
    # replicas, peak FLOP/s of one in bfloat16, share of it reached
    "1 H100": (1, 989e12, 0.3),
    "TPU v5e-8": (8, 197e12, 0.3),
    "32 TPU v3 cores": (32, 61.5e12, 0.3),
}
WORKER_CORES = 16
BATCH = 4096
SHARDS = 1000
IMAGES_PER_SHARD = 1281  # ImageNet has 1.28 million images
IMAGE_BYTES = 110_000  # on average
READERS = 64


def rates():
    """{name: images per second of one core}, measured; run it pinned to one core."""
    from benchmarks.views import photos
    from simclr_tf import config
    from simclr_tf.data import sources
    from simclr_tf.stack import tf
    from simclr_tf.views.batches import train_batches

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "train-00000-of-00001")
        images = photos(64)
        with tf.io.TFRecordWriter(path) as writer:
            for image in images * 4:
                value = tf.train.BytesList(value=[image])
                features = {"image/encoded": tf.train.Feature(bytes_list=value)}
                features = tf.train.Features(feature=features)
                writer.write(tf.train.Example(features=features).SerializeToString())
        source = sources.open_source(config.Data(shards=path), "train")

        def rate(dataset, images_each, count):
            stream = iter(dataset)
            next(stream)
            began = time.process_time()
            for _ in range(count):
                next(stream)
            return images_each * count / (time.process_time() - began)

        batch = 32
        found["read"] = rate(source.stream(0).batch(batch), batch, 60)
        for name, changes in (("crops", {}), ("resize on device", {"resize_on": "device"})):
            batches = train_batches(source, config.Views(**changes), 224, batch, 0)
            found[name] = rate(batches, batch, 8)
            spec = batches.element_spec
            found[f"{name}, bytes"] = sum(
                spec[key].shape.num_elements() * spec[key].dtype.size for key in spec
            ) / batch  # fmt: skip
        found["bytes"] = statistics.mean(map(len, images))
    return found


def simulate():
    """Figures of 1,000 shards over 64 readers, for two epochs; nothing is read."""
    from simclr_tf.data import order
    from simclr_tf.data.shards import entry, units
    from simclr_tf.stack import tf

    rng = np.random.default_rng(0)
    shards = []
    for number in range(SHARDS):
        count = int(rng.integers(IMAGES_PER_SHARD - 200, IMAGES_PER_SHARD + 201))
        lengths = np.maximum(rng.lognormal(np.log(IMAGE_BYTES) - 0.18, 0.6, count), 1000).astype(np.int64)  # fmt: skip
        offsets = np.cumsum(lengths + 16) - lengths - 16
        labels = np.full(count, -1, np.int64)
        shards.append(
            entry.Shard(f"{number}", int(lengths.sum()), 0, "tfrecord", offsets, lengths, labels)
        )
    sizes = np.concatenate([shard.lengths for shard in shards])
    total = len(sizes)
    cut = units.cut(tuple(shards))
    counts = np.diff([*cut.first, total])
    windows = units.Windows(counts, float(cut.bytes.sum()))
    shares = [order.Share(BATCH, start=reader * BATCH, stride=READERS) for reader in range(READERS)]
    plan = tf.function(lambda window: windows.plan(0, window))
    epochs = 2
    got = np.full(epochs * total, -1, np.int64)
    read_bytes = np.zeros(READERS)
    held = np.zeros(READERS)
    read_images = np.zeros(READERS, np.int64)
    for number in range(epochs * windows.per_epoch):
        found = {key: value.numpy() for key, value in plan(tf.constant(number, tf.int64)).items()}
        ends = np.cumsum(counts[found["units"]])
        unit = np.searchsorted(ends, found["places"], side="right")
        inside = found["places"] - (ends - counts[found["units"]])[unit]
        ids = cut.first[found["units"]][unit] + inside
        positions = found["first"] + np.arange(len(ids))
        for reader, share in enumerate(shares):
            mine = (positions >= share.start) & share.holds(positions)
            assert (got[positions[mine]] == -1).all(), "two readers read one position"
            got[positions[mine]] = ids[mine]
            read_images[reader] += mine.sum()
            read_bytes[reader] += sizes[ids[mine]].sum()
            held[reader] = max(held[reader], sizes[ids[mine]].sum())
    exact = all(
        np.array_equal(np.sort(got[epoch * total : (epoch + 1) * total]), np.arange(total))
        for epoch in range(epochs)
    )
    order_of_shards = np.searchsorted(np.cumsum([s.records for s in shards]), got, side="right")
    mixed = [
        len(np.unique(order_of_shards[begin : begin + BATCH]))
        for begin in range(0, len(got) - BATCH, BATCH)
    ]
    return {
        "images": total,
        "units": len(counts),
        "windows": windows.per_epoch,
        "every image once an epoch": exact,
        "images of a reader, most / mean": float(read_images.max() / read_images.mean()),
        "bytes of a reader, most / mean": float(read_bytes.max() / read_bytes.mean()),
        "shards in a batch, median": statistics.median(mixed),
        "a reader's part of a window, MiB": float(held.max() / timing.MIB),
        "index of all images, MiB": 40 * total / timing.MIB,
    }


def input_part():
    """Prints and returns the workers that accelerators need, and the simulation."""
    measured = timing.run_case("benchmarks.input_scaling", {"kind": "rates"})
    simulated = timing.run_case("benchmarks.input_scaling", {"kind": "simulate"})
    for one in (measured, simulated):
        if "failed" in one:
            raise RuntimeError(one["failed"])
    print(
        f"measured on one core here: {measured['read']:,.0f} records/s of {measured['bytes'] / 1000:.0f} "
        f"kB, {measured['crops']:.0f} images/s to two crops of 224 pixels, "
        f"{measured['resize on device']:.0f} with --resize_on=device"
    )
    rows = []
    needs = {}
    for name, (replicas, peak, share) in ACCELERATORS.items():
        rate = replicas * peak * share / FLOP_PER_IMAGE
        for form in ("crops", "resize on device"):
            core = 1 / (1 / measured["read"] + 1 / measured[form])
            workers = rate / (core * WORKER_CORES)
            network = rate * measured[f"{form}, bytes"]
            needs[f"{name}, {form}"] = {"images_per_second": rate, "workers": workers}
            cells = [f"{rate:,.0f}", f"{rate / core:,.0f}", f"{np.ceil(workers):.0f}"]
            cells += [f"{rate * IMAGE_BYTES / 1e9:.2f}", f"{network / 1e9:.2f}"]
            rows.append([f"{name}, {form}", *cells])
    print(
        f"on paper: ResNet-50, 224 px, two views, 30 % of the peak; workers of {WORKER_CORES} such "
        f"cores; shards with images of {IMAGE_BYTES / 1000:.0f} kB; GB/s read and sent to the training"
    )
    header = ["accelerator, host part", "images/s", "cores", "workers", "GB/s read", "GB/s sent"]
    timing.print_table(header, rows)
    print(f"simulated: {SHARDS:,} shards, {READERS} readers, batches of {BATCH:,}, two epochs")
    timing.print_table(
        ["figure", "value"],
        [
            [key, f"{v:,.3f}" if isinstance(v, float) else f"{v:,}" if type(v) is int else str(v)]
            for key, v in simulated.items()
        ],  # fmt: skip
    )
    return {"measured": measured, "needs": needs, "simulated": simulated}


def main():
    import argparse
    import json

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", required=True, help=argparse.SUPPRESS)
    kind = json.loads(parser.parse_args().case)["kind"]
    timing.report({"rates": rates, "simulate": simulate}[kind]())


if __name__ == "__main__":
    main()
