"""Stories are told with these fixtures: see docs/lab.md."""

from lab.plugin import (
    description,
    figure,
    off,
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_generate_tests,
    pytest_report_teststatus,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_terminal_summary,
    running,
    workshop,
)

__all__ = [
    "description",
    "figure",
    "off",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "pytest_report_teststatus",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_terminal_summary",
    "running",
    "workshop",
]
