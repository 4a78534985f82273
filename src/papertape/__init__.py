"""Write every data set to two tapes at once, read both back whole, and only then say that the disk copy may go."""

__version__ = "0.1.0"
