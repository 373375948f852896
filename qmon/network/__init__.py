"""What is plugged into what in a VM, and changing it.

Looking:

model          netdevs, NICs, hubs, filters, forwards: what a look finds
ids            the names of qmon's own objects inside QEMU
probe          whether a netdev is there and can have filters
inspect        one look: the monitor's text and the object tree, joined
ports          the PCIe ports a NIC could go into
userstack      the addresses a user-mode stack has for itself
surroundings   what can be seen of the QEMU process
listeners      who has a port of the host
ping_range     whether the host's kernel lets a guest ping
answering      whether the guest answers at a forward
captures       other qmons' captures on the same VM

A user's words:

options        QEMU's option syntax as typed arguments
spellings      what to write instead of what a QEMU does not take
rule           a host forward, as users and QEMU spell it
nics           the NIC models a QEMU has, and their options
mac            free addresses, and what is wrong with others

Changing:

hazards        what a change would do that nobody asked for
dangers        monitor commands that end a VM or hold it up
steps          the commands of a change, shown and sent
release        the guest letting go of a NIC
change         netdevs and NICs added and removed, whole or not at all
replace        another network under a NIC
cable          two VMs joined
flap           a cable pulled and put back, again and again
forward        host forwards
ssh            a forward to the guest's ssh, for as long as it is used
"""
