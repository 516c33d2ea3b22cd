"""The version of this package, which the build and the command line read too."""

__version__ = "0.1.0"
