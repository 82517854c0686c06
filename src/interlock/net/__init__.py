"""Carrying: all I/O of the data path. Nothing here decides or masks; only `Cleared` bytes are written.

`link` is one connection, `stream` one conversation over links (login, then a relay), `listener` the doors,
`upstream` reaches resources, `ask` puts the gateway's own (or an agent's) questions through the very same
conversation without a socket, `catalogs` keeps what databases say of themselves, `tls` the contexts.
"""
