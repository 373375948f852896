"""The packets of a capture, indexed: what a batch of frames becomes, in the order in which that happens.

link            where the network header begins, for each link type
decode          the headers of a whole batch turned into columns
rows            the shape of the store's rows
spool           where the frames of a live capture are kept
conversations   who talked to whom, kept up batch by batch
observer        what watches packets go by, and the list of those every store has
traffic         what passes on each interface, second by second
packet_store    all of these joined: rows, frames, counters
"""
