"""Frames out of a VM: opening, renewing and closing what QEMU writes through.

ids             names of our objects inside QEMU: who made them, and whether that one still lives
sink            where QEMU writes to: memory of ours, or a plain file
guardian        the process that seals what a dead qmon left; guardian_main is that process
filters         QEMU's filters: probed, added, removed
mirror          frames of a VM on another host, over TCP; mirror_main is the process that reads them
host            the host's side of a tap device, where QEMU has no filters; host_frames puts it in order
ways            which of these three serves a netdev
state           one tap, and how it stands
sweep           what qmons that are gone left in a VM
"""
