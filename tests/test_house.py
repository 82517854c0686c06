"""The walls of the house, read from the source: each rule is a function that names the offending lines.

Who may import whom is checked by import-linter (`make check`); here stands what imports alone cannot say. Every rule
is also shown a piece of bad code, so that it is known to bite.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.compile import HOT

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "interlock"
MODULES = sorted(path for path in SOURCE.rglob("*.py"))

PROOFS = {"Permit", "Release", "Cleared", "_Permit", "_Release", "Mint", "claim_mint", "_claimed", "_MINT"}
IMPURE = {
    "asyncio", "socket", "ssl", "select", "selectors", "multiprocessing", "subprocess", "time", "random", "secrets",
    "os", "uvloop", "sqlite3", "aiosqlite", "sqlalchemy", "tempfile", "httptools", "uvicorn", "starlette",
}  # fmt: skip
OPENERS = {
    "open_connection",
    "start_server",
    "create_connection",
    "create_server",
    "open_unix_connection",
    "start_unix_server",
    "connect_ex",
}
SENDERS = {"write", "writelines", "sendall", "sendto", "send_bytes"}

# Modules without a test file of their own: each with the test that covers it, or why it needs none.
COVERED_ELSEWHERE: dict[str, str] = {
    "demo/database_steps.py": "demo/test_story.py plays every step, and wrong policies against them",
    "demo/mcp_steps.py": "demo/test_story.py plays every step",
    "facts/sql/copying.py": "facts/sql/test_statements.py: golden cases of COPY",
    "facts/sql/definitions.py": "live/test_bypass.py: definitions as side channels, against a real server",
    "facts/sql/expressions.py": "facts/sql/test_lineage.py: golden cases, and a real server as oracle",
    "facts/sql/functions.py": "facts/sql/test_postgres.py: what each function may do",
    "facts/sql/names.py": "facts/sql/test_statements.py: names of every statement kind",
    "facts/sql/naming.py": "facts/sql/test_lineage.py: output names and numbers",
    "facts/sql/relations.py": "facts/sql/test_lineage.py: views, inheritance, generated columns",
    "facts/sql/scope.py": "facts/sql/test_lineage.py: joins, aliases, correlated subqueries",
    "facts/sql/tables.py": "facts/sql/test_lineage.py: everything that stands in FROM",
    "facts/sql/totals.py": "facts/sql/test_lineage.py: what decides by itself",
    "facts/sql/tracer.py": "facts/sql/test_lineage.py: golden cases",
    "facts/sql/vocabulary.py": "facts/sql/test_statements.py: every action and statement kind",
    "masking/masking.py": "masking/test_lens.py and masking/test_scrub.py go through it",
    "masking/rewrite.py": "masking/test_lens.py: what is put in place of a finding",
    "masking/scanner.py": "masking/test_detectors.py: both engines over all fixtures",
    "masking/validators.py": "masking/test_detectors.py: examples and counter-examples",
    "net/doorman.py": "live/test_direct_tls.py and live/test_proofs.py: real drivers at the door",
    "policy/entities.py": "policy/test_cases.py: golden cases through the real engine",
    "policy/memory.py": "policy/test_engine.py: bounded and keyed",
    "policy/rules.py": "policy/test_cases.py and policy/test_schema.py: errors with their lines",
    "policy/slices.py": "policy/test_engine.py: slices against the whole policy",
    "protocols/postgres/builders.py": "protocols/postgres/test_wire.py: round trips",
    "protocols/postgres/catalog.py": "live/test_catalogs.py: its questions need a real server",
    "protocols/postgres/codec.py": "protocols/postgres/test_types.py: round trips",
    "protocols/postgres/copy_out.py": "protocols/postgres/test_copy_formats.py: any cut of the stream",
    "protocols/postgres/expect.py": "protocols/postgres/test_answers.py: what is owed, in order",
    "protocols/postgres/instants.py": "protocols/postgres/test_types.py: dates and times",
    "protocols/postgres/messages.py": "protocols/postgres/test_wire.py: every truncation and extra byte",
    "protocols/postgres/scalars.py": "protocols/postgres/test_types.py: round trips",
    "protocols/postgres/startup.py": "protocols/postgres/test_wire.py: first packets",
    "protocols/postgres/upstream_login.py": "protocols/postgres/test_login.py: both halves talk to each other",
    "protocols/stream.py": "net/test_stream.py: a contract without behaviour of its own",
}
"""Modules that are tested through another module's test file (below tests/), and what is tested there."""

Rule = Callable[[ast.Module], Iterator[tuple[int, str]]]


def makes_proofs(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls to the constructors of proofs, and any reach for the mint. Naming `Permit` in an annotation is fine."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in PROOFS:
                yield node.lineno, f"calls {name}"
            case ast.Call(func=ast.Attribute(attr="__new__"), args=[ast.Name(id=name) | ast.Attribute(attr=name), *_]) if name in PROOFS:
                yield node.lineno, f"makes a {name} by __new__"
            case ast.ClassDef(name=name, bases=bases):
                for base in bases:
                    if isinstance(base, ast.Name | ast.Attribute) and (base.id if isinstance(base, ast.Name) else base.attr) in PROOFS:
                        yield node.lineno, f"class {name} poses as a proof"
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                for alias in names:
                    if alias.name in {"claim_mint", "Mint"} or (alias.name.startswith("_") and alias.name in PROOFS):
                        yield node.lineno, f"imports {alias.name}"
            case ast.Attribute(attr="_claimed" | "_MINT" | "claim_mint" | "Mint" as name):
                yield node.lineno, f"reaches for {name}"
            case _:
                pass


def is_impure(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports of I/O, clocks and randomness, and reading the clock through datetime."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.split(".")[0] in IMPURE:
                        yield node.lineno, f"imports {alias.name}"
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] in IMPURE:
                yield node.lineno, f"imports from {module}"
            case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today" as name)):
                yield node.lineno, f"reads the clock by .{name}()"
            case ast.Call(func=ast.Attribute(attr="uuid1" | "uuid4" | "uuid6" | "uuid7" as name) | ast.Name(id="uuid1" | "uuid4" as name)):
                yield node.lineno, f"is random by {name}()"
            case ast.Call(func=ast.Name(id="open" | "input" | "print" as name)):
                yield node.lineno, f"does I/O by {name}()"
            case _:
                pass


def opens_connections(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Sockets and streams of the data path, which belong to net/."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in OPENERS:
                yield node.lineno, f"calls {name}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="socket"), attr="socket")):
                yield node.lineno, "makes a socket"
            case _:
                pass


def sends_uncleared(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Writes in a function that was not handed `Cleared`, or of something that is not made of its `.data`."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if function.args.vararg:
            arguments.append(function.args.vararg)
        handed_cleared = any(argument.annotation and "Cleared" in ast.unparse(argument.annotation) for argument in arguments)
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(attr=name), args=[sent, *_]) if name in SENDERS:
                    if not handed_cleared:
                        yield node.lineno, f"{name} in {function.name}, which takes no Cleared"
                    elif ".data" not in ast.unparse(sent):
                        yield node.lineno, f"{name} in {function.name} of something that is not Cleared.data"
                case _:
                    pass


def differs_compiled(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What mypyc compiles to something else: `from` is ignored in `raise`, so that a hidden cause is shown; an `await` in
    a handler leaves the handled exception behind for whatever runs meanwhile; a name has one type in all handlers."""
    for node in ast.walk(tree):
        match node:
            case ast.Raise(cause=ast.Constant(value=None)):
                yield node.lineno, "hides a cause by `from None`: raise outside of the handler"
            case ast.Try(handlers=handlers, finalbody=final):
                for inner in (inner for part in (*handlers, *final) for inner in ast.walk(part)):
                    if isinstance(inner, ast.Await | ast.AsyncWith | ast.AsyncFor):
                        yield inner.lineno, "awaits while an exception is handled"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                types: dict[str, str] = {}
                for inner in ast.walk(node):
                    if isinstance(inner, ast.ExceptHandler) and inner.name and inner.type is not None:
                        caught = ast.unparse(inner.type)
                        if types.setdefault(inner.name, caught) != caught:
                            yield inner.lineno, f"calls exceptions of two types {inner.name}"
            case _:
                pass


def found(rule: Rule, paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {what}" for path in paths for line, what in rule(ast.parse(path.read_text(encoding="utf-8")))
    ]


def in_rooms(*rooms: str) -> list[Path]:
    return [path for path in MODULES if path.relative_to(SOURCE).parts[0] in rooms]


def test_only_the_gate_makes_proofs() -> None:
    others = [path for path in MODULES if path not in (SOURCE / "gate.py", SOURCE / "exchange.py")]
    assert found(makes_proofs, others) == []


def test_the_gate_is_where_proofs_are_made() -> None:
    """If the gate were renamed, the rule above would pass by looking at nothing."""
    assert found(makes_proofs, [SOURCE / "gate.py"])


def test_protocols_and_facts_are_pure() -> None:
    assert found(is_impure, in_rooms("protocols", "facts")) == []


def test_only_net_opens_connections() -> None:
    assert found(opens_connections, [path for path in MODULES if path not in in_rooms("net", "demo")]) == []


def test_net_sends_only_what_was_cleared() -> None:
    assert found(sends_uncleared, in_rooms("net")) == []


def test_hot_modules_are_the_same_compiled() -> None:
    assert found(differs_compiled, [SOURCE / f"{module}.py" for module in HOT]) == []


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (makes_proofs, "from interlock.exchange import Cleared\nCleared(mint, b'x')"),
        (makes_proofs, "from interlock import exchange\nexchange.Cleared(mint, b'x')"),
        (makes_proofs, "from interlock.exchange import claim_mint"),
        (makes_proofs, "from interlock.gate import _MINT"),
        (makes_proofs, "import interlock.gate as g\nmint = g._MINT"),
        (makes_proofs, "cleared = object.__new__(Cleared)"),
        (makes_proofs, "class Mine(Cleared): ..."),
        (differs_compiled, "try: f()\nexcept OSError: raise ValueError from None"),
        (differs_compiled, "async def f():\n try: g()\n except OSError: await h()"),
        (differs_compiled, "async def f():\n try: g()\n finally: await h()"),
        (differs_compiled, "def f():\n try: g()\n except OSError as e: ...\n except ValueError as e: ..."),
        (is_impure, "import asyncio"),
        (is_impure, "import os.path"),
        (is_impure, "from time import monotonic"),
        (is_impure, "from datetime import datetime\nnow = datetime.now()"),
        (is_impure, "from uuid import uuid4\nname = uuid4()"),
        (is_impure, "open('/etc/passwd')"),
        (opens_connections, "async def f(): await asyncio.open_connection('h', 1)"),
        (opens_connections, "import socket\ns = socket.socket()"),
        (sends_uncleared, "def send(self, data: bytes) -> None: self.transport.write(data)"),
        (sends_uncleared, "def send(self, cleared: Cleared, more: bytes) -> None: self.transport.write(more)"),
    ],
)
def test_each_rule_bites(rule: Rule, code: str) -> None:
    assert list(rule(ast.parse(code)))


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (makes_proofs, "def send(permit: Permit, piece: bytes) -> Cleared: return permit.apply(piece)"),
        (is_impure, "from datetime import datetime, UTC\nmoment = datetime.fromtimestamp(now, UTC)"),
        (sends_uncleared, "def send(self, cleared: Cleared) -> None: self.transport.write(cleared.data)"),
        (sends_uncleared, "def send(self, all: list[Cleared]) -> None: self.transport.writelines([one.data for one in all])"),
    ],
)
def test_each_rule_lets_good_code_be(rule: Rule, code: str) -> None:
    assert list(rule(ast.parse(code))) == []


def test_every_module_has_its_test_file() -> None:
    """src/interlock/masking/lens.py is tested by tests/masking/test_lens.py, or stands in the reviewed list."""
    missing = []
    for path in MODULES:
        name = path.relative_to(SOURCE)
        if path.name in ("__init__.py", "__main__.py") or "migrations" in name.parts or name.as_posix() in COVERED_ELSEWHERE:
            continue
        if not (ROOT / "tests" / name.parent / f"test_{name.name}").exists():
            missing.append(name.as_posix())
    assert missing == []


def test_the_reviewed_list_holds_no_strangers() -> None:
    for name, reason in COVERED_ELSEWHERE.items():
        assert (SOURCE / name).exists(), f"{name} is gone"
        assert not (ROOT / "tests" / Path(name).parent / f"test_{Path(name).name}").exists(), f"{name} has a test file by now"
        assert (ROOT / "tests" / reason.split(" ")[0].rstrip(":")).exists(), f"{reason} names no test file"


def test_every_room_says_what_it_is_for() -> None:
    rooms = [path for path in MODULES if path.name == "__init__.py"]
    assert [path.relative_to(ROOT).as_posix() for path in rooms if not ast.get_docstring(ast.parse(path.read_text()))] == []
    folders = {path.parent for path in MODULES if "migrations" not in path.parts}
    assert sorted(folder.relative_to(ROOT).as_posix() for folder in folders if not (folder / "__init__.py").exists()) == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the installer's business; a lock that names a host would overrule it."""
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"), ("crates", "io"))]
    naming = []
    for path in _project_files(ROOT):
        text = path.read_bytes().decode("utf-8", errors="replace")
        naming += [f"{path.relative_to(ROOT)}: {host}" for host in hosts if host in text]
    assert naming == []


def _project_files(folder: Path) -> Iterator[Path]:
    """What belongs to the project: not the environment, caches and data that .gitignore names."""
    ignored = [".git", *(ROOT / ".gitignore").read_text().split()]
    for path in sorted(folder.iterdir()):
        # A pattern with a leading slash means the top folder only (gitignore's rule).
        if not any(path.match(pattern.strip("/")) for pattern in ignored if not pattern.startswith("/") or folder == ROOT):
            if path.is_dir():
                yield from _project_files(path)
            elif path.is_file():
                yield path
