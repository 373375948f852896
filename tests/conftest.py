"""What holds for every test: its own runtime directory, no process left behind, and no skip in CI."""

import os
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.fixtures import fake_monitor as fake_monitor
from tests.lab import cache, qemus

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
_GRACE_S = 3.0

# How fast examples are made says more about the machine than about the code.
settings.register_profile("qmon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("qmon")

# Tests move the user's directories about; the lab's cache stays where it is.
os.environ["QMON_LAB_CACHE"] = str(cache.root())


# A run that was started under nohup or in the background must test the same: what its programs do on a signal.
for _number, _habit in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _habit)

# Which QEMUs the fixture `qemu` gives: "all", versions ("7.2,11.1"), or nothing: one for each test, by turns.
_WANTED = os.environ.get("QMON_QEMUS", "")
# Whose turn it is: the day. In the environment, so that all processes of one run agree.
_TURN = int(os.environ.setdefault("QMON_QEMU_TURN", str(int(time.time()) // 86400)))


def _versions(item_name: str, always: tuple[str, ...]) -> list[str]:
    """The versions of QEMU that a test runs on, oldest first; `always` are those where it matters most."""
    known = [recipe.version for recipe in qemus.RECIPES]
    if _WANTED == "all":
        return known
    if _WANTED:
        wanted = [version.strip() for version in _WANTED.split(",")]
        if strange := set(wanted) - set(known):
            raise pytest.UsageError(f"QMON_QEMUS: no QEMU {', '.join(sorted(strange))}; there are {known}")
        return wanted
    # Three days bring every test to every version.
    turn = known[(_TURN + zlib.crc32(item_name.encode())) % len(known)]
    return [version for version in known if version in always] or [turn]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `qemu` on the versions this run is for."""
    if "qemu" in metafunc.fixturenames:
        name = f"{metafunc.module.__name__}::{metafunc.function.__name__}"
        marks = metafunc.definition.iter_markers("always_on")
        always = tuple(version for mark in marks for version in mark.args)
        metafunc.parametrize("qemu", _versions(name, always), indirect=True)


def pytest_report_header() -> str:
    """Say which QEMUs this run is for, and how to have the same again."""
    if _WANTED:
        return f"QEMU: {_WANTED} (QMON_QEMUS)"
    return f"QEMU: one version a test, by turns (QMON_QEMU_TURN={_TURN}); QMON_QEMUS=all for every one"


@pytest.fixture
def qemu(request: pytest.FixtureRequest) -> qemus.Qemu:
    """A QEMU of the lab; see `_versions` for which."""
    try:
        return qemus.get(request.param)
    except qemus.LabError as error:
        pytest.skip(f"QEMU {request.param} cannot be had here: {error}")


@pytest.fixture
def qemu_one() -> qemus.Qemu:
    """One QEMU: the system's own if it has one, else the first of the lab that can be had."""
    own = qemus.system()
    if own is not None:
        return own
    found = qemus.found()
    if not found:
        pytest.skip(f"no QEMU can be had here: {qemus.lacking()}")
    return found[0]


@pytest.fixture(autouse=True)
def runtime_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own, with a path short enough for sockets; nothing of the user's is seen."""
    path = Path(tempfile.mkdtemp(prefix="qmon-rt-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    for name in ("QMON_VM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _children() -> dict[int, str]:
    """Processes this one started that have not ended: pid → what they run."""
    running: dict[int, str] = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            pids = listing.read_text().split()
        except OSError:
            continue
        for pid in pids:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                command = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
            if state != "Z":
                running[int(pid)] = command
    return running


@pytest.fixture(autouse=True)
def no_process_left(runtime_directory: Path) -> Iterator[None]:
    """Fail a test that leaves a process of its own behind (and end that process)."""
    before = _children() if sys.platform == "linux" else {}
    yield
    deadline = time.monotonic() + _GRACE_S
    while left := {pid: what for pid, what in _children().items() if pid not in before}:
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, 9)
            pytest.fail(f"the test left processes behind: {left}")
        time.sleep(0.02)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a real QEMU, so that `-m "not qemu"` leaves it out."""
    for item in items:
        if {"qemu", "qemu_one"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.qemu)


def _no_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: nothing is skipped in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one."""
    report = yield
    _no_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a module that skips itself is a failed one."""
    report = yield
    _no_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the QEMUs that tests were skipped for."""
    missing = {
        r.longrepr[2] for r in terminalreporter.stats.get("skipped", []) if isinstance(r.longrepr, tuple)
    }
    for reason in sorted(reason for reason in missing if "cannot be had" in reason):
        terminalreporter.write_line(f"not tested: {reason.removeprefix('Skipped: ')}", yellow=True)
