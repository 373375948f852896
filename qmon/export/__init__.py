"""Captures on their way out: files, Wireshark."""
