"""Frames turned into knowledge; knows nothing of QEMU.

batch      frames on their way: one buffer, and columns that say what lies where
copying    pieces of many sizes copied without a loop over pieces
virtio     the headers that virtio-net puts before frames
files/     capture files ↔ batches
filters/   a user's words → a mask over a batch
store/     batches → rows, conversations, traffic
summary/   one packet → its row's text; `lines` makes a line of it
dissect/   one packet → the tree of its fields (`tree` is its shape)
"""
