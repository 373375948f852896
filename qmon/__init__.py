"""qmon shows and shapes the network of a running QEMU VM."""

__version__ = "0.1.0"
