"""Speaking on a VM's wire: frames put on it, and what comes back.

injection    a redirector in the VM, and the socket whose frames QEMU puts on the wire
headers      what some netdevs want before each frame
host_injection  the same by the host's side of a tap, where QEMU has no filters
wire         one netdev spoken on: sending at a bounded rate, and hearing by a tap on the same netdev
opening      a VM attached to, followed and spoken on, for commands
layers       scapy's layers, loaded late: frames built and read
subnet       which addresses a network has, who its router is, and which address nobody uses
neighbour    the made-up neighbour that asks: its addresses, and its answers to those who ask for it
finding      who has an address, asked on the wire
guest        the guest found: by an address given, known, or scanned for
pinging      does the guest answer?
knocking     which of its ports are open?
questions    what the network says, asked as the guest would
knowing      what is known of a network before that
sending      frames of the user's choice, at a pace
scapy_socket  scapy on the wire

Nothing here runs unless a user asked for frames to be sent.
"""
