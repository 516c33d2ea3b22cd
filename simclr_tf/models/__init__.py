"""The networks: encoder f, projection head g, linear classifier, and the models that train them.

The settings of `config.Model` come in, Keras models and layers (Keras 2 API) go out: the encoder
maps images float [b, h, w, c] in [0, 1] to h float32 [b, d], the head maps h to z float32 [b, p].

Start reading at `simclr.py`, the pretraining step, then `resnet.py` and `head.py`. `build.py` makes
all of them from settings, `custom.py` takes an encoder of your own, `fine_tuned.py` trains with
labels, `normalization.py` has the BatchNormalization over all replicas.
"""
