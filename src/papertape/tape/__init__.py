"""Devices, in the words of SSC (tape drives) and SMC (media changers); no file format, no database."""
