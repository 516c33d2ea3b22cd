"""Devices, processes and machines that train together.

Settings come in; a `tf.distribute.Strategy` and the group of workers go out. `strategy.py` is the
place to start: it chooses between one device, MirroredStrategy, MultiWorkerMirroredStrategy and
TPUStrategy. `data_service.py` lets other processes prepare the batches.
"""
