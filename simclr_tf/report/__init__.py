"""The page, tables and pictures of a run.

A run folder comes in, or arrays of images, views and features. HTML pages, text tables and
PNG files go out. Start reading in `run_page.py` for the page, in `summary.py` for tables and in
`pictures.py` for pictures. `assets/` holds what a page is made of: Apache ECharts as it was released,
with its licences, and our script and styles.
"""
