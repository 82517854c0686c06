"""What is being asked: content in, effects, objects, facts and lineage out.

Everything here is pure: no I/O, no clock, no randomness, no gate. A protocol hands in the content of a message and
values that describe the upstream (such as a `Catalog`); it gets back plain facts for policy and masking. What
cannot be read raises; what cannot be known is said to be unknown, never guessed.

- `sql/` reads SQL: one module per dialect, one immutable `Catalog`, one lineage.
"""
