"""Data to try papertape with: a night of test data, rows for it in a test database, and the demo's preparations."""
