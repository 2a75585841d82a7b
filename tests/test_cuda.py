"""What only a GPU can show; without one every test here is skipped."""

import pytest
import torch

from vit_from_scratch.checkpoint import read_checkpoint
from vit_from_scratch.data import SHAPE_CLASSES, Augment, ImageData, ImageSet, make_shapes
from vit_from_scratch.hardware import pick_precision
from vit_from_scratch.train import evaluate, fit
from vit_from_scratch.vit import ViT

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
SETTINGS = dict(epochs=3, batch_size=32, lr=2e-3, device="cuda", progress=False, tensorboard=False, log_every=1)


def small_data():
    images, labels, masks = make_shapes(224, 16, 0)
    whole = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3, masks)
    return ImageData("shapes", *(whole.subset(part) for part in torch.arange(224).split([160, 32, 32])))


def small_model(**arguments):
    torch.manual_seed(0)
    return ViT(16, 4, 3, len(SHAPE_CLASSES), 32, 2, 4, **arguments)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precisions_train_alike(precision):
    if precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bfloat16")
    data = small_data()
    losses = [[loss for _, loss, _ in fit(small_model(), data, precision=p, **SETTINGS).steps] for p in ("float32", precision)]
    assert torch.allclose(*map(torch.tensor, losses), atol=0.05)
    assert pick_precision("auto", torch.device("cuda")) in (torch.bfloat16, torch.float16)


def test_compiled_model_trains_alike_and_keeps_its_names(tmp_path):
    data = small_data()
    losses = [[loss for _, loss, _ in fit(small_model(), data, precision="float32", compile=c, run_dir=tmp_path / str(c), **SETTINGS).steps]
              for c in (False, True)]  # fmt: skip
    assert torch.allclose(*map(torch.tensor, losses), atol=1e-2)
    assert read_checkpoint(tmp_path / "True").weights.keys() == small_model().state_dict().keys()


def test_recorded_batches_are_the_ordinary_ones():
    augment = Augment(crop_padding=2, flip=True, random_resized_crop=(0.5, 1.0), randaugment_ops=2, mixup=0.2, cutmix=1.0, erasing=0.5)
    part = small_data().train.with_settings(device="cuda", augment=augment, shuffle=True, batch_size=32, drop_last=True)
    plain, recorded = ([b for epoch in range(3) for b in part.with_settings(recorded=r).epoch(epoch)] for r in (False, True))
    for (images, labels), (again, same) in zip(plain, recorded, strict=True):
        assert torch.allclose(images, again, atol=1e-6) and torch.allclose(labels, same, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["adamw", "muon", "sgd"])  # SGD looks at its rate, so it is never recorded
def test_recorded_steps_train_like_ordinary_ones(algorithm, monkeypatch):
    data, settings = small_data(), dict(SETTINGS, algorithm=algorithm, precision="float32", flip=True, mixup=0.2, ema=0.9)
    monkeypatch.setattr(torch, "compile", lambda module: module)  # graphs alone: their numbers are the same ones
    recorded = fit(small_model(), data, compile=True, **settings)
    monkeypatch.setattr("vit_from_scratch.train.record_steps", lambda *_: None)
    plain = fit(small_model(), data, compile=True, **settings)
    assert torch.allclose(*(torch.tensor([loss for _, loss, _ in run.steps]) for run in (recorded, plain)), atol=1e-4)


def test_a_step_never_waits_for_the_device():
    waited = []

    def watch(progress):
        if progress.event == "step" and progress.step == 5:
            torch.cuda.set_sync_debug_mode("error")
        if progress.event == "step" and progress.step == 9:
            torch.cuda.set_sync_debug_mode("default")
            waited.append(False)

    augment = dict(crop_padding=2, flip=True, randaugment_ops=2, mixup=0.2, cutmix=1.0, erasing=0.2)
    settings = dict(SETTINGS, algorithm="muon", ema=0.9, log_every=100, batch_size=16) | augment
    try:
        fit(small_model(), small_data().train, callback=watch, **settings)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waited == [False]


def test_fused_attention_equals_the_plain_one():
    model, images = small_model().cuda().eval(), torch.randn(8, 3, 16, 16, device="cuda")
    answers = []
    for fused in (True, False):
        for block in model.blocks:
            block.attn.fused = fused
        answers.append(model(images))
    assert torch.allclose(*answers, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_resumed_run_ends_where_the_whole_one_does(tmp_path, precision):
    data = small_data()
    settings = dict(SETTINGS, precision=precision, ema=0.9, flip=True, mixup=0.2)
    whole = fit(small_model(drop_path=0.1), data, run_dir=tmp_path / "a", **settings)
    fit(small_model(drop_path=0.1), data, run_dir=tmp_path / "b", callback=lambda p: setattr(p, "stop", p.step >= 7), **settings)
    resumed = fit(small_model(drop_path=0.1), data, resume=tmp_path / "b", progress=False)
    assert [step for step, _, _ in resumed.steps] == [step for step, _, _ in whole.steps]
    assert torch.allclose(*(torch.tensor([loss for _, loss, _ in run.steps]) for run in (whole, resumed)), atol=1e-3)


def test_data_and_augmentation_stay_on_the_device():
    part = small_data().train.with_settings(device="cuda", augment=Augment(crop_padding=2, flip=True, randaugment_ops=2, mixup=0.2, erasing=0.5), shuffle=True)
    images, labels = next(part.epoch(1))
    again, _ = next(part.epoch(1))
    assert part.images.is_cuda and images.is_cuda and labels.is_cuda and torch.isfinite(images).all()
    assert torch.equal(images, again)


def test_figures_equal_those_of_the_cpu():
    data, model = small_data(), small_model()
    cpu = evaluate(model, data.test)
    gpu = evaluate(model, data.test, device="cuda")
    assert cpu.confusion.equal(gpu.confusion) and cpu.loss == pytest.approx(gpu.loss, abs=1e-4)


def test_the_explorers_numbers_equal_those_of_the_cpu():
    from vit_from_scratch.interpret import attention_maps

    model, images = small_model().eval(), torch.randn(2, 3, 16, 16)
    cpu = attention_maps(model, images)
    gpu = attention_maps(model.cuda(), images.cuda())
    assert gpu.shape == (2, 2, 4, 17, 17) and torch.allclose(cpu, gpu.cpu(), atol=1e-5)
