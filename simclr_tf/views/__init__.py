"""The random views of an image: crop, flip, colour distortion, blur.

uint8 images come in, each with its example id and epoch. float32 views [v * b, s, s, c] in [0, 1]
go out, all first views, then all second views. Every random choice is a function of (seed, epoch,
example id, number of the view); nothing keeps a state.

Start reading at `device.py`: it makes the views of a batch inside the train step. `host.py` has
what runs per image in tf.data (the crop of large images), `batches.py` puts data and views
together for training and evaluation, `multi_crop.py` adds small local views, and `arrays.py` is
`simclr_tf.make_views` for images in memory. `operators.py` is the registry of what can happen to a
crop; `study.py`, `color.py` and `blur.py` have the functions. `draws.py` and `rng.py` are the random
numbers, which simclr_tf/streams.py gives out.
"""
