"""The version of papertape, which plans, catalogs and the ledger note beside what it wrote."""

__version__ = "0.1.0"
