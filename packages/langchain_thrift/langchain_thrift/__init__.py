"""thrift inside LangChain."""
