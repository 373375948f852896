"""`python -m qmon` is `qmon`."""

from qmon.cli.main import main

if __name__ == "__main__":
    main()
