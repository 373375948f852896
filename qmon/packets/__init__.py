"""Frames turned into knowledge; knows nothing of QEMU."""
