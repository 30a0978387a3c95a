"""Corpora: one reader a file, all returning `dialog_cvae.types.Corpus`."""
