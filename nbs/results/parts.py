"""What each part of the optimizer's work is worth: the ladder's training, one part more from row to row, several seeds.

    python nbs/results/parts.py

360 steps of 100 images on one thread for each row and seed; the file is written after each, and what it holds is not run again.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from vit_from_scratch.config import Config, with_settings
from vit_from_scratch.ladder import RUNGS, ladder_data
from vit_from_scratch.optim import WeightAverage, make_optimizer, make_schedule, set_rates

FILE = Path(__file__).parents[2] / "vit_from_scratch" / "recorded" / "parts.json"
_SCHEDULED = dict(schedule="linear", warmup_epochs=0.7, lr=2e-3)
ROWS = {  # one part more from line to line: settings, and the decay of the average
    "AdamW, constant rate 0.001": (dict(schedule="constant", warmup_epochs=0, lr=1e-3), None),
    "AdamW, constant rate 0.002": (dict(schedule="constant", warmup_epochs=0, lr=2e-3), None),
    "+ rate falls to zero": (dict(schedule="linear", warmup_epochs=0, lr=2e-3), None),
    "+ warm-up": (_SCHEDULED, None),
    "+ clipping at 1": (_SCHEDULED | dict(grad_clip=1.0), None),
    "+ average (0.98)": (_SCHEDULED | dict(grad_clip=1.0), 0.98),
    "Muon for the matrices": (_SCHEDULED | dict(grad_clip=1.0, algorithm="muon", muon_lr=0.02), 0.98),
}


def train(settings, decay, seed):
    "Accuracy on unseen images after the ladder's 360 steps."
    config = with_settings(Config(), **{"grad_clip": None, "weight_decay": 0.05, "epochs": 6, **settings})
    images, labels, unseen, answers = ladder_data()
    model, order = RUNGS["+ MLP"](seed), torch.Generator().manual_seed(seed)
    optimizers, factor = make_optimizer(config, model), make_schedule(config, 60)
    average = WeightAverage(model, decay) if decay else None
    for step in range(360):
        if step % 60 == 0:
            batches = torch.randperm(6000, generator=order).split(100)
        set_rates(optimizers, factor(step))
        batch = batches[step % 60]
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        if config.training.grad_clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.training.grad_clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if average:
            average.update(model, step + 1)
    judged = (average.model if average else model).eval()
    with torch.no_grad():
        return (judged(unseen).argmax(dim=1) == answers).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(FILE.read_text()) if FILE.exists() else {"accuracy": {}}
    found |= {"command": "python nbs/results/parts.py", "torch": torch.__version__, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}
    for seed in range(given.seeds):
        for name, (settings, decay) in ROWS.items():
            done = found["accuracy"].setdefault(name, [])
            if len(done) > seed:
                continue
            done.append(round(train(settings, decay, seed), 4))
            print(f"seed {seed} {name:<28} {done[-1]:.4f}", flush=True)
            FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
