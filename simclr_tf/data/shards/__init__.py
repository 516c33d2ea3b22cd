"""Images in shards: TFRecord, Parquet and WebDataset tar files.

In goes `--shards`, out comes a `Source`. `patterns` finds the files, `index` knows where each
record lies and what its label is, `source` reads them window by window, `shard_set` splits them
into training and evaluation images. One file for each format (`tfrecords`, `tars`, `parquets`)
holds what is special about it: how a file is indexed and how records are read by offset.

A shard is data: nothing in it names a file that is opened, a module that is imported or a place
that is written to, and no length in it is believed before it was compared with the size of the
file.
"""
