"""Talking to one QEMU: where its monitor is, the session over it, the texts it answers with.

Finding it:

address       the ways a user may name a VM
commandline   a QEMU's command line: its name, its monitors
strangers     files of other processes, read without being held up
aside         looks that may never end, taken in threads
processes     who listens, who is connected, whose process that is
unix          unix sockets, whatever the length and kind of their names
reach         where a VM's monitor can be reached from here, and who is at it
discovery     the VMs of this host

Attaching to it:

sharing       where the qmons of one user meet over one monitor: a private directory, a lock, a socket
election      becoming the monitor's holder, or a client of the holder
dial          a connected socket
version       what the greeting says
bounds        what a message may hold
shapes        what a reply must look like
connection    one QMP connection; the only importer of `qemu.qmp`

Keeping it:

protocol      what qmon needs of a monitor, however it is reached
session       the QMP monitor through its whole life
holding       a monitor that is held and relayed to other qmons
relay         QMP spoken to them
kinds         which commands only ask, and which qmons tell each other of
events        events as streams
links         how any qmon set a VM's links last

Using it:

commands      every command qmon sends
arguments     a user's words as the arguments of a QMP command
schema        QEMU's own description of its commands
hmp           what the human monitor prints, as records
"""
