"""Sweeps: a grid of variants and seeds, fitted side by side."""
