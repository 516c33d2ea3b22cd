"""The other sides of the benchmarks: what users have without simclr_tf, written plainly."""
