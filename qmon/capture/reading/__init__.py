"""From growing files to dated, ordered batches. Knows no monitor: stops, resumes and resets are told to it.

kernel        punching holes, sealing, watching for writes
follower      one growing file → complete records
headers       virtio-net headers found and removed
channel       one file, with what is known of its frames
clock         QEMU's stamps → the host's time
order         several files' frames in the order in which QEMU wrote them
overlap       what two files both hold, where one takes over from the other
host_clock    steps of the host's clock
intake        all of these for one VM
host_frames   what the host's interfaces saw, put between what came through QEMU
reader        the thread that reads, and the shelf from which the consumer takes
"""
