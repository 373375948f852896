"""Whatever another qmon tells, a capture that hears of it goes on."""

from hypothesis import given
from hypothesis import strategies as st

from qmon.capture.network_changes import NetworkChanges, link_of
from qmon.capture.sent import SentFrames, announcement, digest
from qmon.monitor.events import Event
from qmon.monitor.kinds import SENT_COMMAND, change_message, only_asks
from qmon.packets.batch import Direction, FrameBatch

NUMBERS = st.integers() | st.integers(2**62, 2**66) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
COMMANDS = st.sampled_from(
    [
        "set_link",
        "netdev_add",
        "netdev_del",
        "device_add",
        "device_del",
        "human-monitor-command",
        SENT_COMMAND,
    ]
)
LINES = st.builds(
    lambda name, words: " ".join([name, *words]),
    st.sampled_from(["set_link", "netdev_add", "device_add", "device_del", "hostfwd_add", "hostfwd_remove"]),
    st.lists(st.text() | st.from_regex(r"(tcp|udp|):[^:]*:[0-9]{1,6}(-.*)?"), max_size=3),
)
NAMES = st.sampled_from(
    ["id", "name", "up", "type", "netdev", "driver", "command-line", "direction", "frames"]
)
ARGUMENTS = st.dictionaries(NAMES, JSON | LINES | st.sampled_from(["in", "out", "u1"]), max_size=5)


@given(COMMANDS, ARGUMENTS, JSON)
def test_any_command_that_was_carried_out(command: str, arguments: dict[str, object], reply: object) -> None:
    only_asks(command, arguments)
    message = change_message(command, arguments, {"return": reply})
    if message is not None:
        event = Event.from_message(message)
        link_of(event)
        NetworkChanges(lambda *_: None).hear(event)


FRAME = bytes(60)


@given(
    st.fixed_dictionaries(
        {
            "netdev": JSON | st.just("u1"),
            "direction": st.just("in"),
            "frames": st.lists(st.tuples(NUMBERS, st.text()).map(list) | JSON),
        }
    )
)
def test_any_announcement(announced: dict[str, object]) -> None:
    sent = SentFrames()
    sent.expect(announced)
    sent.expect(announcement("u1", Direction.IN, [FRAME]))
    batch = FrameBatch.from_frames([FRAME], direction=Direction.IN)
    assert [row for row, _ in sent.marked(batch, ["u1"]).comments] == [0]


def test_of_a_great_many_announcements_the_latest_are_kept() -> None:
    sent = SentFrames()
    frames = [[60, digest(number.to_bytes(4))] for number in range(200_000)]
    sent.expect({"netdev": "u1", "direction": "in", "frames": frames})
    assert repr(sent) == "<65536 frames announced and not seen>"
