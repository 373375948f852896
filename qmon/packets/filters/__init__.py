"""Which packets are meant: a user's words turned into a mask over a batch.

names            host names in an expression, without asking the network
capture_filter   the language of tcpdump, compiled by libpcap
bpf              the compiled program run over many frames at once
packet_rows      which packets of a store a view shows
"""
