"""Blind reading: sheets of replies without the names of their sources, and what readers found in them."""
