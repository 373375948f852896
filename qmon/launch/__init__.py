"""QEMU processes that qmon itself starts and therefore ends: for the demo and for `qmon run`."""
