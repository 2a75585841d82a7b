"""Climb every rung of the ladder with several seeds and write the accuracies into the package.

    python nbs/results/ladder.py

360 steps on one thread for each rung and seed; the file is written after each, and what it holds is not climbed again.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from vit_from_scratch.ladder import RUNGS, TRAININGS, climb_rung

FILE = Path(__file__).parents[2] / "vit_from_scratch" / "recorded" / "ladder.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(FILE.read_text()) if FILE.exists() else {"accuracy": {}, "processor_seconds": {}}
    found |= {"command": "python nbs/results/ladder.py", "torch": torch.__version__, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}
    FILE.parent.mkdir(exist_ok=True)
    for seed in range(given.seeds):
        for name in (*RUNGS, *TRAININGS):
            done = found["accuracy"].setdefault(name, [])
            if len(done) > seed:
                continue
            start = time.process_time()
            done.append(round(climb_rung(name, seed), 4))
            found["processor_seconds"].setdefault(name, round(time.process_time() - start, 1))
            print(f"seed {seed} {name:<16} {done[-1]:.4f}", flush=True)
            FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
