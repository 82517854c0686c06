"""Interlock: a zero trust gateway in the data path between people or AI agents and what they work on.

```
                    ┌───────────────────────────────── gate.py ─────────────────────────────────┐
 client ─bytes▶ relay ─Operations▶ identify ▶ look up ▶ decide ▶ hold ▶ decide again ▶ reserve ▶ journal ─Permit▶ upstream
 client ◀bytes─ relay ◀─Release── settle ◀ record ◀ mask (classes → reveal? → lens) ◀──────────── reply ◀──────── upstream
                    └────────────────────────────────────────────────────────────────────────────┘
```

Down once, up once. Left is translation (`protocols/`, pure), right is reach (`net/`, all I/O of the data path), the
middle is the product (`gate.py` and the stations `identity`, `resources`, `policy`, `approval`, `limits`, `masking`,
`evidence`). Nothing goes up without a `Permit`, nothing comes down without a `Release`, only `Cleared` bytes leave
`net/`. The nouns are in `exchange.py`; `app.py` is the only module that knows everything.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("interlock")
except PackageNotFoundError:  # running from a source tree that was not installed
    __version__ = "0+source"
