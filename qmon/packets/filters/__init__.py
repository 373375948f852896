"""Which packets are meant: a user's words turned into a mask over a batch.

words            a user's words → a selector: the one way in, whatever the language
selector         what every filter is: a mask over a batch, and the expression it came from
names            host names in a capture filter, without asking the network
capture_filter   the language of tcpdump, compiled by libpcap
mistakes         where an expression goes wrong
bpf              the compiled program run over many frames at once
display          Wireshark's language over the fields of `packets.fields`, a folder of its own
matches          a store's packets that a selector means, found little by little
packet_rows      which packets a view shows: all, or those that matched
"""
