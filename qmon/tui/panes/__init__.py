"""What a screen is made of, from top to bottom; each pane is kept up to date by `show` (see `tui.moment`).

header         the line that says how things stand
network        the network as a tree
traffic        bytes a second of each netdev
tab_bar        which tab is open
packets        packet_list, packet_status, detail and hexdump, linked; filter_bar above them
conversations  who talked to whom
usernet        connections and forwards of user-mode stacks
events         what happened to the VM
monitor        a prompt to the VM
notes          what a file says beside its packets
key_bar        the keys of where one is
"""
