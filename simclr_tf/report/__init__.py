"""Tables and pictures of a finished run.

A run folder with its results comes in, or arrays of images, views and features. Text tables and
PNG files go out. Start reading in `summary.py` for tables and in `pictures.py` for pictures.
"""
