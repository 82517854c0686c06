"""Reading SQL: text → statements → effects, filters and lineage, with PostgreSQL's own grammar.

```
text ──read──▶ Script of Statements          syntax only, cached by text        postgres.py, grammar.py, statements.py
Statement + Catalog + search_path ──▶ effects   what it would do to which objects   postgres.py, functions.py
                                  ──▶ filters   which columns its predicates use    lineage.py
                                  ──▶ trace     which base columns reach its output lineage.py
```

A catalog is a value that somebody else fetched (`catalog.py` says which rows). Nothing here guesses: text that cannot be
parsed raises `Unparsable`, functions that are not known to be harmless are `sql.opaque`, columns that cannot be traced are None.
"""

from interlock.facts.sql.catalog import Catalog, CatalogColumn, Function, Relation
from interlock.facts.sql.copying import Copy
from interlock.facts.sql.grammar import Unparsable
from interlock.facts.sql.lineage import filters, trace
from interlock.facts.sql.postgres import Script, Statement, effects, read
from interlock.facts.sql.vocabulary import ACTIONS, Asked, Call

__all__ = [
    "ACTIONS",
    "Asked",
    "Call",
    "Catalog",
    "CatalogColumn",
    "Copy",
    "Function",
    "Relation",
    "Script",
    "Statement",
    "Unparsable",
    "effects",
    "filters",
    "read",
    "trace",
]
