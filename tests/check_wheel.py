"""Build the wheel and use it the way a stranger would: in an environment of its own, outside the clone.

The dependencies are borrowed from this environment (a second PyTorch would take minutes); the package comes from the wheel.
"""
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROBE = """
import importlib.metadata, sys, torch
import vit_from_scratch
from vit_from_scratch.data import load_samples
from vit_from_scratch.vit import ViT
assert vit_from_scratch.__file__.startswith(sys.prefix), f"imported from {vit_from_scratch.__file__}, not from the wheel"
model = ViT.from_shipped("shapes").eval()
size = model.arguments["image_size"]
assert model(torch.zeros(1, 3, size, size)).shape == (1, len(model.classes))
assert load_samples("cifar10").num_images == 100 and len(ViT.from_shipped("cifar10").classes) == 10
print("wheel", importlib.metadata.version("vit-from-scratch"), "imports and finds its packaged files")
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise SystemExit(f"the wheel check failed at: {' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder)
        source = outside / "source"  # a copy: an old build/ in the clone would be packed again
        ignored = shutil.ignore_patterns("__pycache__", ".*", "_*", "build", "dist", "runs", "data", "nbs", "tests", "docs", "*.egg-info")
        shutil.copytree(ROOT, source, ignore=lambda folder, names: ignored(folder, names) if Path(folder) == ROOT else {"__pycache__"} & set(names))
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", outside, source, cwd=outside)
        (wheel,) = outside.glob("*.whl")
        packed = set(zipfile.ZipFile(wheel).namelist())
        wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vit_from_scratch").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        if wanted - packed:
            raise SystemExit(f"the wheel lacks {', '.join(sorted(wanted - packed))}")
        venv.create(outside / "env", with_pip=True)
        binaries = outside / "env" / ("Scripts" if os.name == "nt" else "bin")
        python = binaries / "python"
        site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=outside).strip())
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=outside)
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        print(run(python, "-c", PROBE, cwd=outside).strip())
        settings = [f"--set={setting}" for setting in ("training.epochs=1", "dataset.limit=256", "training.batch_size=64")]
        run(binaries / "vit", "train", *settings, cwd=outside)
        (run_folder,) = (outside / "runs").iterdir()
        missing = [name for name in ("config.json", "metrics.csv", "last.pth", "best.pth", "figures") if not (run_folder / name).exists()]
        if missing:
            raise SystemExit(f"`vit train` from the wheel left no {', '.join(missing)} in its run folder")
        print("`vit train` of the wheel ran one epoch and left a whole run folder")


if __name__ == "__main__":
    main()
