"""h, and z on request, of every image of a folder or split, and what can be seen in it.

A trained encoder, images and a place come in. Tables (.npz, .parquet) in the order of the images
go out, and a TensorBoard projector, a sheet of nearest neighbours and a list of near-duplicates.
An interrupted embedding goes on where it was. Start reading in `job.py`, then `work.py`.
"""
