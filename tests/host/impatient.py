"""qmon that waits for the user's word for 2 seconds instead of 30."""

from qmon.cli import bridge, main
from qmon.host import journal

if __name__ == "__main__":
    journal.CONFIRM_S, bridge._CONFIRM_WITHIN_S = 4.0, 2.0
    main.main()
