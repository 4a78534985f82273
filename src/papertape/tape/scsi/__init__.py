"""Real tape libraries: Linux ``st`` drives (SSC), and media changers (SMC) through the program ``mtx``."""
