"""Engines that run a checkpoint: one protocol, so that generation does not know what computes it."""
