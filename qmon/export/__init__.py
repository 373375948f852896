"""Captures on their way out: files, lines, Wireshark.

live             the VMs of a recording, attached to and tapped
record           the loop from their captures into an output
direction        frames of one direction only
lines            an output that is lines of text or JSON
capture_file     an output that is pcapng or pcap
ring             one capture in several files, or only the last of it
byte_sink        where an output's bytes go, without waiting for a reader
saving           a store's packets written to a new file
wireshark        Wireshark, started on a stream of ours
wireshark_feed   a store's packets fed to it, and those that come
extcap           the sentences by which Wireshark is told what there is
extcap_vms       the VMs that its list shows
extcap_install   putting qmon where Wireshark looks
"""
