"""Checkpoints that are damaged, forged or hostile: each must be refused in one line, soon, and with nothing executed or written.

    python tests/hostile.py            500 files, every one opened in a process of its own
    python tests/hostile.py 40         so many

Measured beyond importing the package: seconds (5 are allowed) and peak of memory (200 MB). A small number of them is part of the tests (`test_engine.py`).
"""
import copy
import io
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from vit_from_scratch.checkpoint import FORMAT, load_run, sealed
from vit_from_scratch.data import SHAPE_CLASSES, ImageData, ImageSet, make_shapes
from vit_from_scratch.train import fit
from vit_from_scratch.vit import ViT

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["vit_from_scratch.run", "torchmetrics", "hostile"])


class Bomb:
    "Runs a command where a pickle is trusted."

    def __reduce__(self):
        return os.system, (f"touch {os.environ.get('BOMB', '/tmp/bomb')}",)


def small_data() -> ImageData:
    images, labels, _ = make_shapes(96, 16, 0)
    whole = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3)
    return ImageData("shapes", *(whole.subset(part) for part in torch.arange(96).split([64, 16, 16])))


def small_model() -> ViT:
    torch.manual_seed(0)
    return ViT(16, 4, 3, len(SHAPE_CLASSES), 16, 2, 2)


def good_file(folder: Path, algorithm: str = "adamw") -> bytes:
    "A checkpoint of a small run."
    settings = dict(epochs=1, batch_size=32, algorithm=algorithm, ema=0.9, tensorboard=False, device="cpu", precision="float32", progress=False)
    fit(small_model(), small_data(), run_dir=folder / algorithm, **settings)
    return (folder / algorithm / "last.pth").read_bytes()


def saved(content: object) -> bytes:
    "Whoever forges a file can also seal it."
    return sealed(content)


def packed(whole: bytes) -> bytes:
    "The same archive, compressed: a few bytes may unfold into gigabytes."
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    return buffer.getvalue()


def forged(content: dict) -> Iterator[tuple[str, object]]:
    "Contents that a run never wrote."
    arguments = json.loads(content["arguments"])
    for name, value in {"depth": 10**9, "embed_dim": 10**6, "image_size": 2**14, "num_heads": 7, "mlp_ratio": 1e300, "num_classes": 10**6,
                        "patch_size": 1, "num_registers": 10**9, "norm_eps": float("nan"), "pool": "../../etc", "depth ": 2}.items():  # fmt: skip
        yield f"arguments: {name}", {**content, "arguments": json.dumps({**arguments, name: value})}
    yield "arguments: less", {**content, "arguments": "{}"}
    for key, value in {"config": "{}", "history": "[]", "position": {}, "tally": {}, "weights": {}, "data": 3, "facts": {"path": "/etc"}, "run": 7,
                       "format": FORMAT + "9", "best": {"epoch": 0}, "optimizers": [], "scaler": [1]}.items():  # fmt: skip
        yield f"{key} replaced", {**content, key: value}
        yield f"no {key}", {k: v for k, v in content.items() if k != key}
    yield "something more", {**content, "more": 1}
    first = next(iter(content["weights"]))
    for name, tensor in {"nan": torch.full_like(content["weights"][first], torch.nan), "half": content["weights"][first][:0],
                         "expanded": torch.zeros(1).expand(2**34), "sparse": torch.eye(4).to_sparse(), "integers": torch.zeros(4).long()}.items():  # fmt: skip
        yield f"weights: {name}", {**content, "weights": {**content["weights"], first: tensor}}
    nested: list = []
    for _ in range(40):
        nested = [nested, nested]
    yield "nested without end", {**content, "loader": {"x": nested}}
    yield "bomb", {**content, "loader": {"x": Bomb()}}
    yield "a list", [1, 2]
    yield "bytearray", {**content, "loader": {"x": bytearray(8)}}


def forged_moments(content: dict, draw: random.Random) -> dict:
    "Optimizer memory that does not fit its parameters: too small, too large, of another type, of another parameter."
    forged = copy.deepcopy(content)
    state = draw.choice(forged["optimizers"])["state"]
    memory = state[draw.choice(list(state))]
    name = draw.choice(list(memory))
    old = memory[name]
    memory[name] = draw.choice([
        torch.zeros(1), torch.zeros(3, 5, 7), old.double() if isinstance(old, torch.Tensor) else 1, torch.full_like(old, torch.inf), "text", None,
        {"x": 1}, torch.zeros(0),
    ]) if name != "step" else draw.choice([torch.tensor(-1.0), torch.zeros(3), torch.tensor(float("nan")), "text", None, 10**30])  # fmt: skip
    if draw.random() < 0.2:
        state[10**6] = memory
    return forged


def hostile_files(folder: Path, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    "Names and contents of `count` files that must be refused."
    draw = random.Random(seed)
    wholes = {algorithm: good_file(folder, algorithm) for algorithm in ("adamw", "muon")}
    contents = {a: torch.load(io.BytesIO(w), weights_only=True) for a, w in wholes.items()}
    listed = [("text", b"hello"), ("nothing", b""), ("pickle", pickle.dumps(Bomb())), ("packed", packed(wholes["adamw"])),
              ("a module", saved(small_model())), ("zip of nothing", b"PK\x05\x06" + bytes(18))]  # fmt: skip
    listed += [(name, saved(value)) for name, value in forged(contents["adamw"])]
    draw.shuffle(listed)
    yield from listed[: max(1, count // 2)]
    for number in range(max(0, count - len(listed))):
        algorithm, kind = draw.choice(list(wholes)), ("flip", "flip", "zeros", "cut", "moments")[number % 5]
        whole = bytearray(wholes[algorithm])
        at = draw.randrange(len(whole))
        if kind == "flip":
            whole[at] ^= 1 << draw.randrange(8)
        elif kind == "zeros":
            whole[at : at + 512] = bytes(min(512, len(whole) - at))
        elif kind == "cut":
            del whole[at:]
        else:
            whole = saved(forged_moments(contents[algorithm], draw))
        if bytes(whole) not in wholes.values():
            yield f"{kind} {number} of {algorithm}", bytes(whole)


def examine(path: Path, bomb: Path, answer: Connection) -> None:
    "In a process of its own, which has imported everything: what opening and resuming say; seconds and megabytes that they took."
    os.environ["BOMB"] = str(bomb)
    torch.set_num_threads(1)
    parts, model, verdicts = small_data(), small_model(), []
    model(torch.zeros(1, 3, 16, 16)).sum().backward()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for name, action in (("load_run", lambda: load_run(path)), ("resume", lambda: fit(model, parts, resume=path, progress=False))):
        try:
            action()
            verdicts.append(f"{name} accepted it")
        except ValueError as error:
            if not str(error).isprintable() or "weights_only" in str(error):
                verdicts.append(f"{name}: {str(error)[:200]!r} is no sentence of ours")
        except BaseException as error:
            verdicts.append(f"{name}: {type(error).__name__}: {str(error)[:200]!r}")
    answer.send((verdicts, time.perf_counter() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def try_one(content: bytes, folder: Path) -> tuple[list[str], float, float]:
    "What went wrong with one file; seconds and megabytes beyond importing the package."
    run = folder / "run"
    run.mkdir()
    path = run / "last.pth"
    path.write_bytes(content)
    here, there = processes.Pipe()
    child = processes.Process(target=examine, args=(path, folder / "exploded", there))
    child.start()
    there.close()
    try:
        verdicts, seconds, grown = here.recv() if here.poll(120) else (["it took two minutes"], 120.0, 0.0)
    except EOFError:
        verdicts, seconds, grown = ["its process died"], 0.0, 0.0
    child.kill() if seconds >= 120 else None
    child.join()
    left = sorted(p.name for p in run.iterdir())
    wrong = verdicts + (["something was executed"] if (folder / "exploded").exists() else []) + ([f"it left {left}"] if left != ["last.pth"] else [])
    wrong += [f"it ended with {child.exitcode}"] if child.exitcode else []
    wrong += [f"it changed {path.name}"] if left == ["last.pth"] and path.read_bytes() != content else []
    wrong += [f"{seconds:.1f} s"] if seconds > 5 else []
    wrong += [f"{grown:.0f} MB"] if grown > 200 else []
    return wrong, seconds, grown


def main(count: int) -> None:
    began, failed, measured = time.time(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, content) in enumerate(hostile_files(Path(folder), count)):
            place = Path(folder) / str(number)
            place.mkdir()
            wrong, seconds, grown = try_one(content, place)
            shutil.rmtree(place)
            failed += bool(wrong)
            measured.append((seconds, grown, name))
            if wrong:
                print(f"{name}: {'; '.join(wrong)}", flush=True)
            if number % 50 == 49:
                print(f"{time.time() - began:5.0f} s  {number + 1} files, {failed} not refused as they should be", flush=True)
    slow, large = max(measured), max(measured, key=lambda m: m[1])
    print(f"{len(measured)} files, {len(measured) - failed} refused in one sentence, nothing executed, nothing written; at most {slow[0]:.2f} s ({slow[2]}) and {large[1]:.0f} MB ({large[2]}) beyond the imports; {time.time() - began:.0f} s")  # fmt: skip
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
