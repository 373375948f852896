"""Frames turned into knowledge; knows nothing of QEMU."""

import os

# NumPy's linear algebra starts a thread per core when it is first imported, which costs 40 ms and is never
# used here. A user's own setting wins.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
