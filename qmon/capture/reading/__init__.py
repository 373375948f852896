"""From growing files to dated, ordered batches. Knows no monitor: stops, resumes and resets are told to it.

kernel      punching holes, sealing, watching for writes
waking      waiting for writes
follower    one growing file → complete records
headers     virtio-net headers found and removed
clock       QEMU's stamps → the host's time
order       several files' frames in the order in which QEMU wrote them
overlap     what two files both hold, where one takes over from the other
intake      all of these for one VM
"""
