"""What a frozen encoder knows: features, classifiers, and figures with their uncertainty.

A built encoder (images float [b, s, s, 3] in [0, 1] -> h float [b, d]) and batches of labelled
images come in. Features, classifiers and accuracies with intervals go out; nothing is written here.

`features.py` runs an encoder over images. `linear_protocol.py`, `knn_protocol.py`, `few_shot.py`,
`probe_tasks.py` and `transfer_linear.py` are the protocols. `metrics.py` and `results.py` make
figures and tables. Start reading in `features.py`.
"""
