"""The studies of the SimCLR paper as plans: which runs, which figures, what the paper found.

A study is data: for a scale it lists runs with their settings, and which figure of which evaluation
goes into which cell of its table. Nothing here trains; `simclr_tf/commands/study.py` carries a plan
out. Start reading in `plan.py` (what a study is) and `registry.py` (which ones there are). `table.py`
and `figure.py` turn the figures of the rows into files, beside the numbers in `paper.py`.
"""
