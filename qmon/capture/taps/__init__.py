"""Frames out of a VM: opening, renewing and closing what QEMU writes through.

sink       where QEMU writes to: memory of ours, or a plain file
guardian   the process that seals what a dead qmon left; guardian_main is that process
filters    QEMU's filters: probed, added, removed
mirror     frames of a VM on another host, over TCP; mirror_main is the process that reads them
host       the host's side of a tap device, where QEMU has no filters
ways       which of these three serves a netdev
tap        one tap's life
sweep      what qmons that are gone left in a VM
"""
