"""Rows without a model: random, constant, nearest and human replies."""
