"""What the user's own settings of Keras may not change."""

import json
import os
import subprocess
import sys

import pytest

CODE = """
from simclr_tf.stack import keras
print(keras.layers.Conv2D(1, 1).data_format, keras.backend.image_data_format())
"""


@pytest.mark.slow
def test_images_are_channels_last_whatever_keras_json_says(tmp_path):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(
        json.dumps({"image_data_format": "channels_first", "backend": "tensorflow"})
    )
    environment = {**os.environ, "HOME": str(tmp_path), "KERAS_HOME": str(tmp_path / ".keras")}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["channels_last", "channels_last"]
