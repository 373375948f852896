"""A VM with real traffic that needs no disk image."""
