"""The framework-free core of thrift."""
