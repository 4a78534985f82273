"""A tape library to test against: a throw-away Linux guest with the real st driver and a changer. See README.md."""
