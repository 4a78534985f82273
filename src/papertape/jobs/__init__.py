"""The story: the only place where motion and record meet."""
