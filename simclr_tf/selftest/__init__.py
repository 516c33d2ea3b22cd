"""The check of the user's own machine: does it compute what the paper says, and how fast?

The devices to check come in. A list of outcomes goes out: each has a name, a figure, what the
figure means, and whether it passed. `all_checks.py` names the checks; start reading there.
"""
