"""The volumes of the predecessor: their catalog, their archives, and how to read them by hand."""
