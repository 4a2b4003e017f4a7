"""Benchmarks: nncore beside its peers, and its own kernels and steps."""
