"""What this package does on one CUDA GPU: tests, speed beside other libraries, and full runs of three data sets.

    make gpu-report                                           everything, into _build/gpu_report
    python nbs/results/gpu_report.py --only tests,speed       some parts
    python nbs/results/gpu_report.py --rehearse               the same at tiny sizes, on any machine

Needs no network. Every measurement is a process of its own and is written as it ends; started again, the report goes on
with what is missing. `--root` holds image trees `cifar10/`, `cifar100/`, `gtsrb/` with `train/<class>/…` and
`test/<class>/…`; parts without their data are skipped, and the report says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import speed  # noqa: E402


def noise(num_images, device):
    "A training part of random pixels, for measurements that no picture can change."
    import torch

    from vit_from_scratch.data import ImageSet

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(num_images) % 10, tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3, device=device)


def measure_training(preset, warm, count, device, mode=None, attention=None, **settings):
    "Images per second of `fit` with the preset's augmentation, after `warm` steps, over `count` steps; and seconds until the first step."
    import torch

    from vit_from_scratch import config, train
    from vit_from_scratch.vit import ViT

    if mode == "eager":
        settings["compile"] = False
    if mode == "compiled, not recorded":
        train.record_steps = lambda *_: None
    recipe = config.with_settings(config.preset(preset), **{"epochs": 1000, "device": device, **settings})
    data = noise((warm + count + 1) * recipe.training.batch_size, device)
    arguments = recipe.vit_arguments()
    model = ViT(**{**arguments, "image_size": 32, "in_channels": 3, "num_classes": 10})
    for block in model.blocks if attention else ():
        block.attn.fused = attention == "fused"
    wait, times = torch.cuda.synchronize if device == "cuda" else lambda: None, {}

    def watch(progress):
        if progress.event == "step" and progress.step in (1, warm, warm + count):
            wait()
            times[progress.step] = time.perf_counter()
            progress.stop = progress.step == warm + count

    began = time.perf_counter()
    train.fit(model, data, config=recipe, callback=watch, progress=False)
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else None
    seconds = times[warm + count] - times[warm]
    return {"images_per_second": count * recipe.training.batch_size / seconds, "step_ms": 1e3 * seconds / count,
            "first_step_s": times[1] - began, "peak_bytes": memory}  # fmt: skip


def count_waits(preset, device, **settings):
    "Kernel launches and forced waits for the device in one training step after the first ones."
    from torch.profiler import ProfilerActivity, profile

    from vit_from_scratch import config, train
    from vit_from_scratch.vit import ViT

    recipe = config.with_settings(config.preset(preset), **{"device": device, "log_every": 1000, **settings})
    data = noise(12 * recipe.training.batch_size, device)
    model = ViT(32, 4, 3, 10, recipe.model.embed_dim, recipe.model.depth, recipe.model.num_heads, pool=recipe.model.pool)
    found, profiler = {}, profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])])

    def watch(progress):
        if progress.event != "step":
            return
        if progress.step == 5:
            profiler.start()
        if progress.step == 8:
            profiler.stop()
            progress.stop = True

    train.fit(model, data, config=recipe, callback=watch, progress=False)
    for event in profiler.key_averages():
        if event.key in ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch", "cudaStreamSynchronize", "cudaMemcpyAsync"):
            found[event.key] = event.count / 3
    table = profiler.key_averages().table(sort_by="self_device_time_total" if device == "cuda" else "self_cpu_time_total", row_limit=25, max_name_column_width=60)
    print(table, file=sys.stderr)
    return {"per_step": found}


def open_data(name, root, keep, limit):
    "The data set as `load_data` gives it; kept as one file, since sixty thousand small files take their time."
    import torch

    from vit_from_scratch.config import preset
    from vit_from_scratch.data import load_data, make_shapes

    if root is None:  # rehearsal: shapes in the place of photographs
        from vit_from_scratch.data import SHAPE_CLASSES, ImageData, ImageSet

        images, labels, _ = make_shapes(limit, 32, 0)
        whole = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3)
        return ImageData(name, *(whole.subset(part) for part in torch.arange(limit).split([limit // 2, limit // 4, limit - limit // 2 - limit // 4])))
    kept = Path(keep) / f"{name}.pt"
    if not kept.exists():
        fraction = preset(f"{name}-gpu").dataset.valid_fraction
        torch.save(load_data(name, Path(root) / name, valid_fraction=fraction), kept)
    return torch.load(kept, weights_only=False)


def measure_run(name, seeds, device, out, root=None, limit=400, ship=False, look=True, **settings):
    "A whole run for each seed: rows of all epochs, the test part once at the end, and when validation reached each mark."
    import torch

    from vit_from_scratch import config, train
    from vit_from_scratch.speedrun import MARKS
    from vit_from_scratch.vit import save_weights

    data, runs = open_data(name, root, out, limit), []
    for seed in seeds:
        recipe = config.with_settings(config.preset(f"{name}-gpu"), **{"device": device, **settings, "seed": seed})
        torch.cuda.reset_peak_memory_stats() if device == "cuda" else None
        model, began = train.make_model(recipe, data), time.perf_counter()
        shown = data if look else train.ImageData(data.name, data.train, data.valid, data.valid)  # while choosing, the test part stays shut
        history = train.fit(model, shown, config=recipe, progress=False)
        wall, rows = time.perf_counter() - began, history.rows
        usual = statistics.median(row["seconds"] for row in rows)
        compiling = max(0.0, rows[0]["seconds"] - usual)
        clock, marks = -compiling, {}
        for row in rows:
            clock += row["seconds"]
            for mark in MARKS:
                if row["valid_accuracy"] >= mark and str(mark) not in marks:
                    marks[str(mark)] = {"epoch": row["epoch"], "seconds": clock, "seconds_with_compiling": clock + compiling}
        runs.append({
            "seed": seed, "test_accuracy": history.test.accuracy if look else None, "test_images": history.test.num_images, "best_epoch": history.best["epoch"],
            "valid_accuracy": history.best["valid_accuracy"], "last_valid_accuracy": rows[-1]["valid_accuracy"], "valid_images": data.valid.num_images,
            "epochs": recipe.training.epochs, "train_images": data.train.num_images, "seconds": clock, "seconds_with_compiling": wall,
            "images_per_second": statistics.median(row["images_per_second"] for row in rows[1:] or rows), "marks": marks,
            "parameters": sum(p.numel() for p in model.parameters()), "rows": rows if seed == seeds[0] else rows[-1:],
            "peak_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
        })  # fmt: skip
        if ship:
            save_weights(model, Path(out) / f"{name}-{seed}.safetensors", torch.float16)
        print(json.dumps({key: value for key, value in runs[-1].items() if key != "rows"}), file=sys.stderr, flush=True)
    return {"config": json.loads(config.config_json(recipe)), "runs": runs}


def prepare(name, root, out):
    "Decode the images of a data set once."
    data = open_data(name, root, out, 0)
    return {"images": [part.num_images for part in (data.train, data.valid, data.test)]}


def run_tests(device, rehearse):
    "The tests that only a GPU can pass."
    chosen = [] if not rehearse else ["--collect-only"]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests/test_cuda.py", *chosen], capture_output=True, text=True)
    return {"passed": done.returncode == 0, "output": done.stdout[-4000:]}


def equal_terms(library, device, batch, count, compiled, repeats):
    "A training step with AdamW in bfloat16, best of some repeats; the same function that the page on speed uses."
    found = [speed.measure_step(library, device, "bfloat16", batch, count, compiled=compiled) for _ in range(repeats)]
    return {"images_per_second": statistics.median(f["images_per_second"] for f in found), "all": [f["images_per_second"] for f in found],
            "parameters": found[0]["parameters"]}  # fmt: skip


TASKS = {"training": measure_training, "waits": count_waits, "run": measure_run, "prepare": prepare, "tests": run_tests, "step": equal_terms, "epoch": speed.measure_epoch}


def plan(rehearse, root, out):
    "All measurements in the order of their worth: (part, name, task, arguments)."
    device = "cpu" if rehearse else "cuda"
    tiny = dict(batch_size=16, embed_dim=16, depth=2, compile=False) if rehearse else {}
    steps = dict(warm=2, count=2) if rehearse else dict(warm=30, count=100)
    full = tiny | dict(epochs=2, warmup_epochs=0.5) if rehearse else {}
    common = dict(device=device, root=root, out=str(out), **full)
    peers = dict(device=device, batch=8 if rehearse else 1024, count=2 if rehearse else 50, repeats=1 if rehearse else 3)
    jobs = [("tests", "tests of the GPU", "tests", dict(device=device, rehearse=rehearse))]
    jobs += [("speed", f"training, {mode}", "training", dict(preset="cifar10-gpu", device=device, mode=mode, **steps, **tiny))
             for mode in ("recorded", "compiled, not recorded", "eager")]  # fmt: skip
    # where the time of a step goes: what it saves to leave a part out
    plain = dict(crop_padding=0, flip=False, randaugment_ops=0, erasing=0.0, mixup=0.0, cutmix=0.0)
    jobs += [("speed", f"training, recorded, {name}", "training", dict(preset="cifar10-gpu", device=device, mode="recorded", **steps, **(tiny | change)))
             for name, change in (("without augmentation", plain), ("AdamW alone", {"algorithm": "adamw"}), ("twice the batch", {"batch_size": 32 if rehearse else 1024}))]  # fmt: skip
    jobs += [("speed", "launches and waits", "waits", dict(preset="cifar10-gpu", device=device, **tiny, **({} if rehearse else {"compile": False})))]
    jobs += [("cifar10", "cifar10, seed 0", "run", dict(name="cifar10", seeds=[0], ship=True, **common))]
    for part, compiled in (("peers", False), ("compiled-peers", True)):
        libraries = ("ours",) if rehearse else speed.LIBRARIES
        jobs += [(part, f"step, {lib}{', compiled' * compiled}", "step", dict(library=lib, compiled=compiled and not rehearse, **peers)) for lib in libraries]
    jobs += [("epoch", f"epoch, {name}", "epoch", dict(library=lib, device=device, precision="bfloat16", batch=8 if rehearse else 512, images=32 if rehearse else 16384))
             for name, lib in (("vit train", "ours"), ("DataLoader", "torchvision"))]  # fmt: skip
    jobs += [("gtsrb", "gtsrb, seed 0", "run", dict(name="gtsrb", seeds=[0], **common)), ("cifar100", "cifar100, seed 0", "run", dict(name="cifar100", seeds=[0], **common))]
    jobs += [("seeds", "cifar10, more seeds", "run", dict(name="cifar10", seeds=[1, 2], **common))]
    return jobs


def run_job(task, arguments):
    import torch

    if "device" in arguments and task in ("step", "epoch"):
        arguments["device"] = torch.device(arguments["device"])
    return TASKS[task](**arguments)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="parts, separated by commas: tests, speed, cifar10, peers, compiled-peers, epoch, gtsrb, cifar100, seeds")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder with cifar10/, cifar100/, gtsrb/")
    parser.add_argument("--out", type=Path, default=Path("_build/gpu_report"), help="folder of report.json and of the weights")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, on the CPU, without data")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        job = json.loads(given.job)
        print("RESULT " + json.dumps(run_job(job["task"], job["arguments"])))
        return
    import torch

    if not given.rehearse and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --rehearse runs the same at tiny sizes on the CPU")
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {"results": {}}
    report["machine"] = speed.describe_machine("cpu" if given.rehearse else "cuda")
    failed = []
    for part, name, task, arguments in plan(given.rehearse, None if given.rehearse else str(given.root), given.out):
        if (given.only and part not in given.only.split(",")) or name in report["results"]:
            continue
        if task == "run" and not given.rehearse and not (given.root / arguments["name"] / "train").is_dir():
            print(f"{name}: skipped, {given.root / arguments['name']} holds no train/", flush=True)
            continue
        began = time.perf_counter()
        command = [sys.executable, __file__, "--job", json.dumps({"task": task, "arguments": arguments})]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        (given.out / "log.txt").open("a").write(f"\n== {name}\n{done.stdout}{done.stderr}")
        if done.returncode:
            failed.append(name)
            print(f"{name}: FAILED {done.stderr.strip()[-600:]}", flush=True)
            continue
        result = json.loads(done.stdout.rpartition("RESULT ")[2])
        report["results"][name] = result | {"wall_seconds": time.perf_counter() - began, "date": time.strftime("%Y-%m-%d")}
        path.write_text(json.dumps(report, indent=1) + "\n")
        shown = {k: v for k, v in result.items() if k not in ("config", "runs", "output")} or [{k: v for k, v in r.items() if k != "rows"} for r in result.get("runs", [])]
        print(f"{name} ({time.perf_counter() - began:.0f} s): {json.dumps(shown)}{result.get('output', '')[-300:]}", flush=True)
    raise SystemExit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
