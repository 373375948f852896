"""The registry of fields: Wireshark's names for what packets hold, and how each is read.

layer       a protocol's part of a frame
walk        from a frame's bytes to its layers
field       what a field is, and the makers of a protocol's table
link, internet, transport, naming, dhcp, web, services
            the tables: a field is one entry in one of them
registry    all of them, by name
columns     the fields at fixed places, read from whole batches
"""
