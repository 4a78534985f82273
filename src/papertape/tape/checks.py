"""The findings of a check of the set-up: one sentence for each thing, and what to change.

``papertape doctor`` collects these. They stand on this floor because each kind of library checks its own devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from papertape.errors import UserError

SET_UP = UserError.exit_code
"""The exit code of what is wrong in the set-up itself: config, programs, rights, cables."""


class Verdict(StrEnum):
    """How a check ended; only a problem keeps a dump from succeeding."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One finding: ``sentence`` says what, ``remedy`` what to change, ``code`` is the exit code of a problem."""

    name: str
    verdict: Verdict
    sentence: str
    remedy: str = ""
    code: int = 0


def ok(name: str, sentence: str) -> Check:
    """Return that all is well."""
    return Check(name, Verdict.OK, sentence)


def warning(name: str, sentence: str, remedy: str = "") -> Check:
    """Return what may go wrong, or be slow."""
    return Check(name, Verdict.WARNING, sentence, remedy)


def problem(name: str, sentence: str, remedy: str = "", code: int = SET_UP) -> Check:
    """Return what will go wrong."""
    return Check(name, Verdict.PROBLEM, sentence, remedy, code)


def skipped(name: str, sentence: str) -> Check:
    """Return what was not looked at, and why."""
    return Check(name, Verdict.SKIPPED, sentence)
