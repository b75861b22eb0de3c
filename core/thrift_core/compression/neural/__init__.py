"""Models of your own that choose what stays of prose, as backends of the compressor; each an extra."""

from thrift_core.compression.neural.exporting import export_onnx
from thrift_core.compression.neural.llmlingua_backend import LLMLinguaBackend
from thrift_core.compression.neural.token_classifier import TokenClassifierBackend

__all__ = ["LLMLinguaBackend", "TokenClassifierBackend", "export_onnx"]
