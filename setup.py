"""Which packages a wheel holds; everything else is in pyproject.toml.

A wheel has one top-level package, `simclr_tf`. The folders `flags` and `export` of the repository
go inside it, so that a user's own module of such a name neither hides them nor is hidden.
"""

import setuptools

setuptools.setup(
    packages=[
        *setuptools.find_packages(include=["simclr_tf", "simclr_tf.*"]),
        "simclr_tf.flags",
        "simclr_tf.export",
    ],
    package_dir={"simclr_tf.flags": "flags", "simclr_tf.export": "export"},
    package_data={
        "simclr_tf": ["py.typed"],
        "simclr_tf.flags": ["presets/*.flags"],
        "simclr_tf.report": ["assets/*"],
    },
)
