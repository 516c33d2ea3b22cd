"""The blockwise machinery under the losses."""
