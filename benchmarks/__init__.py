"""Benchmarks: each is a command that compares two implementations in one run on one machine."""
