"""The networks: ResNet encoder f, projection head g, linear classifier, SimCLR.

In: images float [b, h, w, 3] in [0, 1], and the values of `simclr_tf.config.Model`. Out: Keras
models and layers (Keras 2 API): f maps images to h [b, d], g maps h to z [b, p]. May import
`simclr_tf.config`, `errors`, `stack` and `losses`; never flags, data or training.
"""
