"""Two processes on one CPU over gloo train like one process with the doubled batch."""

import multiprocessing
import os
import socket

import pytest
import torch

from vit_from_scratch import optim
from vit_from_scratch.checkpoint import load_run
from vit_from_scratch.config import Config, with_settings
from vit_from_scratch.data import SHAPE_CLASSES, ImageData, ImageSet, make_shapes
from vit_from_scratch.train import evaluate, fit
from vit_from_scratch.vit import ViT

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["vit_from_scratch.train", "torchmetrics"])
SETTINGS = dict(
    epochs=3, lr=2e-3, warmup_epochs=0.5, grad_accumulation=2, ema=0.9, label_smoothing=0.1, log_every=1, device="cpu", precision="float32",
    tensorboard=False, progress=False,
)  # fmt: skip


def train_one(folder, batch_size, algorithm, rank=0, world_size=1, port=None):
    "One of the processes, with the variables that torchrun sets."
    if world_size > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    images, labels, masks = make_shapes(263, 16, 0)
    whole = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3, masks)
    data = ImageData("shapes", *(whole.subset(part) for part in torch.arange(263).split([155, 55, 53])))  # no size divides evenly
    torch.manual_seed(rank)  # the ranks begin with different weights; rank 0's are shared

    def look(progress):  # the callback runs in the first process alone, and so does what it measures
        if progress.event == "epoch":
            assert evaluate(progress.model, data.test).num_images == 53

    history = fit(ViT(16, 4, 3, len(SHAPE_CLASSES), 16, 2, 2), data, run_dir=folder, batch_size=batch_size, algorithm=algorithm, callback=look, **SETTINGS)
    second = fit(ViT(16, 4, 3, len(SHAPE_CLASSES), 16, 2, 2), data, batch_size=batch_size, **SETTINGS | dict(epochs=1))  # the processes meet again
    torch.save({"rows": history.rows, "test": history.test.as_dict(), "second": second.test.num_images}, f"{folder}-rank{rank}")


@pytest.mark.parametrize("algorithm", ["adamw", "muon"])  # Muon's products are shared out between the processes
def test_two_processes_equal_one_with_the_doubled_batch(tmp_path, algorithm):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [processes.Process(target=train_one, args=(str(tmp_path / "two"), 16, algorithm, rank, 2, port)) for rank in (0, 1)]
    children.append(processes.Process(target=train_one, args=(str(tmp_path / "one"), 32, algorithm)))
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0, 0]
    one, two = load_run(tmp_path / "one", "last"), load_run(tmp_path / "two", "last")
    assert [s for s, _, _ in one.history.steps] == [s for s, _, _ in two.history.steps] == list(range(1, 10))
    losses = torch.tensor([[loss for _, loss, _ in run.history.steps] for run in (one, two)])
    apart = (losses[0] - losses[1]).abs().max()
    print(f"largest difference of a step's loss: {apart:.1e}")
    assert apart < 1e-5
    weights = [torch.cat([w.flatten() for w in run.model.state_dict().values()]) for run in (one, two)]
    print(f"largest difference of a weight: {(weights[0] - weights[1]).abs().max():.1e}")
    assert torch.allclose(*weights, atol=1e-4)
    for a, b in zip(one.history.rows, two.history.rows, strict=True):
        for name in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_precision", "valid_recall", "valid_f1"):
            assert a[name] == pytest.approx(b[name], abs=1e-5), name
    ranks = [torch.load(f"{tmp_path / 'two'}-rank{rank}") for rank in (0, 1)]
    assert ranks[0]["test"] == ranks[1]["test"] and ranks[0]["test"]["num_images"] == 53  # reduced over the processes, each image once
    assert [found["second"] for found in ranks] == [53, 53]
    assert one.history.test.confusion.equal(two.history.test.confusion)


class Served(torch.utils.data.Dataset):
    "Writes down what is asked of it."

    def __init__(self):
        self.images, self.labels, _ = make_shapes(40, 16, 0)
        self.asked = []

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.asked.append(index)
        return self.images[index] / 255, int(self.labels[index])


def train_in_a_group(folder, rank):
    "One of two processes whose group the user's own script has made, without the variables of torchrun."
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    data, valid = Served(), Served()
    sampler = torch.utils.data.DistributedSampler(data)
    model, sizes = ViT(16, 4, 3, len(SHAPE_CLASSES), 16, 2, 2), []
    fit(model, torch.utils.data.DataLoader(data, 8, sampler=sampler), valid=torch.utils.data.DataLoader(valid, 8, shuffle=True), algorithm="muon",
        callback=lambda trainer: sizes.append(trainer.world.size), **SETTINGS | dict(epochs=1, grad_accumulation=1))  # fmt: skip
    torch.save({"weights": model.state_dict(), "asked": valid.asked, "trained": sorted(data.asked), "sizes": sizes}, f"{folder}/rank{rank}")


def test_a_group_that_is_there_is_joined_and_validation_in_disorder_counts_each_image_once(tmp_path):
    children = [processes.Process(target=train_in_a_group, args=(str(tmp_path), rank)) for rank in (0, 1)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    one, two = (torch.load(tmp_path / f"rank{rank}") for rank in (0, 1))
    assert set(one["sizes"]) == {2} and not set(one["trained"]) & set(two["trained"])
    assert all(one["weights"][name].equal(two["weights"][name]) for name in one["weights"])
    assert one["asked"][-40:] == two["asked"][-40:] != sorted(one["asked"][-40:])  # one order, so alternating batches are different images


def muon_in_parts(parts, dtype, precision, monkeypatch, steps=12):
    "Weights after some steps: gradients added up from so many parts of each batch, matrices orthogonalised in so many parts, as processes share the work."
    monkeypatch.setattr(optim, "share_work", lambda f, rows: torch.cat([f(part) for part in rows.tensor_split(parts) if len(part)]))
    torch.manual_seed(0)
    model = ViT(16, 4, 3, 10, 16, 2, 2).to(dtype)
    optimizers = optim.make_optimizer(with_settings(Config(), algorithm="muon", lr=2e-3), model, precision)
    images, labels, _ = make_shapes(256, 16, 0)
    images = (images.to(dtype) / 255 - 0.5) / 0.25
    for step in range(steps):
        for part in torch.arange(256).roll(64 * step)[:64].tensor_split(parts):
            (torch.nn.functional.cross_entropy(model(images[part]), labels[part], reduction="sum") / 64).backward()
        for optimizer in optimizers:
            optimizer.step(), optimizer.zero_grad()
    return {name: w.detach().double() for name, w in model.named_parameters()}


def test_muon_in_two_parts_differs_by_rounding_alone(monkeypatch):
    "The same sums in another order: nothing in float64, and what is seen in float32 and bfloat16 is rounding that grew."
    apart = {}
    for name, dtype, precision in (("float64", torch.float64, None), ("float32", torch.float32, torch.float32), ("bfloat16", torch.float32, torch.bfloat16)):
        one, two = (muon_in_parts(parts, dtype, precision, monkeypatch) for parts in (1, 2))
        apart[name] = max(float((one[w] - two[w]).abs().max()) for w in one)
    print("largest difference of a weight:", {name: f"{value:.0e}" for name, value in apart.items()})
    assert apart["float64"] < 1e-10 and apart["float32"] < 1e-2 and apart["bfloat16"] < 0.2


def test_a_plain_loader_needs_a_distributed_sampler():
    from vit_from_scratch.config import Config
    from vit_from_scratch.hardware import World
    from vit_from_scratch.loaders import place

    loader = torch.utils.data.DataLoader([(torch.zeros(3, 4, 4), 0)])
    assert place(loader, Config(), World(), torch.device("cpu"), training=True) is loader
    with pytest.raises(ValueError, match="DistributedSampler"):
        place(loader, Config(), World(1, 2), torch.device("cpu"), training=True)
