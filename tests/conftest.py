"A test run as a whole: a forced answer about the CPU, and what the last lines say beside pytest's own count."
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))
import project  # noqa: E402

if os.environ.get("BFLOAT16"):  # yes or no: see forced/sitecustomize.py
    forced = Path(__file__).resolve().parent / "forced"
    if str(forced) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):  # not yet for this process
        sys.path.insert(0, str(forced))
        sys.modules.pop("sitecustomize", None)  # some systems have one of their own
        import sitecustomize  # noqa: F401
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(forced), os.environ.get("PYTHONPATH")]))


def pytest_terminal_summary(terminalreporter):
    if record := project.record():
        terminalreporter.write_line(f"lessons: {len(record['seconds'])} notebooks, {record['cells']} cells and {record['tests']} tests in them passed")
    if os.environ.get("BFLOAT16"):
        terminalreporter.write_line(f"whether bfloat16 pays on this CPU was not measured but forced: {os.environ['BFLOAT16']}")
