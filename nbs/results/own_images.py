"""An afternoon with images of one's own: two folders from what scikit-learn ships, trained, measured, predicted, exported.

    python nbs/results/own_images.py

Grey digits (8 x 8 pixels) and crops of two photographs (24 x 40, in colours) become folders; then come the commands of
the page `own_images.ipynb`, each with what it printed. Three seeds where figures are compared. Work goes into the folder
own_images_work beside the page, and what the file of results holds is not run again.
"""

import contextlib
import io
import json
import os
import platform
import shlex
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from vit_from_scratch import cli
from vit_from_scratch.config import resolve
from vit_from_scratch.run import choose_folder, run

HERE = Path(__file__).parent
FILE, WORK = HERE / "own_images.json", HERE / "own_images_work"
SEEDS = (0, 1, 2)
DIGITS = "--set dataset.name=imagefolder --set dataset.channels=1 --set dataset.valid_fraction=0.2 --set training.tensorboard=false"
SMALL = f"{DIGITS} --set model.image_size=8 --set model.patch_size=2 --set training.small_sizes=none --set training.batch_size=32"
LARGE = f"{DIGITS} --set dataset.root=digits_few --set model.image_size=32 --set training.small_sizes=none --set training.batch_size=16"


def write_digits(folder, counts):
    "Grey PNG files, `train/<digit>/` with so many of each digit and `test/<digit>/` with forty others"
    digits = load_digits()
    for digit in range(10):
        mine = digits.images[digits.target == digit]
        for part, images in (("test", mine[:40]), ("train", mine[40 : 40 + counts[digit]])):
            (folder / part / str(digit)).mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(images):
                Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / part / str(digit) / f"{i:03d}.png")


def write_crops(folder):
    "Crops of 24 x 40 pixels from the upper and lower halves of two photographs; the strip they come from opens their names"
    for photo, name in zip(load_sample_images().images, ("china", "flower"), strict=True):
        half = photo.shape[0] // 2
        for part, top in (("upper", 0), ("lower", half)):
            (folder / f"{name} {part}").mkdir(parents=True, exist_ok=True)
            for strip in range(photo.shape[1] // 40):
                for y in range(top, top + half - 24, 9):
                    crop = photo[y : y + 24, strip * 40 : strip * 40 + 40]
                    Image.fromarray(crop).save(folder / f"{name} {part}" / f"strip{strip:02d}_{y:03d}.png")


def vit(line):
    "What a command prints, and its seconds"
    printed, began = io.StringIO(), time.perf_counter()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            cli.main(shlex.split(line))
    except SystemExit as end:
        if end.code:  # nothing of it is kept
            raise RuntimeError(printed.getvalue()) from None
    return printed.getvalue().rstrip(), round(time.perf_counter() - began, 1)


def newest(name):
    "The newest run of a name"
    return str(max(Path("runs").glob(f"*-{name}"), key=lambda path: path.name))


class Records:
    "The commands that were run, in a file that is written after each"

    def __init__(self):
        self.found = json.loads(FILE.read_text()) if FILE.exists() else {"commands": [], "figures": {}}
        self.found |= {"command": "python nbs/results/own_images.py", "torch": torch.__version__, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}

    def save(self):
        FILE.write_text(json.dumps(self.found, indent=1) + "\n")

    def show(self, title, line):
        "Run a command for the page"
        if any(c["title"] == title for c in self.found["commands"]):
            return
        printed, seconds = vit(line)
        self.found["commands"].append({"title": title, "line": f"vit {line}", "printed": printed, "seconds": seconds})
        self.save()
        print(f"\n$ vit {line}\n{printed}\n({seconds} s)", flush=True)

    def measure(self, group, variant, seed, line):
        "Train for a comparison, and keep what the test part said"
        key = f"{variant}, seed {seed}"
        name = f"{variant.replace(' ', '-').replace(',', '')}-{seed}"
        if key in self.found["figures"].setdefault(group, {}):
            return
        config, folder = choose_folder(resolve(None, shlex.split(f"{line} training.seed={seed}".replace("--set ", ""))), name)
        began = time.perf_counter()
        run(config, folder, progress=False)  # what `vit train` does, without its figures
        seconds = round(time.perf_counter() - began, 1)
        test = json.loads((Path(newest(name)) / "test.json").read_text())
        each = np.diag(test["confusion"]) / np.sum(test["confusion"], axis=1)
        self.found["figures"][group][key] = {k: test[k] for k in ("accuracy", "recall", "f1")} | {"recall_of_each": each.round(4).tolist(), "seconds": seconds}
        self.found.setdefault("lines", {})[f"{group}: {variant}"] = f"vit train {line}"
        self.save()
        print(group, key, self.found["figures"][group][key], flush=True)


def fine_tuning(records):
    "From the shipped model of shapes to twenty grey images of each digit: the head alone, then all of it, beside from scratch"
    start = f"{LARGE} --set lr_scheduler.warmup_epochs=1"
    for seed in SEEDS:
        records.measure("fine-tuning", "head alone", seed, f"{start} --set model.init_from=shapes --set model.init_freeze=true --set optimizer.lr=0.01 --set training.epochs=10")
        run = newest(f"head-alone-{seed}")
        records.measure("fine-tuning", "then all of it", seed, f"{start} --set model.init_from={run} --set model.init_new_head=false --set optimizer.lr=5e-4 --set optimizer.muon_lr=0.005 --set training.epochs=10")
        records.measure("fine-tuning", "from scratch", seed, f"{start} --set training.epochs=20")


def rare_classes(records):
    "Five digits with 100 training images, five with 5"
    line = f"{SMALL} --set dataset.root=digits_rare --set training.epochs=15 --set lr_scheduler.warmup_epochs=1"
    for seed in SEEDS:
        records.measure("rare classes", "all images alike", seed, line)
        records.measure("rare classes", "class weights and F1", seed, f"{line} --set loss.class_weights=balanced --set training.monitor=f1")


def afternoon(records):
    "The page's commands"
    show = records.show
    show("grey digits", f"train {SMALL} --set dataset.root=digits --set training.epochs=10 --name digits")
    crops = "--set dataset.name=imagefolder --set dataset.root=crops --set dataset.group_by=_ --set model.image_size=24,40 --set model.patch_size=8 --set training.small_sizes=none"
    show("crops", f"train {crops} --set training.epochs=10 --set training.tensorboard=false --name crops")
    digits, wide = newest("digits"), newest("crops")
    show("validation again", f"evaluate {digits} --part valid --set dataset.root=digits")
    show("another folder", f"evaluate {digits} --set dataset.root=digits_few/test")
    show("predict", f"predict {wide} 'crops/flower upper/strip03_000.png' 'crops/china lower/strip07_213.png' --top 2")
    show("predict a folder", f"predict {digits} digits/test/3 --top 1 --csv digits.csv --json digits.json")
    show("onnx of the digits", f"export {digits} --onnx digits.onnx")
    show("onnx of the crops", f"export {wide} --onnx crops.onnx")
    show("page of the crops", f"export {wide} --html crops.html")


def run_onnx(records):
    "The exported digits in ONNX Runtime alone, on files of the test part"
    import onnxruntime

    session = onnxruntime.InferenceSession("digits.onnx", providers=["CPUExecutionProvider"])
    facts = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    files = sorted(Path("digits/test").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(file), dtype=np.float32)[None] / 255 for file in files])
    mean, std = (np.array(facts[k], dtype=np.float32).reshape(1, -1, 1, 1) for k in ("mean", "std"))
    said = session.run(None, {"images": (pixels - mean) / std})[0].argmax(1)
    right = np.mean([facts["classes"][k] == file.parent.name for k, file in zip(said, files, strict=True)])
    records.found["onnx"] = {"images": len(files), "accuracy": float(right)}
    records.save()
    print("ONNX Runtime:", records.found["onnx"])


def main():
    torch.set_num_threads(1)
    WORK.mkdir(exist_ok=True)
    os.chdir(WORK)
    for name, counts in (("digits", [110] * 10), ("digits_few", [20] * 10), ("digits_rare", [100, 5] * 5)):
        write_digits(Path(name), counts)
    write_crops(Path("crops"))
    records = Records()
    for part in (afternoon, run_onnx, rare_classes, fine_tuning):
        part(records)


if __name__ == "__main__":
    main()
