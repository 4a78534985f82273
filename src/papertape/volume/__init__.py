"""Bytes on a tape: names, headers, label, plan, archives, catalog (``docs/format.md``); no threads, no database."""
