"""Peers made for tests, on plain asyncio: a QEMU monitor that replays, is programmed, or misbehaves.

In a test, ask for the fixture `fake_monitor`:

    async def test_asks_for_the_name(fake_monitor):
        fake_monitor.answer("query-name", {"name": "vm1"})       # or a function of the arguments
        async with await Session.attach(fake_monitor.address) as session:
            ...
        assert fake_monitor.sent == [("query-name", {})]

Without more it is a running QEMU 7.2.22 without a network: it greets, knows `query-status`, `query-name`,
`query-version`, `query-commands`, `query-qmp-schema`, `add-fd`, `remove-fd` and `query-fdsets`, and answers every
other command of its schema with `CommandNotFound`, which fails the test at its end unless
`fake_monitor.forgiving = True`. Each command is checked against the schema recorded from that QEMU: a wrong name, a
missing or mistyped argument fails the test.

    fake_monitor.version("11.1.3")             another recorded QEMU (before the client comes)
    fake_monitor.refuse("netdev_add", "no")    an error reply
    fake_monitor.hmp("info network", "text")   the answer to human-monitor-command, by its line
    await fake_monitor.event("STOP", {...})    an event
    fake_monitor.replay(path)                  a recorded conversation; its first surprise names file and line
    fake_monitor.fault(Stall(at=100))          after 100 bytes sent: Stall, HangUp; Split(size=1): pieces of 1 byte
    fake_monitor.greeting = b"..."             anything instead of a greeting
    fake_monitor.descriptors                   what came by SCM_RIGHTS (closed at the end)
    await fake_monitor.hang_up()               as when QEMU ends
"""
