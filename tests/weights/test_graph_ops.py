"""What a foreign SavedModel would do is told before its graph runs."""

import os

import pytest

from simclr_tf.errors import DataError, SettingsError
from simclr_tf.stack import tf
from simclr_tf.weights import comparing
from simclr_tf.weights.graph_ops import check_graph, touching_operations


def save_module(path, touch):
    """A SavedModel whose call runs `touch(x)` in a branch of an inner function."""

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable([1.0])

        @tf.function(autograph=False)
        def __call__(self, images, trainable):
            del trainable
            done = tf.function(lambda: touch(self.w[0]))
            chosen = tf.cond(tf.reduce_sum(images) > 0, done, lambda: 0.0)
            return {"final_avg_pool": images * chosen * self.w}

    module = Module()
    module.__call__.get_concrete_function(tf.TensorSpec([None, 2], tf.float32), trainable=False)
    tf.saved_model.save(module, str(path))
    return str(path)


def writes(path):
    def touch(x):
        with tf.control_dependencies([tf.io.write_file(str(path), "written")]):
            return x + 1.0

    return touch


def test_a_graph_that_writes_files_does_not_run(tmp_path):
    source = save_module(tmp_path / "model", writes(tmp_path / "mark"))
    with pytest.raises(SettingsError, match="its graph holds WriteFile.*--trust_code"):
        comparing.verify(None, source, [0])
    assert not os.path.exists(tmp_path / "mark")
    check_graph(source, trust_code=True)


def reads(path):
    return lambda x: x + tf.cast(tf.strings.length(tf.io.read_file(str(path))), tf.float32)


def calls_python(x):
    return x + tf.py_function(lambda: 1.0, [], tf.float32)


def saves(x):
    save = tf.raw_ops.SaveV2(prefix="p", tensor_names=["n"], shape_and_slices=[""], tensors=[x])
    with tf.control_dependencies([save]):
        return x + 1.0


def prints_to_a_file(x):
    printed = tf.raw_ops.PrintV2(input="text", output_stream="file:///tmp/nowhere")
    with tf.control_dependencies([printed]):
        return x + 1.0


@pytest.mark.parametrize(
    "touch, operation",
    [
        (reads("/etc/hostname"), "ReadFile"),
        (calls_python, "EagerPyFunc"),
        (saves, "SaveV2"),
        (prints_to_a_file, "PrintV2"),
        (lambda x: x + 1.0, None),
    ],
)
def test_operations_that_touch_more_than_tensors_are_found(tmp_path, touch, operation):
    source = save_module(tmp_path / "model", touch)
    assert touching_operations(source) == ([operation] if operation else [])


def save_old(path, touch):
    """A SavedModel of TensorFlow 1, whose saver writes the variables."""
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(path))
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 2])
        w = v1.get_variable("w", initializer=[1.0], use_resource=False)
        signature = v1.saved_model.predict_signature_def(
            {"images": images}, {"h": touch(images * w)}
        )
        session.run(v1.global_variables_initializer())
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
    builder.save()
    return str(path)


@pytest.mark.parametrize("touch, found", [(lambda x: x, []), (saves, ["SaveV2"])])
def test_only_what_saves_the_variables_may_write(tmp_path, touch, found):
    assert touching_operations(save_old(tmp_path / "old", touch)) == found


def test_what_starts_an_old_graph_counts(tmp_path):
    source = save_old(tmp_path / "old", lambda x: x)
    assert touching_operations(source) == []
    path = os.path.join(source, "saved_model.pb")
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:  # the restoring becomes another operation of the same name
        file.write(content.replace(b"\x12\x09RestoreV2", b"\x12\x09WriteFile"))
    assert touching_operations(source) == ["WriteFile"]


def test_a_damaged_graph_gets_one_sentence(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\xff\xff")
    with pytest.raises(DataError, match="cannot be read as a SavedModel; copy it again"):
        check_graph(str(tmp_path))
