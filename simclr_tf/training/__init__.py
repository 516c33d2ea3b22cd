"""The loop: pretraining and training with labels, what watches them and what they record.

A config, images and a built model come in. Steps run, and checkpoints, metrics.jsonl and figures
come out. Start reading in `loop.py`; `pretraining.py` and `supervised_model.py` put the models
together, `pretraining_run.py` and `supervised_run.py` run them from checkpoint to end.
"""
