"Figures of a run, and figures of models with every readout: what is drawn must be the numbers."
import threading
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from fastcore.test import test_close as close
from fastcore.test import test_eq as equal

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from vit_from_scratch import visualize  # noqa: E402
from vit_from_scratch.augment import Augment  # noqa: E402
from vit_from_scratch.data import load_data  # noqa: E402
from vit_from_scratch.interpret import attention_maps, cls_map, relevance_map  # noqa: E402
from vit_from_scratch.vit import ViT  # noqa: E402

ROWS = [dict(epoch=e, train_loss=2 / e, valid_loss=2.2 / e, train_accuracy=0.5, valid_accuracy=0.4, lr=1e-3) for e in (1, 2)]
LOOKS_INSIDE = {"cls_attention", "attention_wall", "rollout", "relevance", "attention_distance", "logit_lens", "filters", "pos_similarity", "pos_norms"}
READOUTS = [("cls", 0), ("cls", 2), ("avg", 0), ("avg", 2)]


def make(pool="cls", registers=0):
    torch.manual_seed(0)
    return ViT(image_size=32, patch_size=8, num_classes=10, embed_dim=16, depth=2, num_heads=2, pool=pool, num_registers=registers)


def drawn(figure):
    "The maps that a figure draws, without pictures and colour bars."
    arrays = [image.get_array() for axis in figure.axes for image in axis.images if axis.get_label() != "<colorbar>"]
    return [array for array in arrays if array.ndim == 2]


class Written(dict):
    def add_image(self, tag, image, global_step, dataformats):
        assert image.ndim == 3 and image.shape[2] == 3 and dataformats == "HWC"
        self[tag] = (image, global_step)


@pytest.fixture(scope="module")
def data():
    return load_data("shapes", limit=48)


@pytest.mark.parametrize("pool, registers", READOUTS)
def test_every_readout(pool, registers):
    model, images = make(pool, registers), torch.randn(2, 3, 32, 32)
    figures = visualize.model_figures(model, images)
    equal(set(figures), LOOKS_INSIDE)
    weights = attention_maps(model, images)
    found = cls_map(weights[-1], model)[0]
    for array, tile in zip(drawn(figures["cls_attention"]), [found.mean(0), *found], strict=False):
        close(array, tile.numpy(), eps=1e-6)
    figure = visualize.plot_cls_attention(model, images[:1], weights=weights[:, :1])
    asked = visualize.plot_relevance(model, images[:1], [3, 4])
    for array, k in zip(drawn(asked), (3, 4), strict=True):
        close(array, relevance_map(model, images[:1], k)[0].numpy(), eps=1e-6)
    said = [axis.get_xlabel() for axis in figure.axes[1:4]]
    equal(said, [f"max {tile.max():.1%}" for tile in [found.mean(0), *found]])
    bar = figure.axes[-1]
    equal([tick.get_text() for tick in bar.get_yticklabels()][1], "even")
    close(bar.get_yticks()[1], 1 / weights.shape[-1])


def test_scales_of_one_row():
    "Heads share a scale, their mean has its own; every map of relevance has its own; none of attention ends below four even shares."
    model, images = make(), torch.randn(1, 3, 32, 32)
    given = torch.full((2, 1, 2, 17, 17), 0.01)
    given[1, 0, 0, 0, 5] = 0.9  # one sharp head of two
    figure = visualize.plot_cls_attention(model, images, weights=given)
    close([axis.images[1].get_clim()[1] for axis in figure.axes[1:4]], [0.455, 0.9, 0.9], eps=1e-6)
    alike = visualize.plot_cls_attention(model, images, weights=torch.full((2, 1, 2, 17, 17), 1 / 17))
    close([axis.images[1].get_clim()[1] for axis in alike.axes[1:4]], [4 / 17] * 3, eps=1e-6)
    asked = visualize.plot_relevance(model, images, [3, 4, 5])
    tops = [axis.images[1].get_clim()[1] for axis in asked.axes[1:4]]
    close(tops, [relevance_map(model, images, k).max().item() for k in (3, 4, 5)], eps=1e-6)
    assert len({round(top, 9) for top in tops}) == 3
    equal([tick.get_text() for tick in asked.axes[-1].get_yticklabels()], ["0", "max"])


def test_recorded_once(monkeypatch):
    model, calls = make(), []
    monkeypatch.setattr(visualize, "attention_maps", lambda *given: calls.append(len(given[1])) or attention_maps(*given))
    visualize.model_figures(model, torch.randn(20, 3, 32, 32))
    equal(calls, [4, 16, 4])  # once for three figures, then the distances of all images, 16 at a time


def test_given_weights_are_drawn():
    model, images = make(), torch.randn(2, 3, 32, 32)
    given = torch.rand(2, 2, 2, 17, 17)  # numbers that this model would never give
    wall = cls_map(given[:, 0], model)
    figure = visualize.plot_attention_wall(model, images, weights=given)
    close(figure.axes[0].images[0].get_clim()[1], wall.max().item())
    rolled = visualize.plot_rollout(model, images, weights=given)
    own = visualize.plot_rollout(model, images)
    assert np.abs(drawn(rolled)[0] - drawn(own)[0]).max() > 1e-4
    own_scale = visualize.plot_attention_wall(model, images, token=5, own_scale=True)
    assert "share of each tile" in own_scale.axes[1].get_ylabel() and "patch 5" in own_scale.axes[0].get_title()


def test_a_run_ends_with_its_figures(data, tmp_path):
    model, writer = make().train(), Written()
    progress = SimpleNamespace(event="epoch", model=model, data=data, valid=None, history=SimpleNamespace(rows=ROWS),
                               run_dir=tmp_path, writer=writer, step=7)  # fmt: skip
    visualize.run_figures(progress)
    assert not writer and not list(tmp_path.iterdir())  # nothing before the end
    progress.event = "end"
    visualize.run_figures(progress)
    assert model.training
    names = LOOKS_INSIDE | {"history", "confusion", "predictions"}
    equal({path.stem for path in (tmp_path / "figures").glob("*.png")}, names)
    equal({tag: step for tag, (_, step) in writer.items()}, {f"figures/{name}": 7 for name in names})
    equal(plt.imread(tmp_path / "figures" / "rollout.png")[..., :3], writer["figures/rollout"][0])
    equal(plt.get_fignums(), [])
    with torch.no_grad():
        guesses = model.eval()(data.valid.normalize(data.valid.images)).argmax(1)
    counts = torch.bincount(data.valid.labels * 10 + guesses, minlength=100)
    shown = visualize.data_figures(model, data)["confusion"].axes[0].texts
    equal([int(text.get_text()) for text in shown], counts.tolist())


def test_a_model_without_attention(data, monkeypatch):
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    images, labels = data.test.normalize(data.test.images[:8]), data.test.labels[:8]
    mixed = [(images, torch.nn.functional.one_hot(labels, 10).float())]
    quiet = SimpleNamespace(event="end", model=plain, data=mixed, valid=None, history=SimpleNamespace(rows=ROWS),
                            run_dir=None, writer=Written(), step=1)  # fmt: skip
    visualize.run_figures(quiet)
    equal(set(quiet.writer), {"figures/history", "figures/confusion", "figures/predictions"})
    asked = []
    monkeypatch.setattr(visualize, "data_figures", lambda model, data: asked.append(data) or {})
    quiet.valid = [(images[:5], labels[:5])]  # loaders given to `fit` one by one: the second is shown
    visualize.run_figures(quiet)
    assert asked == [quiet.valid]


def test_more_outputs_than_classes(data):
    wide = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 12))
    labels = visualize.data_figures(wide, data)["confusion"].axes[0].get_yticklabels()
    equal(labels[-1].get_text(), "class 11")


def test_in_a_thread_and_in_the_users_style():
    model, images, elsewhere = make(), torch.randn(1, 3, 32, 32), []
    thread = threading.Thread(target=lambda: elsewhere.append(visualize.plot_attention_wall(model, images)))
    thread.start()  # widgets train in a thread
    thread.join()
    equal(len(elsewhere), 1)
    with plt.rc_context({"image.cmap": "jet"}):
        equal(visualize.plot_pos_norms(model).axes[0].images[0].get_cmap().name, "viridis")
        equal(plt.rcParams["image.cmap"], "jet")


def test_no_augmentation_is_missing(data):
    fields = set(Augment.__dataclass_fields__) - {"randaugment_ops", "mix_probability"}
    equal(fields, set(visualize.AUGMENTATION_STEPS))
    pictures = data.test.images[:4]
    close(visualize.augmented(pictures, "crop_padding", 4), visualize.augmented(pictures, "crop_padding", 4))


def test_batches_of_every_kind_are_read_as_fit_reads_them(monkeypatch):
    drawn = []
    monkeypatch.setattr(visualize, "plot_confusion", lambda counts, classes: drawn.append(counts))
    monkeypatch.setattr(visualize, "plot_predictions", lambda pixels, shown, truth, classes: drawn.append(truth))
    model, images, labels = make().eval(), torch.randn(4, 3, 32, 32), torch.tensor([3, 1, 2, 0])
    for batch in ((images, labels[:, None]), {"pixel_values": images, "labels": labels}):
        visualize.data_figures(model, [batch])
        equal(drawn[-2].tolist(), [3, 1, 2, 0])
        equal(drawn[-1].sum(1).tolist(), [1] * 4 + [0] * 6)
