"""Benchmarks: real processes on this machine, each figure as a ratio within one run."""
