"""Frames out of a VM.

following         one VM followed through losses of its monitor: everything that watches stands on it
attaching         its monitor: at first, again after a loss, and that of a VM started in its place
tapping           which of its netdevs are tapped
looking           what it asks the VM again and again
network_changes   what changed in its network, and who did it
sent              which frames a qmon put on the wire, marked
numbering         interface numbers that outlive a VM's lives
remembered        which addresses the guest has, known to all qmons
process_end       the end of QEMU's process
vm                the taps of one life of a VM
describe          what a capture says of where its frames come from
taps/             opening, renewing and closing one tap
reading/          from growing files to dated, ordered batches; knows no monitor
"""
