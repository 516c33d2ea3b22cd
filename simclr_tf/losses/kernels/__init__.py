"""The arithmetic under the losses: similarities in tiles, so that memory grows with the batch only.

A loss compares anchors (the rows of z on this replica) with keys (the rows of the global batch).
The matrix of their similarities s has (2N)^2 entries. It is never whole: a kernel makes one tile,
adds it to sums with one entry per row, and forgets it. The backward pass makes the tiles again.

One device, `symmetric`: s is symmetric, so each tile on or above the diagonal is made once and
added to the sums of its rows (->) and of its columns (down). Block a is h first views and then
their h second views, so self and positive of a row lie in the diagonal tile only::

                        keys
                 block 0   block 1   block 2
               +---------+---------+---------+
       block 0 | o   o   |         |         |   o: self and positive of a row, left out of
               |   o   o |  tile   |  tile   |      the sum over negatives
               | o   o   | (0, 1) -> row sums of block 0
               |   o   o |    |    |    |    |
      anchors  +---------+----v----+----v----+
       block 1     not   | o   o   |         |
                  made   |   o   o |  tile   |
               (mirrored)| o   o   | (1, 2) -> row sums of block 1
                         |   o   o |    |    |
                         +---------+----v----+
       block 2                not  | o   o   |
                             made  |   o   o |
                                   | o   o   |
                                   |   o   o |
                                   +---------+
                             column sums of blocks 1 and 2

Several replicas, `rows`: each replica has its own anchors and all keys, fetched by one collective
(`replicas.gather`), and runs over the tiles of its strip. A second collective fetches one number
per key, the normaliser; with it the backward pass needs no collective::

                        keys of the global batch
                   replica 0  |  replica 1  |  replica 2
               +----+----+----+----+----+----+----+----+
    anchors of | ->   ->   ->   ->   ->   ->   ->   -> |  row sums
    replica 1  | ->   ->   ->   ->   ->   ->   ->   -> |  row sums
               +----+----+----+----+----+----+----+----+
                anchor_block x key_block entries a tile

Where to find what:

- `tiles`: sizes, blocks, loops and masks that all kernels share.
- `anchors`: from the sums of an anchor to its loss and the terms of its gradient.
- `dense`: NT-Xent with the matrix at once, fastest up to 512 rows.
- `symmetric` and `rows`: NT-Xent in tiles, as drawn; `rows.fold` runs over any strip of tiles.
- `pairwise`: NT-Logistic and the margin loss. `class_positives`: the supervised loss.
- `statistics`: accuracies and the like from the same tiles. `norms`: lengths of rows.
- `replicas`: collectives, and gradients beside them.
"""
