"""What databases and their drivers differ in: connections, option files, rows, and the troubles they report."""
