"""Write every data set to two tapes at once, read both back whole, and only then say that the disk copy may go.

``papertape.open(config)`` is the interface for programs (``docs/api.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from papertape.version import __version__

if TYPE_CHECKING:
    from papertape.api import Archive, build_testdata, init, open  # noqa: A004  papertape.open, as gzip.open

_LAZY = ("Archive", "build_testdata", "init", "open")
__all__ = ["Archive", "__version__", "build_testdata", "init", "open"]


def __getattr__(name: str) -> object:
    # On first use: `import papertape.errors` must not load a database's drivers.
    if name in _LAZY:
        from papertape import api  # noqa: PLC0415

        return getattr(api, name)
    raise AttributeError(f"module 'papertape' has no attribute {name!r}")
