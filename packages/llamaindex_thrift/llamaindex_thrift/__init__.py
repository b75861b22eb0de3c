"""thrift inside LlamaIndex."""
