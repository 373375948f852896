"""A VM that needs no disk image: a boot ROM that fetches from little servers on loopback."""
