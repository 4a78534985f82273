"""Motion between disk and drives; owns every thread that moves bytes, knows no database."""
