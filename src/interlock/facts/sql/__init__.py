"""Reading SQL: text → statements → effects, filters and lineage, with PostgreSQL's own grammar.

```
text ─parse▶ trees ─read▶ Script of Statements      syntax only, cached by text
Statement + Catalog + search_path ─▶ effects        what it would do to which objects
                                  ─▶ filters        which columns its predicates use
                                  ─▶ trace          which base columns reach its output
```

Read in this order: `catalog` (what a database holds), `grammar` (text → tree, hostile input), `vocabulary` and `names`,
`statements` with `predicate` and `copying` (what is asked, by syntax), `postgres` (Statement, `read`, `effects`), `functions`
(the allow-list); then lineage: `scope` (names and columns), `relations`, `naming`, `expressions`, `tables` (FROM), `tracer`
(queries), `lineage` (`trace`, `filters`).

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
