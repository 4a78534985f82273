"""A tape library in a folder: its changer, drives and cartridges behave as real ones do under Linux ``st``."""
