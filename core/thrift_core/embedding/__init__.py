"""The small static embedder that comes with thrift: arrays of our own training, numpy, no download."""
