"""Does bfloat16 pay on this CPU? A test run with the answer forced, in every process that it starts.

    make test BFLOAT16=yes
    make test BFLOAT16=no

`conftest.py` and `run_lessons.py` put this folder on PYTHONPATH where BFLOAT16 is set; Python imports a file of this name whenever it starts.
The library knows nothing of it: as soon as `vit_from_scratch.hardware` is loaded, its two questions to the processor are answered here.
"""
import importlib.abc
import importlib.util
import os
import sys


def answer(hardware) -> None:
    "Replace what asks the processor: the measurement that decides, and the flag that `vit info` shows."
    pays = os.environ["BFLOAT16"] == "yes"
    hardware.measure_products = lambda products, seconds=1.0: (2.0, 1.0) if pays else (1.0, 2.0)
    hardware.cpu_has_amx = lambda: pays


class Finder(importlib.abc.MetaPathFinder):
    "Finds `hardware` as ever, and answers for it when it is loaded."

    def find_spec(self, name, path=None, target=None):
        if name != "vit_from_scratch.hardware":
            return None
        sys.meta_path.remove(self)  # from here on the usual finders
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            answer(module)

        spec.loader.exec_module = exec_module
        return spec


if os.environ.get("BFLOAT16"):
    if os.environ["BFLOAT16"] not in ("yes", "no"):
        raise SystemExit(f"BFLOAT16={os.environ['BFLOAT16']}: say yes or no")
    sys.meta_path.insert(0, Finder())
