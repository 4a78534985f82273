"""The labs of the tests of jobs, for tests of the check-up."""

from __future__ import annotations

from jobs.conftest import lab, new_lab, night, nothing_is_left_behind

__all__ = ["lab", "new_lab", "night", "nothing_is_left_behind"]
