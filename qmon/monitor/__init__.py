"""Talking to one QEMU: where its monitor is, the session over it, the texts it answers with."""
