"""One encoder as SavedModel, .keras, TFLite and ONNX: file size, time to load, images per second.

Exports a ResNet with random weights once, then measures each file in processes of its own, in
turns, on one core. TensorFlow and Keras are imported before; the import of ONNX Runtime is part of
its loading. The first call is not counted. Prints medians and can write JSON. ONNX is left out, and
said so, where tf2onnx and onnxruntime are not installed.

    python -m benchmarks.consumers --resnet_depth=50 --image_size=224 --rounds=3
"""

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time

from benchmarks import timing


def write_files(folder, settings):
    """{case: path} of one encoder in every form, without its head."""
    from simclr_tf.export import conversions, keras_file, saved_model

    from simclr_tf import config
    from simclr_tf.runs import saved_models as reader

    flat = config.flatten(config.build(config.Pretrain, settings))
    encoder = reader.build_named_parts(flat, ("encoder",), 0)["encoder"]
    about = saved_model.About(flat, 0)
    options = config.ExportSettings(export_head=False)
    directory = os.path.join(folder, "saved_model")
    report = saved_model.export_saved_model(encoder, None, None, directory, about, options)
    found = {"SavedModel": report.path, ".keras": os.path.join(folder, "encoder.keras")}
    keras_file.write(found[".keras"], encoder, None, None, about, options)
    kinds = {"TFLite": "tflite", "ONNX": "onnx"}
    if importlib.util.find_spec("tf2onnx") is None or not importlib.util.find_spec("onnxruntime"):
        print("ONNX is left out: pip install -r requirements-export.txt", flush=True)
        del kinds["ONNX"]
    for case, kind in kinds.items():
        found[case] = os.path.join(folder, f"encoder.{kind}")
        with open(found[case], "wb") as file:
            file.write(conversions.convert(report.path, kind, settings["image_size"]))
    return found


def size_of(path):
    """Bytes of a file, or of all files of a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(path)
        for name in names
    )


def reader_of(case, path):
    """Loads a file; returns a function images float32 [b, s, s, 3] -> h."""
    if case == "ONNX":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        return lambda images: session.run(["h"], {"images": images})[0]
    if case == ".keras":
        import keras

        return keras.models.load_model(path, compile=False).predict_on_batch
    import tensorflow as tf

    if case == "TFLite":
        run = tf.lite.Interpreter(path).get_signature_runner("serving_default")
        return lambda images: run(images=images)["h"]
    loaded = tf.saved_model.load(path)
    return lambda images: loaded.feature_vector(tf.constant(images)).numpy()


def measure(case):
    """{"load": seconds, "speed": images per second} in this process."""
    import numpy as np

    if case["case"] != "ONNX":  # everybody who uses these has TensorFlow or Keras loaded
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    started = time.perf_counter()
    features = reader_of(case["case"], case["path"])
    load = time.perf_counter() - started
    side = case["image_size"]
    images = np.random.default_rng(0).random([case["batch"], side, side, 3], np.float32)
    features(images)
    times = []
    for _ in range(case["calls"]):
        started = time.perf_counter()
        features(images)
        times.append(time.perf_counter() - started)
    return {"load": load, "speed": case["batch"] / statistics.median(times)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--resnet_depth", type=int, default=50)
    parser.add_argument("--width_multiplier", type=float, default=1.0)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default="", help="JSON file for the figures.")
    parser.add_argument("--case", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        timing.report(measure(json.loads(arguments.case)))
        return
    settings = {
        "resnet_depth": arguments.resnet_depth,
        "width_multiplier": arguments.width_multiplier,
        "image_size": arguments.image_size,
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(folder, settings)
        rounds = {case: [] for case in paths}
        for _ in range(arguments.rounds):
            for case, path in paths.items():
                asked = {"case": case, "path": path, "image_size": arguments.image_size}
                asked.update(batch=arguments.batch, calls=arguments.calls)
                rounds[case].append(timing.run_case("benchmarks.consumers", asked))
        sizes = {case: size_of(path) for case, path in paths.items()}
    figures = {}
    rows = []
    for case, found in rounds.items():
        failed = [one["failed"] for one in found if "failed" in one]
        if failed:
            rows.append([case, f"{sizes[case] / 1e6:.1f}", "failed:", failed[0]])
            figures[case] = {"failed": failed[0]}
            continue
        load, speed = (statistics.median(one[key] for one in found) for key in ("load", "speed"))
        figures[case] = {"megabytes": sizes[case] / 1e6, "load_seconds": load, "speed": speed}
        rows.append([case, f"{sizes[case] / 1e6:.1f}", f"{load:.2f}", f"{speed:.1f}"])
    timing.print_table(["form", "MB", "load s", "images/s"], rows)
    if arguments.output:
        timing.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
