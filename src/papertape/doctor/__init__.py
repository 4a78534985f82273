"""The check-up of a set-up before its first night: host, library, drives, sources."""
