"""The same drawn images as TFRecord, Parquet and tar shards."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from simclr_tf.stack import tf

CLASSES = ("apple", "bread", "cloud")
PATTERNS = {"tfrecord": "train-*", "parquet": "data-{000..003}.parquet", "tar": "set-*.tar"}


def drawn(count, side=12):
    """[(JPEG bytes, label)] of noise with a stripe."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        pixels[: side // 2] = number % 256
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG")
        found.append((content.getvalue(), number % len(CLASSES)))
    return found


def example(image, label, offset=1):
    """A serialised tf.train.Example as ImageNet's records are."""
    features = {
        "image/class/label": tf.train.Feature(
            int64_list=tf.train.Int64List(value=[label + offset])
        ),
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/height": tf.train.Feature(int64_list=tf.train.Int64List(value=[12])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path, records):
    """A TFRecord file of bytes."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def write_tar(path, members):
    """A tar file of (name, bytes)."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


def write_parquet(path, images, labels, rows=3):
    """A Parquet file as Hugging Face writes it; labels: list of int, None or str."""
    table = pa.table(
        {
            "image": pa.array([{"bytes": one, "path": f"{n}.jpg"} for n, one in enumerate(images)]),
            "label": pa.array(labels),
        }
    )
    names = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pq.write_table(table, str(path), row_group_size=rows)


def write_all(folder, count=61, shards=4):
    """Every format in one folder, see PATTERNS; image n lies in shard n % shards."""
    images = drawn(count)
    for number in range(shards):
        part = images[number::shards]
        write_records(
            folder / f"train-{number:05d}-of-{shards:05d}", [example(*one) for one in part]
        )
        encoded, labels = zip(*part)
        write_parquet(folder / f"data-{number:03d}.parquet", encoded, labels)
        members = []
        for place, (image, label) in enumerate(part):
            stem = f"{number:03d}/{place:04d}"
            text = [(".cls", str(label).encode()), (".json", json.dumps({"label": label}).encode())]
            members += [(stem + ".jpg", image), (stem + text[place % 2][0], text[place % 2][1])]
        write_tar(folder / f"set-{number:03d}.tar", members)
    return images
