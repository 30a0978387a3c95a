"""From the files of a corpus to encoded batches; also word vectors, downloads and the cache."""
