"""Tokenizers, the detokenizer, and the definition of a word and of equal replies."""
