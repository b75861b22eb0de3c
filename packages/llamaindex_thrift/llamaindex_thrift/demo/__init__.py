"""Workloads of `thrift demo` that run on LlamaIndex."""
