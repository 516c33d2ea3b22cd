"""Files of other SimCLR and PyTorch code become our models, and back.

A path to a SavedModel, a checkpoint or a PyTorch file comes in. Encoder, projection head and
classifier with those weights go out, with their settings and a report of what was matched. The
other way round, our weights are written under the official names. Start reading in `importing.py`.
"""
