"""A trained encoder becomes files that others load without simclr_tf.

Encoder, projection head, classifier and the settings of their run come in. A versioned SavedModel
with a model card goes out (TensorFlow Hub, TF Serving, fine-tuning), and TFLite, ONNX and official
checkpoints made from it; or one file of plain Keras layers. Start reading in `saved_model.py`, then
`keras_file.py`.
"""
