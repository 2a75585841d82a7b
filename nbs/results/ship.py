"""Turn a finished run into what comes with the package: weights in float16, their card, and a sheet of sample test images.

    python nbs/results/ship.py runs/RUN cifar10 --preset cifar10-token --hardware "two cores of …"

The float16 weights are evaluated again on the whole test part, and the card says what they reach beside the run itself.
A run whose settings are not those of the preset is refused: the command on its card would not repeat it.
The run's settings and figures are copied to nbs/results/PRESET/, where the notebook of the results reads them.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import torch
from PIL import Image

from vit_from_scratch.config import config_json, differences, preset, with_settings
from vit_from_scratch.data import load_data, load_samples
from vit_from_scratch.train import evaluate, load_run
from vit_from_scratch.vit import ViT, save_weights

SOURCES = {  # data sets whose models may be shipped, with reference and licence
    "cifar10": "Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009; photographs collected on the web, no licence stated",
}
HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "vit_from_scratch"


def write_samples(name, test, per_class):
    "The first test images of every class, side by side: one row per class."
    rows = []
    for k in range(test.num_classes):
        chosen = test.images[test.labels == k][:per_class]
        rows.append(torch.cat(list(chosen), dim=2))
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0).contiguous().numpy()
    (PACKAGE / "samples").mkdir(exist_ok=True)
    Image.fromarray(sheet).save(PACKAGE / "samples" / f"{name}.png", optimize=True)
    facts = {"classes": test.classes, "image_size": test.image_size, "mean": test.mean, "std": test.std}
    (PACKAGE / "samples" / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


def find_command(name, recipe, config, processes):
    "The command that repeats the run: a preset, whose batch is divided among the processes."
    ours = portable(name, config)
    theirs = with_settings(preset(recipe), root=f"data/{name}", in_channels=ours.model.in_channels, num_classes=ours.model.num_classes,
                           precision=ours.training.precision)  # the data and the machine fill these in
    whole = with_settings(ours, batch_size=ours.training.batch_size * processes)
    if found := differences(theirs, whole):
        raise SystemExit(f"this run is not preset {recipe} in {processes} processes; of preset and run differ: {found}")
    settings = f"train --preset {recipe} --set dataset.root=data/{name}"
    if ours.training.precision != preset(recipe).training.precision:
        settings += f" --set training.precision={ours.training.precision}"  # what `auto` chose on that machine
    if processes == 1:
        return f"vit {settings}"
    return (f"OMP_NUM_THREADS=1 torchrun --nproc-per-node {processes} -m vit_from_scratch.cli {settings} \\\n"
            f"        --set training.batch_size={ours.training.batch_size}")  # fmt: skip


def portable(name, config):
    "The settings of a run without what belongs to one machine."
    return with_settings(config, root=f"data/{name}", resume_path=None)


def write_card(name, run, facts, command):
    "What the weights are, what made them, what they reach and what they are not for."
    c, test = run.config, run.history.test
    began = f"Trained from the weights `{c.model.init_from}`" if c.model.init_from else "Trained from scratch"
    lines = [
        f"# {name}: a ViT with {facts['parameters']:,} parameters", "",
        f"{began} on the training part of {name} ({facts['train_images']:,} images; {facts['valid_images']:,} more chose the epoch), by", "",
        f"    {command}", "",
        f"with the settings in `{name}.json`, seed {c.training.seed}, in {facts['epochs']} epochs and {facts['minutes']:.0f} minutes of training and",
        f"validation on {facts['hardware']}, {facts['date']}. It is one run; how far another seed would be off is not known.", "",
        f"- Accuracy on the {test.num_images:,} test images, measured once by the run: {test.accuracy:.2%} (macro F1 {test.f1:.4f}, cross-entropy {test.loss:.4f}).",
        f"- These float16 weights, evaluated again with torch {facts['torch']}: {facts['shipped_accuracy']:.2%}. On the {facts['sample_images']} sample images in the package: {facts['samples_accuracy']:.0%}.",
        f"- Input: {run.model.arguments['image_size']} × {run.model.arguments['image_size']} RGB, normalised with mean {', '.join(f'{v:.4f}' for v in run.model.mean)} and deviation {', '.join(f'{v:.4f}' for v in run.model.std)}.",
        f"- Classes: {', '.join(run.model.classes)}. Every picture gets one of them, whatever it shows.",
        "- For teaching and for looking inside. Photographs of other kinds, sizes and origins were not tested.",
        "- The sample images are the first of their class by file name: a check that the weights work, not an estimate.",
        f"- Data: {SOURCES[name]}. Weights: the licence of the package.",
    ]  # fmt: skip
    (PACKAGE / "weights" / f"{name}.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name", choices=SOURCES, help="of the data set, and of the model that comes with the package")
    parser.add_argument("--preset", help="that made the run; without it, the one of that name")
    parser.add_argument("--hardware", required=True)
    parser.add_argument("--paused", action="append", default=[], metavar="EPOCH:MINUTES", help="time the process was halted in that epoch, which its own clock counted")
    parser.add_argument("--processes", type=int, default=1, help="how many processes of torchrun made it")
    parser.add_argument("--per-class", type=int, default=10)
    given = parser.parse_args()
    run, name, recipe = load_run(given.run), given.name, given.preset or given.name
    command = find_command(name, recipe, run.config, given.processes)
    paused = {int(epoch): float(minutes) for epoch, minutes in (text.split(":") for text in given.paused)}
    data = load_data(**run.config.dataset.model_dump())
    test = data.test
    save_weights(run.model, PACKAGE / "weights" / f"{name}.safetensors", torch.float16)
    write_samples(name, test, given.per_class)
    shipped, samples = ViT.from_shipped(name), load_samples(name)
    facts = {
        "preset": recipe, "hardware": given.hardware, "processes": given.processes, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d", time.localtime((given.run / "test.json").stat().st_mtime)),
        "epochs": len(run.history.rows), "minutes": sum(row["seconds"] for row in run.history.rows) / 60 - sum(paused.values()), "paused": paused,
        "parameters": sum(p.numel() for p in shipped.parameters()), "run_accuracy": run.history.test.accuracy,
        "shipped_accuracy": evaluate(shipped, test).accuracy, "samples_accuracy": evaluate(shipped, samples).accuracy,
        "train_images": data.train.num_images, "valid_images": data.valid.num_images, "sample_images": samples.num_images,
    }  # fmt: skip
    if abs(facts["run_accuracy"] - facts["shipped_accuracy"]) > 0.001:
        raise SystemExit(f"float16 changes the test accuracy from {facts['run_accuracy']:.2%} to {facts['shipped_accuracy']:.2%}; do not ship these weights")
    (PACKAGE / "weights" / f"{name}.json").write_text(json.dumps({"results": facts, "config": json.loads(config_json(portable(name, run.config)))}, indent=1) + "\n")
    write_card(name, run, facts, command)
    (HERE / recipe).mkdir(exist_ok=True)
    (HERE / recipe / "config.json").write_text(config_json(portable(name, run.config)) + "\n")
    for file in ("metrics.csv", "test.json"):
        shutil.copy(given.run / file, HERE / recipe / file)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
