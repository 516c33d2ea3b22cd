"""Embedding: h, and z on request, of every image of a folder or split, and what can be seen in it.

In: a checkpoint, images (`--image_dir` or `--dataset`), a folder. Out: embeddings.npz and
embeddings.parquet in file order, a TensorBoard projector folder, a sheet of nearest neighbours and
a list of near-duplicates. May import everything in simclr_tf but `report`; of other packages
NumPy, Pillow, pyarrow and tqdm.
"""
