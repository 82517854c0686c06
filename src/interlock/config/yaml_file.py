"""A YAML file as typed values with places: every complaint names file, line and remedy.

`Table` wraps one mapping node. Each getter takes a key, checks its type and remembers that the key is
known; `finish` refuses what nobody asked for. Nothing is converted silently: `port: "5432"` is an error,
as is a key given twice. Only block and flow YAML of the core types is read; custom tags are refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from interlock.errors import ConfigError

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""A configuration file may be so long; longer is refused before it is parsed."""

_STR: Final = "tag:yaml.org,2002:str"
_INT: Final = "tag:yaml.org,2002:int"
_BOOL: Final = "tag:yaml.org,2002:bool"
_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00]+")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")


def read_yaml(path: Path) -> Table:
    """The file's top mapping. Raises `ConfigError` when it cannot be read, parsed, or is no mapping."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="give the path of a readable file") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is longer than {MAX_FILE_BYTES} bytes", hint="split data off into files of their own")
    try:
        node = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"not valid YAML: {error.problem}", place=f"{path}{line}", hint="mend the syntax at that line") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("not valid YAML", place=str(path), hint="save the file as UTF-8 text in YAML syntax") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError("the file must hold keys and values", place=f"{path}:1", hint="start with a line such as `data: ./data`")
    return Table(path, node, "")


class Table:
    """One mapping of the file. `name` is its path in the file (`resources[0].labels`), empty at the top."""

    def __init__(self, file: Path, node: yaml.MappingNode, name: str) -> None:
        self.file = file
        self.name = name
        self._node = node
        self._known: set[str] = set()
        self._values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != _STR:
                raise self._complain(f"a key of {name or 'the file'} is not plain text", key, "write the key as a word, or in quotes")
            if key.value in self._values:
                raise self._complain(f"{self._path(key.value)} is given twice", key, "keep one of the two")
            self._values[key.value] = value

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def is_text(self, key: str) -> bool:
        """Whether the key's value is a plain string, for values that may be a word or a list."""
        node = self._values.get(key)
        return isinstance(node, yaml.ScalarNode) and node.tag == _STR

    @property
    def folder(self) -> Path:
        """The folder to which relative paths of this file belong."""
        return self.file.parent

    def error(self, message: str, *, key: str = "", hint: str) -> ConfigError:
        """A complaint at the line of `key`, or of the table when the key is empty or absent."""
        return self._complain(message, self._values.get(key, self._node), hint)

    def text(self, key: str, default: str | None = None, *, pattern: str = "", choices: Iterable[str] = (), hint: str = "") -> str:
        """A string; required without default; must match the whole `pattern`, or be one of `choices`."""
        node = self._take(key, required=default is None)
        if node is None:
            return default or ""
        value = self._scalar(node, key, _STR, "text", "put it in quotes")
        options = tuple(choices)
        if options and value not in options:
            raise self._complain(
                f"{self._path(key)} must be one of: {', '.join(options)}", node, _nearest(value, options) or f"for example {options[0]}"
            )
        if pattern and not re.fullmatch(pattern, value):
            raise self._complain(f"{self._path(key)} is not written as expected", node, hint or f"it must match {pattern}")
        return value

    def number(self, key: str, default: int | None, low: int, high: int, unit: str = "") -> int:
        """A whole decimal number from `low` to `high`."""
        node = self._take(key, required=default is None)
        if node is None:
            assert default is not None
            return default
        raw = self._scalar(node, key, _INT, "a whole number", "write digits without quotes")
        limits = f"from {low} to {high}{' ' + unit if unit else ''}"
        if not _DECIMAL.fullmatch(raw):
            raise self._complain(f"{self._path(key)} is not a plain decimal number", node, f"give a number {limits}")
        value = int(raw)
        if not low <= value <= high:
            raise self._complain(f"{self._path(key)} is {value}", node, f"give a number {limits}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """`true` or `false`, in no other spelling."""
        node = self._take(key, required=False)
        if node is None:
            return default
        value = self._scalar(node, key, _BOOL, "true or false", "write true or false without quotes")
        if value not in ("true", "false"):
            raise self._complain(f"{self._path(key)} must be true or false", node, "write true or false")
        return value == "true"

    def texts(self, key: str, default: tuple[str, ...] | None = (), *, choices: Iterable[str] = ()) -> tuple[str, ...]:
        """A list of strings; required when `default` is None."""
        node = self._take(key, required=default is None)
        if node is None:
            return default or ()
        options = tuple(choices)
        values = []
        for index, item in enumerate(self._items(node, key)):
            value = self._scalar(item, f"{key}[{index}]", _STR, "text", "put it in quotes")
            if options and value not in options:
                raise self._complain(
                    f"{self._path(key)} holds something unknown", item, _nearest(value, options) or f"choose from: {', '.join(options)}"
                )
            values.append(value)
        return tuple(values)

    def path(self, key: str, default: str | None = None, *, exists: bool = True) -> Path:
        """A path, made absolute against the file's folder; it must exist unless told otherwise."""
        value = (self.folder / self.text(key, default)).absolute()
        if exists and not value.exists():
            raise self.error(
                f"{self._path(key)}: {value} does not exist", key=key, hint="mend the path (it is relative to this file), or create it"
            )
        return value

    def reference(self, key: str, default: str | None = None, *, plain: bool = False) -> str:
        """Where a secret is kept: `env:NAME`, or `file:path` (made absolute); `plain:value` only where
        values need not be secret. A literal is refused, and never repeated in the complaint."""
        node = self._take(key, required=default is None)
        if node is None:
            return default or ""
        value = node.value if isinstance(node, yaml.ScalarNode) else ""
        if plain and value.startswith("plain:"):
            return value
        if not isinstance(node, yaml.ScalarNode) or node.tag != _STR or not _REFERENCE.fullmatch(value):
            more = ", or plain:VALUE if it is no secret" if plain else ""
            raise self._complain(
                f"{self._path(key)} must say where the secret is kept, not the secret itself", node, f"write env:NAME or file:PATH{more}"
            )
        if value.startswith("file:"):
            return f"file:{(self.folder / value.removeprefix('file:')).absolute()}"
        return value

    def table(self, key: str) -> Table | None:
        """A mapping, or None when the key is absent."""
        node = self._take(key, required=False)
        return None if node is None else self._table(node, key)

    def tables(self, key: str) -> Iterator[Table]:
        """A list of mappings; nothing when the key is absent."""
        node = self._take(key, required=False)
        for index, item in enumerate(self._items(node, key) if node is not None else ()):
            yield self._table(item, f"{key}[{index}]")

    def words(self, key: str, *, pattern: str = "", hint: str = "") -> Mapping[str, str]:
        """A mapping with free keys to strings; empty when absent."""
        inner = self.table(key)
        return {word: inner.text(word, pattern=pattern, hint=hint) for word in inner} if inner else {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def finish(self) -> None:
        """Refuse every key that no getter has asked for."""
        for key, node in self._values.items():
            if key not in self._known:
                known = ", ".join(sorted(self._known))
                raise self._complain(f"{self._path(key)} is not a known key", node, _nearest(key, self._known) or f"known here: {known}")

    def _take(self, key: str, *, required: bool) -> yaml.Node | None:
        self._known.add(key)
        node = self._values.get(key)
        if node is None and required:
            raise self._complain(f"{self._path(key)} is missing", self._node, f"add a line `{key}: …`")
        return node

    def _scalar(self, node: yaml.Node, key: str, tag: str, what: str, hint: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != tag:
            raise self._complain(f"{self._path(key)} must be {what}", node, hint)
        return str(node.value)

    def _items(self, node: yaml.Node, key: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._complain(f"{self._path(key)} must be a list", node, "write [a, b], or one `- item` per line")
        return list(node.value)

    def _table(self, node: yaml.Node, key: str) -> Table:
        if not isinstance(node, yaml.MappingNode):
            raise self._complain(f"{self._path(key)} must hold keys and values", node, "write {key: value}, or indented `key: value` lines")
        return Table(self.file, node, self._path(key))

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _complain(self, message: str, node: yaml.Node, hint: str) -> ConfigError:
        return ConfigError(message, place=f"{self.file}:{node.start_mark.line + 1}", hint=hint)


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""
