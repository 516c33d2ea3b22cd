"""Export: a trained encoder -> files that others can load without simclr_tf.

In: Keras encoder, projection head and linear classifier (simclr_tf.models), the settings of their
run, a folder. Out: a versioned, reusable SavedModel (TensorFlow Hub, TF Serving, the official
SimCLR call, fine-tuning), its TFLite and ONNX conversions, and a model card. May import simclr_tf;
nothing imports this room but `simclr_tf.__main__` and the tests.
"""
