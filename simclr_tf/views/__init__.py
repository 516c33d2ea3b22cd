"""The random views of an image: crop, flip, colour distortion, blur.

In: uint8 images, each with its example id and epoch. Out: float32 views [v * b, s, s, 3] in
[0, 1], all first views, then all second views; images of c channels give views of c. `host` is
what runs per example in tf.data, `device` what runs per batch in the train step. Every random
choice is a function of (seed, epoch, example id, view), see `rng`. May import `simclr_tf.config`,
`simclr_tf.errors` and `simclr_tf.stack` only.
"""
