"""Sources of images: tensorflow-datasets, the user's folder, scikit-learn's digits.

What comes in: `simclr_tf.config.Data` and seeds. What goes out: `SourceInfo` (sizes and classes,
without decoding anything) and `Source`, whose element number p is a pure function of (seed, p):
encoded bytes or uint8 [h, w, 3], label, example id, epoch. Decoding to upright RGB (`.npy` files
keep their channels) and the evaluation preprocessing live here too.

May import: `simclr_tf.config`, `simclr_tf.errors`, `simclr_tf.stack`; tensorflow-datasets,
scikit-learn (digits) and Pillow (rare formats). No other room.
"""
