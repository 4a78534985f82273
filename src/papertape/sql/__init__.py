"""All that differs between databases and their drivers: opening, turns, errors, column types, option files, rows.

The ledger and the bridge ask a ``Dialect``; no other package tests which database it talks to.
"""
