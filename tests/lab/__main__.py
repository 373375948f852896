"""`python -m tests.lab prepare`: fill the lab's cache and say what is there; exit 1 if something is missing."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.lab import guests, qemus


def _prepare() -> int:
    begin = time.monotonic()
    with ThreadPoolExecutor() as pool:
        jobs = {f"QEMU {recipe.version}": pool.submit(qemus.get, recipe.version) for recipe in qemus.RECIPES}
        jobs["Linux guest"] = pool.submit(guests.linux)
    missing = 0
    for name, job in jobs.items():
        error = job.exception()
        if error is None:
            print(f"{name}: {job.result()}")
        elif isinstance(error, qemus.LabError):
            missing += 1
            print(f"{name}: missing: {error}")
        else:
            raise error
    print(f"{time.monotonic() - begin:.1f} s")
    return 1 if missing else 0


if __name__ == "__main__":
    if sys.argv[1:] != ["prepare"]:
        sys.exit("usage: python -m tests.lab prepare")
    sys.exit(_prepare())
