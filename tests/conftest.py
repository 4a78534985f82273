"""Figures that tests have measured, told at the end of the run."""

from __future__ import annotations

from typing import Any

import pytest

FIGURE = "figure"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    passed = terminalreporter.stats.get("passed", [])
    figures = {text for report in passed for name, text in report.user_properties if name == FIGURE}
    if figures:
        terminalreporter.section("figures")
        for text in sorted(figures):
            terminalreporter.line(text)


@pytest.fixture
def tell_figure(record_property: Any) -> Any:
    """Say a figure in the run's summary, and with ``-s`` at once."""

    def tell(text: str) -> None:
        print(text)
        record_property(FIGURE, text)

    return tell
