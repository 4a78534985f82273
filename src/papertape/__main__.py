"""``python -m papertape`` is ``papertape``."""

from papertape.cli import main

main()
