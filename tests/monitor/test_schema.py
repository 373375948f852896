"""Lookups in the schemas that were recorded, and in nothing at all."""

import pytest

from qmon.monitor.schema import Schema
from tests.fakes.checking import recorded_schema, recorded_versions


@pytest.fixture(params=recorded_versions())
def schema(request: pytest.FixtureRequest) -> Schema:
    return Schema(recorded_schema(request.param))


def test_commands_and_events(schema: Schema) -> None:
    assert {"netdev_add", "human-monitor-command", "add-fd"} <= schema.commands()
    assert {"STOP", "RESUME", "DEVICE_DELETED"} <= schema.events()
    assert schema.command("no-such-command") is None
    assert schema.command("STOP") is None
    deleted = schema.event("DEVICE_DELETED")
    assert deleted is not None
    assert {member.name for member in deleted.members} == {"device", "path"}
    nothing = schema.command("query-name")
    assert nothing is not None
    assert nothing.members == ()


def test_backends_and_their_members(schema: Schema) -> None:
    types = schema.netdev_types()
    assert {"user", "tap", "socket", "stream", "dgram", "hubport"} <= set(types)
    assert not {"nic", "none"} & set(types)
    assert schema.netdev_members("no-such-type") is None
    assert schema.netdev_members("nic") is None
    for netdev_type in types:
        members = schema.netdev_members(netdev_type)
        assert members is not None
        assert [member.name for member in members if not member.optional][:2] == ["id", "type"]
        for member in members:
            assert schema.type(member.type).kind


def test_member_types(schema: Schema) -> None:
    members = {member.name: member for member in schema.netdev_members("user") or ()}
    kinds = {
        name: schema.type(members[name].type).kind for name in ("restrict", "hostname", "ipv6-prefixlen")
    }
    assert kinds == {"restrict": "boolean", "hostname": "string", "ipv6-prefixlen": "int"}
    forwards = schema.type(members["hostfwd"].type)
    assert forwards.kind == "array"
    assert [member.name for member in schema.members(forwards.element)] == ["str"]


def test_an_address_has_variants(schema: Schema) -> None:
    members = {member.name: member for member in schema.netdev_members("stream") or ()}
    address = schema.type(members["addr"].type)
    assert address.tag == "type"
    assert {"host", "port"} <= {member.name for member in schema.members(address.name, "inet")}
    assert "path" in {member.name for member in schema.members(address.name, "unix")}
    assert [member.name for member in schema.members(address.name, "no-such-case")] == ["type"]


def test_objects(schema: Schema) -> None:
    dump = schema.object_members("filter-dump")
    assert dump is not None
    assert {"netdev", "file", "maxlen", "queue"} <= {member.name for member in dump}
    assert schema.object_members("no-such-type") is None


def test_every_type_can_be_read(schema: Schema) -> None:
    for name in schema.commands() | schema.events():
        found = schema.command(name) or schema.event(name)
        assert found is not None
        for member in found.members:
            kind = schema.type(member.type)
            assert kind.kind in {
                "enum",
                "array",
                "object",
                "alternate",
                "string",
                "int",
                "number",
                "boolean",
                "value",
            }


def test_an_empty_schema_has_nothing() -> None:
    schema = Schema([])
    assert (schema.commands(), schema.netdev_types(), schema.netdev_members("user")) == (
        frozenset(),
        (),
        None,
    )
    assert schema.object_members("filter-dump") is None
    with pytest.raises(KeyError):
        schema.type("str")
