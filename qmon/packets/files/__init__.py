"""Capture files: bytes in, batches of frames out, and back.

source          a file, a pipe or a gzipped file as a source of batches; the only module here that opens files
gunzip          a gzipped stream unpacked piece by piece
feeding         bytes that arrive cut anywhere: what both formats' readers share
scan            where each record of a piece begins
resync          the next record behind damage
pcap            the classic format, read and written
pcapng          the newer one, read; pcapng_blocks has its blocks that are not packets
pcapng_writer   the newer one, written
notes           what happened between the packets, as it stands in a pcapng file
"""
