"""Comparisons with baselines in one run; each module prints a table and can write JSON."""
