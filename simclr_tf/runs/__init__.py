"""What lies on disk: atomic files, the run folder, checkpoints, and trained encoders read back.

A run is a folder (`RunFolder`) with config.json, checkpoints/, metrics.jsonl and results.json.
Models, optimizers and figures come in; files go out, written to a temporary name and renamed, and
`restore.load_trained` turns any checkpoint, SavedModel or official release back into an encoder.
Start reading in `run_folder.py`, then `restore.py`.
"""
