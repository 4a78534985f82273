"""The lab's own databases and the ledger: pulling work, claiming and releasing rows, reporting, history."""
