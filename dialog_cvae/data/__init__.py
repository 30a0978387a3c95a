"""Corpora, from their files to encoded batches; also word vectors, downloads and the cache."""
