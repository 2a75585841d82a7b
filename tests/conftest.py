"What the last lines of a test run say beside pytest's own count: how much of the lessons, as they are now, was executed."
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))
import project  # noqa: E402


def pytest_terminal_summary(terminalreporter):
    if record := project.record():
        terminalreporter.write_line(f"lessons: {len(record['seconds'])} notebooks, {record['cells']} cells and {record['tests']} tests in them passed")
