"""What stands for a `Watch` and a `Session` in the dashboard's tests can be called as they can, and no otherwise."""

import inspect
from typing import Any

import pytest

from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.watch import Watch
from tests.tui.scripted import ScriptedSession, ScriptedWatch

# Stand-in, what it stands for, and what a test has on top: to say what comes, and to look at what was asked.
PAIRS = [
    (ScriptedWatch, Watch, {"arrive", "change"}),
    (ScriptedSession, Session, set[str]()),
]
OWN_DATA = {"calls"}


def _shape(function: Any) -> list[tuple[str, object, object]]:
    """How a function is called: name, kind and default of each parameter."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


def _public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}


@pytest.mark.parametrize(("stand_in", "real", "own"), PAIRS, ids=["watch", "session"])
def test_each_method_is_called_as_the_real_one(stand_in: type, real: type, own: set[str]) -> None:
    methods = _public(stand_in)
    assert own <= methods.keys()
    for name in methods.keys() - own:
        theirs = inspect.getattr_static(real, name)
        assert inspect.isfunction(theirs), f"{real.__name__}.{name} is no method"
        assert _shape(methods[name]) == _shape(theirs), name
        assert inspect.iscoroutinefunction(methods[name]) == inspect.iscoroutinefunction(theirs), name


def test_a_watch_has_the_data_that_the_stand_in_has() -> None:
    real = Watch(UnixAddress("/nowhere"))
    held = {name for name in vars(ScriptedWatch()) if not name.startswith("_")} - OWN_DATA
    assert held == {"store", "session"}
    for name in held:
        assert hasattr(real, name)
    assert type(real.store) is type(ScriptedWatch().store)


def test_the_snapshot_is_a_real_one() -> None:
    assert type(ScriptedWatch().snapshot()) is type(Watch(UnixAddress("/nowhere")).snapshot())
