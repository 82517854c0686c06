"""An MCP server over stdio, written by hand so that it can behave badly: `python odd_server.py`. Revision 2025-11-25."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

CANARY = "kira.canary@lakeside.example"
OBJECT = {"type": "object"}
PERSON = {
    "type": "object",
    "properties": {"mail": {"type": "string", "format": "email"}, "card": {"type": "integer"}, "name": {"type": "string"}},
    "required": ["mail", "card", "name"],
    "additionalProperties": False,
}
TOOLS = {
    "echo": "says it again",
    "person": f"one person, such as {CANARY}",
    "leak": "says an address in every place",
    "fail": "says it failed",
    "error": "answers with an error of the protocol",
    "send": "is held",
    "wipe": "is refused",
    "hang": "never answers",
    "crash": "dies",
    "sample": "asks the client's model",
    "elicit": "asks the client's user",
    "chatter": "says much beside its answer",
    "env": "shows its environment",
    "garbage": "writes what is no JSON first",
    "slow": "takes a while",
}
calls: list[str] = []


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def result(text: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], **more}


def leak() -> dict[str, Any]:
    return {
        "content": [
            {"type": "text", "text": f"plain {CANARY}", "_meta": {"by": CANARY}},
            {"type": "text", "text": json.dumps({"inside": [CANARY], CANARY: 1})},
            {"type": "resource_link", "uri": f"mailto:{CANARY}", "name": CANARY, "description": CANARY},
            {"type": "resource", "resource": {"uri": "file:///x", "text": CANARY}},
        ],
        "structuredContent": {"deep": [{"er": CANARY}], CANARY: {"key": 1}},
        "_meta": {"note/x": {"deep": CANARY}},
    }


def ask_client(number: object, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A question of the server's own; its answer is what the tool says."""
    say({"id": f"own-{number}", "method": method, "params": params})
    while True:
        answer = json.loads(sys.stdin.readline())
        if answer.get("id") == f"own-{number}":
            return result("refused" if "error" in answer else f"answered: {answer['result']}")


def call(number: object, name: str, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any] | None:
    calls.append(name)
    match name:
        case "echo":
            return result(arguments.get("text", ""), structuredContent={"calls": len(calls), **arguments})
        case "person":
            person = {"mail": CANARY, "card": 4111111111111111, "name": "Vera Okafor"}
            return result(json.dumps(person), structuredContent=person)
        case "leak":
            return leak()
        case "fail":
            return result(f'no such customer: {CANARY}, name "Vera Okafor"', isError=True)
        case "send" | "wipe":
            return result(f"{name}: done, call {calls.count(name)}")
        case "hang":
            return None
        case "slow":
            time.sleep(float(arguments["s"]))
            return result("at last")
        case "crash":
            os._exit(3)
        case "sample":
            message = {"role": "user", "content": {"type": "text", "text": "?"}}
            return ask_client(number, "sampling/createMessage", {"messages": [message], "maxTokens": 5})
        case "elicit":
            return ask_client(number, "elicitation/create", {"message": CANARY, "requestedSchema": {"type": "object", "properties": {}}})
        case "chatter":
            say({"method": "notifications/message", "params": {"level": "error", "data": CANARY}})
            if "progressToken" in meta:
                say(
                    {
                        "method": "notifications/progress",
                        "params": {"progressToken": meta["progressToken"], "progress": 1, "message": CANARY},
                    }
                )
            say({"method": "notifications/tools/list_changed"})
            return result("no more")
        case "env":
            return result(" ".join(sorted(os.environ)), structuredContent={"names": sorted(os.environ)})
        case "garbage":
            sys.stdout.write("Starting… not JSON\n")
            return result("after all")
        case _:
            return result(f"unknown: {name}", isError=True)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        number, method, params = request.get("id"), request.get("method"), request.get("params") or {}
        if number is None or method is None:
            continue
        if method == "initialize":
            versions = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}}}
            say({"id": number, "result": {**versions, "serverInfo": {"name": "odd", "version": "1"}}})
        elif method == "tools/list":
            tools = [
                {"name": name, "description": text, "inputSchema": OBJECT, **({"outputSchema": PERSON} if name == "person" else {})}
                for name, text in TOOLS.items()
            ]
            say({"id": number, "result": {"tools": tools}})
        elif method == "tools/call" and params["name"] == "error":
            say({"id": number, "error": {"code": -32001, "message": f"refused for {CANARY}", "data": {"who": CANARY}}})
        elif method == "tools/call":
            answer = call(number, params["name"], params.get("arguments") or {}, params.get("_meta") or {})
            if answer is not None:
                say({"id": number, "result": answer})
        elif method == "ping":
            say({"id": number, "result": {}})
        else:
            say({"id": number, "error": {"code": -32601, "message": "no such method"}})


if __name__ == "__main__":
    main()
