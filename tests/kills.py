"""Runs that are killed and resumed must end like one that never stopped, to the last bit: weights, best, metrics, test figures, TensorBoard rows.

    python tests/kills.py                  250 SIGKILLs and 40 SIGTERMs over all configurations
    python tests/kills.py 20 5             so many of each
    python tests/kills.py 20 5 muon ema    in these configurations only

Each run is a process of its own, shot at a random moment of its life and started again by the same call until it has ended.
"""
import argparse
import csv
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from vit_from_scratch import callbacks, visualize
from vit_from_scratch.checkpoint import read_checkpoint
from vit_from_scratch.data import SHAPE_CLASSES, ImageData, ImageSet, load_data, make_shapes
from vit_from_scratch.run import Figures
from vit_from_scratch.train import fit
from vit_from_scratch.vit import ViT

BASE = dict(epochs=4, batch_size=32, lr=2e-3, warmup_epochs=1, log_every=2, tensorboard=False, device="cpu", precision="float32")
CONFIGURATIONS = {
    "adamw": {},
    "sgd": dict(algorithm="sgd", lr=0.05),
    "muon": dict(algorithm="muon", tensorboard=True),
    "ema": dict(ema=0.9, algorithm="muon"),
    "accumulation": dict(grad_accumulation=3, batch_size=16, log_every=1),
    "growing": dict(small_sizes=(8,), small_share=0.5, ema=0.9),
    "mixing": dict(mixup=0.2, cutmix=1.0, crop_padding=2, flip=True, erasing=0.25, randaugment_ops=1),
    "folder": dict(flip=True, tensorboard=True),
    "stream": dict(flip=True, crop_padding=2, mixup=0.2),
    "figures": dict(epochs=2, tensorboard=True),
    "torchrun": dict(algorithm="muon", batch_size=16),
    "smoothing": dict(label_smoothing=0.1, monitor="loss", schedule="linear", weight_decay=0.3),
}
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["vit_from_scratch.run", "torchmetrics", "tensorboard"])


def small_data(kind: str, root: Path) -> ImageData:
    if kind in ("folder", "stream"):
        return load_data("imagefolder", root=root, in_memory=kind == "folder", num_workers=2 if kind == "stream" else 0)
    images, labels, masks = make_shapes(224, 16, 0)
    whole = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3, masks)
    return ImageData("shapes", *(whole.subset(part) for part in torch.arange(224).split([160, 32, 32])))


def write_tree(root: Path) -> None:
    "Images in folders, three classes, for those that read files."
    from PIL import Image

    images, labels, _ = make_shapes(300, 16, 3)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        if label < 3:
            folder = root / ("test" if number % 4 == 0 else "train") / SHAPE_CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:03d}.png")


def train(kind: str, folder: Path, root: Path, shot: tuple[int, float] | None, save_every: float, rank: int = 0, port: int = 0) -> None:
    "Begin the run, or go on with it; a shot is a signal and the seconds until it falls."
    if port:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of the workers that read images: they would start a server of their own, and outlive a kill
    callbacks.SAVE_EVERY = save_every
    data = small_data(kind, root)
    visualize.model_figures = lambda model, images: {"filters": visualize.plot_filters(model, 8)}  # of all that look inside, one: the rest takes half a minute
    torch.manual_seed(0)
    model = ViT(16, 4, 3, data.num_classes, 16, 2, 2, dropout=0.1, drop_path=0.1)
    if shot is not None:
        threading.Thread(target=lambda: (time.sleep(shot[1]), os.kill(os.getpid(), shot[0])), daemon=True).start()
    began = time.perf_counter()
    how = dict(resume=folder) if (folder / "last.pth").exists() else dict(run_dir=folder, **BASE | CONFIGURATIONS[kind])
    try:
        fit(model, data, callbacks=[Figures()] if kind == "figures" else [], progress=False, **how)
    except KeyboardInterrupt:
        sys.exit(130)
    (folder / "seconds").write_text(str(time.perf_counter() - began))


def launch(kind: str, folder: Path, root: Path, shot: tuple[int, float] | None, save_every: float) -> list[int]:
    "Exit codes of the processes of one start."
    port = 0
    if kind == "torchrun":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    victim = random.randrange(2)
    children = [processes.Process(target=train, args=(kind, folder, root, shot if rank == victim or not port or shot and shot[0] != signal.SIGKILL else None, save_every, rank, port))
                for rank in range(2 if port else 1)]  # fmt: skip
    for child in children:
        child.start()
    until = time.monotonic() + 300
    for child in children:
        child.join(max(1.0, until - time.monotonic()))
    waiting = [child for child in children if child.is_alive()]
    for child in waiting:
        child.kill()
    return ["waited for ever" if child in waiting else child.exitcode for child in children]


def state_of(folder: Path) -> dict[str, object]:
    "All that must be equal."
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[str, object] = {}
    for name in ("last", "best"):
        content = read_checkpoint(folder, name)
        found |= {f"{name} {part}": getattr(content, part) for part in ("weights", "average", "optimizers", "position")}
        found[f"{name} steps"] = content.history.steps
    with open(folder / "metrics.csv", newline="") as file:
        found["metrics"] = [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]
    found["test"] = (folder / "test.json").read_text()
    events = [event for path in sorted(folder.glob("events.*")) for event in EventFileLoader(str(path)).Load()]
    found["rows"] = sorted((v.tag, e.step, tuple(v.tensor.float_val)) for e in events for v in e.summary.value if "second" not in v.tag and "figures" not in v.tag)
    found["files"] = sorted(path.name for path in folder.rglob("*") if not path.name.startswith("events") and path.name != "previous.pth")
    return found


def same(a: object, b: object) -> bool:
    "Equal to the last bit, through dicts, lists and tensors."
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, (list, tuple)) else a == b


def kill_and_compare(kind: str, number: int, kinds_of_shot: list[int], place: Path, root: Path, reference: dict, seconds: float) -> list[str]:
    "Shoot one run, once for each signal, let it end, and name what differs."
    folder, save_every = place / f"{kind}-{number}", random.choice((0.0, 600.0))
    for shot in kinds_of_shot:
        codes = launch(kind, folder, root, (shot, random.uniform(0.05, seconds)), save_every)
        if any(code not in (0, 1, 130, -signal.SIGKILL, -signal.SIGTERM) for code in codes):
            return [f"the shot run ended with {codes}"]
        if all(code == 0 for code in codes):
            break
    if not (folder / "seconds").exists() and (codes := launch(kind, folder, root, None, save_every)) and any(codes):
        return [f"the resumed run ended with {codes}"]
    found = state_of(folder)
    more, less = (sorted(set(a["files"]) - set(b["files"])) for a, b in ((found, reference), (reference, found)))
    return [f"{part} differ" + (f" (more: {more}, missing: {less})" if part == "files" else "") for part in reference if not same(found[part], reference[part])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=250)
    parser.add_argument("terms", type=int, nargs="?", default=40)
    parser.add_argument("kinds", nargs="*", default=[])
    given = parser.parse_args()
    kinds, failed, began = given.kinds or list(CONFIGURATIONS), 0, time.time()
    with tempfile.TemporaryDirectory() as folder:
        place, root = Path(folder), Path(folder) / "images"
        write_tree(root)
        known = {}
        for kind in kinds:
            codes = launch(kind, place / kind, root, None, 600.0)
            if any(codes):
                raise SystemExit(f"{kind}: the run that is never stopped ended with {codes}")
            known[kind] = state_of(place / kind), float((place / kind / "seconds").read_text())
            print(f"{time.time() - began:5.0f} s  {kind}: a whole run takes {known[kind][1]:.1f} s", flush=True)
        shots = [signal.SIGKILL] * given.kills + [signal.SIGTERM] * given.terms
        for number, shot in enumerate(shots):
            kind = kinds[number % len(kinds)]
            wrong = kill_and_compare(kind, number, [shot], place, root, *known[kind])
            failed += bool(wrong)
            verdict = "; ".join(wrong) or "the same bits"
            print(f"{time.time() - began:5.0f} s  {kind}, shot {number} ({signal.Signals(shot).name}): {verdict}", flush=True)
    print(f"{given.kills} SIGKILLs and {given.terms} SIGTERMs over {len(kinds)} configurations: {len(shots) - failed} ended with the same bits, {failed} did not; {time.time() - began:.0f} s")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
