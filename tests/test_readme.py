"The README is in step with the home page, and what it tells its reader to type works."
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import project  # noqa: E402
import readme  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = [code for code in re.findall(r"```python\n(.*?)```", README, re.S) if "fit(" in code]


def test_readme_is_in_step():
    readme.check()


def test_no_outside_address_while_the_account_is_unknown():
    text, _ = readme.render(project.Links(user=""))
    assert not re.findall(r"https?://(?:[\w.]*github|colab)\S*", text)
    for address in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert re.match(r"https?://", address) or (ROOT / address).exists() or address in readme.render(project.Links())[1], address


def test_links_are_absolute_once_the_account_is_known():
    text, images = readme.render(project.Links(user="someone"))
    addresses = re.findall(r"\]\(([^)\s]+)\)", text)
    assert addresses and all(re.match(r"https?://|#", address) for address in addresses)
    for name in images:
        assert f"https://raw.githubusercontent.com/someone/vit_from_scratch/main/index_files/{name}" in text


def test_there_are_two_scripts_of_six_lines():
    assert len(SCRIPTS) == 2 and all(len(script.strip().split("\n")) <= 6 for script in SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=["image data", "data loaders"])
def test_the_scripts_run(script, monkeypatch, tmp_path):
    import torch
    from torch.utils.data import TensorDataset

    from vit_from_scratch import data

    monkeypatch.chdir(tmp_path)
    draw = data.make_shapes  # the whole set takes seconds to draw
    monkeypatch.setattr(data, "make_shapes", lambda num_images, *arguments, **named: draw(num_images // 50, *arguments, **named))
    size = int(re.search(r"image_size=(\d+)", script)[1]) if "DataLoader" in script else 32
    names = {split: TensorDataset(torch.rand(40, 3, size, size), torch.arange(40) % 5) for split in ("train_set", "valid_set")}
    exec(re.sub(r"epochs=\d+", "epochs=1", script), names)
    row = names["history"].rows[-1]
    assert len(names["history"].rows) == 1 and row["valid_loss"] > 0 and 0 <= row["valid_accuracy"] <= 1


@pytest.mark.parametrize("line", [line.split("#")[0].strip() for line in README.split("\n") if line.startswith("vit ")])
def test_the_commands_are_understood(line, monkeypatch, tmp_path):
    cli = pytest.importorskip("vit_from_scratch.cli")
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)[1:]
    extra = ["--print-config"] if words[0] == "train" and not any("resume" in word for word in words) else ["--help"]
    done = CliRunner().invoke(cli.app, [*words, *extra])
    assert done.exit_code == 0, f"{line}: {done.output}"
