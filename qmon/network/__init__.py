"""What is plugged into what in a VM, and changing it."""
