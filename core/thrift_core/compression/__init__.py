"""The compressor: fewer tokens for what is new in a prompt, lossless where it can be, verbatim where it cannot."""

from thrift_core.compression.backend import CompressionBackend
from thrift_core.compression.compressed import Compressed, Dropped, Kind
from thrift_core.compression.compressor import Compressor
from thrift_core.compression.lever import CompressorLever

__all__ = ["Compressed", "CompressionBackend", "Compressor", "CompressorLever", "Dropped", "Kind"]
