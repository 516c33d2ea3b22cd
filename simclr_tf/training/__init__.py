"""Training: runs that start, checkpoint, resume and end.

In: a mode's config dataclass and the names of the settings that were given. Out: a run folder
(`config.json`, `checkpoints/`, `logs/`, `metrics.jsonl`, `results.json`) and the loaded encoder
that other modes start from (`restore.load_trained`). Each mode's module has `run(config, given)`.

May import: `simclr_tf.config`, `errors`, `stack`, and the rooms `data`, `views`, `models`,
`losses`, `optimizers`, `evaluation` and `weights`.
"""
