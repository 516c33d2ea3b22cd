"""Report: tables and pictures of a finished run.

In: a run folder with its results, or arrays of images, views and features. Out: text tables and
PNG files in the folder's `report/`. May import every room of `simclr_tf`; nobody imports it but
the command line.
"""
