"""Plugins by gRPC, in the words of every generation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.grpc.messages.node_icons import icon_of
from cuvis_ai_core.grpc.messages.schema_generations import wire
from cuvis_ai_core.grpc.plugin_service import PluginService


def nodes_of(response: Any, plugin: str) -> list[Any]:
    """Return the nodes that a plugin brings."""
    return [node for node in response.nodes if node.plugin_name == plugin]


def test_nodes_have_the_icons_of_the_schemas(stub: Any, session: str) -> None:
    """The one that they name, that of their category, or the one for all others."""
    pytest.importorskip("cuvis_ai_schemas.extensions.ui.icons")
    icons = {each.class_name: each.icon_svg for each in stub.ListAvailableNodes(session_id=session).nodes}
    assert all(b"<svg" in each for each in icons.values())
    named = type("Named", (), {"get_icon_name": staticmethod(lambda: "optimizer")})
    assert icon_of(named) not in {b"", *icons.values()}
    assert icon_of(type("Odd", (), {"get_icon_name": staticmethod(lambda: "../model")})) == icon_of(object)


def test_a_client_of_0_2_loads_many_and_gets_port_lists(
    stub: Any, session: str, local_plugin: Callable[..., Path]
) -> None:
    """LoadPlugins names what failed; nodes come with ports in lists."""
    good = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]}
    bad = {"path": "/nowhere/at/all", "provides": ["a.b.C"]}
    answer = stub.LoadPlugins(session_id=session, manifest=stub.manifest(echo=good, absent=bad))
    assert list(answer.loaded_plugins) == ["echo"]
    assert "/nowhere/at/all" in answer.failed_plugins["absent"]
    raw = stub.channel.unary_unary("/cuvis_ai.v1.CuvisAIService/ListAvailableNodes")(
        wire().messages.ListAvailableNodesRequest(session_id=session).SerializeToString()
    )
    (node,) = nodes_of(stub.m.ListAvailableNodesWithListsResponse.FromString(raw), "echo")
    (port,) = node.input_specs["cube"].specs
    assert (port.name, port.dtype, list(port.shape)) == ("cube", 1, [-1, -1, -1, -1])
    assert node.full_path == "echo_plugin.nodes.Echo"


@pytest.mark.parametrize("form", ["0.5", "0.6"])
def test_newer_clients_get_ports_as_they_are(
    stub: Any, session: str, local_plugin: Callable[..., Path], form: str
) -> None:
    """The form of the manifest tells the generation."""
    provided = [{"class_name": "echo_plugin.nodes.Echo"}]
    path = str(local_plugin())
    if form == "0.5":
        stub.LoadPlugins(session_id=session, manifest=stub.manifest(echo={"path": path, "provides": provided}))
    else:
        sent = stub.one(name="echo", path=path, capabilities=[{**provided[0], "kind": "node", "category": "sink"}])
        answer = stub.LoadPlugin(session_id=session, manifest=sent)
        assert (answer.registered_plugin, answer.error) == ("echo", "")
    (node,) = nodes_of(stub.ListAvailableNodes(session_id=session), "echo")
    assert node.output_specs["cube"].dtype == 1
    (info,) = stub.ListLoadedPlugins(session_id=session).plugins
    assert (info.name, info.type, info.source, list(info.capabilities)) == (
        "echo",
        "local",
        path,
        ["echo_plugin.nodes.Echo"],
    )


def test_metadata_says_which_generation_is_spoken(stub: Any, session: str) -> None:
    """It goes before what the calls have shown; what is no version is refused."""
    call = stub.channel.unary_unary("/cuvis_ai.v1.CuvisAIService/ListAvailableNodes")
    request = wire().messages.ListAvailableNodesRequest(session_id=session).SerializeToString()
    raw = call(request, metadata=(("cuvis-schemas", "0.2"),))
    node = stub.m.ListAvailableNodesWithListsResponse.FromString(raw).nodes[0]
    assert node.source == "builtin"
    assert next(iter(node.input_specs.values())).specs[0].name


def test_two_sessions_run_two_versions_of_one_plugin(
    stub: Any, session: str, git_plugin: Callable[..., str], server: Any
) -> None:
    """A session cannot see another's plugins."""
    url, other = git_plugin("1.0.0", "2.0.0"), stub.CreateSession().session_id
    for number, tag in ((session, "v1.0.0"), (other, "v2.0.0")):
        entry = {"repo": url, "tag": tag, "provides": ["echo_plugin.nodes.Echo"]}
        answer = stub.LoadPlugins(session_id=number, manifest=stub.manifest(echo=entry))
        assert list(answer.loaded_plugins) == ["echo"], answer.failed_plugins
    versions = [server.service.sessions.get(each).node_registry.get("Echo").VERSION for each in (session, other)]
    assert versions == ["1.0.0", "2.0.0"]
    info = stub.GetPluginInfo(session_id=other, plugin_name="echo").plugin
    assert (info.type, info.source, info.tag) == ("git", url, "v2.0.0")
    stub.CloseSession(session_id=other)
    assert [each.tag for each in stub.ListLoadedPlugins(session_id=session).plugins] == ["v1.0.0"]


def test_unknown_plugins_and_bad_manifests(stub: Any, session: str, refused: Callable[..., Any]) -> None:
    """NOT_FOUND for what is not loaded, INVALID_ARGUMENT for what cannot be read."""
    refused("NOT_FOUND", stub.GetPluginInfo, session_id=session, plugin_name="nobody")
    for content in (b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000, json.dumps({"plugins": {"a": 1}}).encode()):
        manifest = stub.m.PluginManifest(config_bytes=content)
        refused("INVALID_ARGUMENT", stub.LoadPlugins, session_id=session, manifest=manifest)
    answer = stub.LoadPlugin(session_id=session, manifest=stub.one(name="a", path="x", capabilities=[]))
    assert answer.error
    assert not answer.registered_plugin


def test_the_cache_is_cleared_but_for_what_is_in_use(stub: Any, session: str, git_plugin: Callable[..., str]) -> None:
    """The answer counts what is gone."""
    entry = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    stub.LoadPlugins(session_id=session, manifest=stub.manifest(echo=entry))
    assert stub.ClearPluginCache(plugin_name="echo").cleared_count == 0
    stub.CloseSession(session_id=session)
    assert stub.ClearPluginCache().cleared_count >= 1


def test_the_published_names_work_over_the_real_code(cache: Path, local_plugin: Callable[..., Path]) -> None:
    """`PluginService`, `session.node_registry.load_plugins` and `session.list_available_nodes`."""
    service = PluginService()
    session = service.sessions.create()
    manifest = cache.parent / "plugins.yaml"
    manifest.write_text(f"plugins:\n  echo: {{path: {local_plugin()}, provides: [echo_plugin.nodes.Echo]}}\n")
    assert session.node_registry.load_plugins(manifest) == 1
    assert "Echo" in [each.name for each in session.list_available_nodes()]
    request = wire().messages.ListLoadedPluginsRequest(session_id=session.id)
    assert [each.name for each in service.list_loaded_plugins(request).plugins] == ["echo"]
    service.sessions.close_all()
