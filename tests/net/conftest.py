"""A gateway in front of one badly behaved MCP server. With xdist every worker has its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.mcp_house import House, house

ODD = Path(__file__).parent / "odd_server.py"
CONFIG = f"""
data: ./data
postgres: {{host: 127.0.0.1, port: 0}}
http: {{host: 127.0.0.1, port: 0}}
plaintext_loopback: true
policy: ./policy.cedar
principals:
  - {{id: alice, kind: user, groups: [staff]}}
  - {{id: bob, kind: user, groups: [staff, dba]}}
  - {{id: carol, kind: user, groups: [readers]}}
  - {{id: eve, kind: user, groups: []}}
  - {{id: ward, kind: user, groups: [careful]}}
  - {{id: claude, kind: agent, owner: alice, groups: [staff]}}
  - {{id: robo, kind: agent, owner: carol, groups: [staff]}}
resources:
  - name: odd
    kind: mcp
    labels: {{env: test}}
    command: [{sys.executable}, {ODD}]
    environment: {{ODD_SECRET: "env:ODD_SECRET"}}
    classes: {{person.name: personal, customer: personal}}
  - name: gone
    kind: mcp
    command: [/nonexistent/server]
masking: {{transforms: {{email: partial, "*": redact}}}}
approval: {{timeout_s: 60, contact: "#dba"}}
"""
POLICY = """
@id("staff") permit (principal in Group::"staff", action, resource) unless { resource is DataClass };
@id("readers-see") permit (principal in Group::"readers", action in [Action::"connect", Action::"mcp.list"], resource);
@id("readers-echo") permit (principal in Group::"readers", action == Action::"mcp.call", resource == Tool::"odd/echo");
@id("careful") permit (principal in Group::"careful", action, resource) unless { resource is DataClass };
@id("careful-connect") @hold("dba") @reason("a look first")
forbid (principal in Group::"careful", action == Action::"connect", resource);
@id("hold-send") @hold("dba") @reason("a person looks at what is sent")
forbid (principal, action == Action::"mcp.call", resource == Tool::"odd/send");
@id("no-wipe") @reason("nobody wipes") forbid (principal, action == Action::"mcp.call", resource == Tool::"odd/wipe");
"""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    os.environ["ODD_SECRET"] = "for the server"
    os.environ["GATEWAY_ONLY"] = "not for the server"
    with house(tmp_path_factory.mktemp("gateway"), CONFIG, POLICY) as built:
        yield built
