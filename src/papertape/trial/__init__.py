"""Data to try papertape on: a night of test data, and rows for it in a test database of the lab's form."""
