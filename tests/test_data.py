"""Data across the notebooks: official file formats, whole processes, other libraries, light imports."""

import hashlib
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vit_from_scratch.data
from vit_from_scratch.data import (
    OPERATIONS,
    SHAPE_CLASSES,
    Augment,
    ImageSet,
    StreamedSet,
    derive_generator,
    list_folder,
    load_data,
    make_shapes,
    operation_matrices,
    read_image,
    warp,
)


def write_tree(root, parts, size=24, suffix=".png", seed=0):
    rng = np.random.default_rng(seed)
    for part, classes in parts.items():
        for name, count in classes.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / f"{i:05d}{suffix}")
    return root


def hashes(part):
    return {hashlib.sha1(image.numpy().tobytes()).hexdigest() for image in part.images}


def write_cifar(source, root, monkeypatch, label_key, names_key):
    "Official CIFAR files in little: the same pickles, and the checksums torchvision asks for replaced by theirs."
    rng, folder = np.random.default_rng(0), root / source.base_folder
    folder.mkdir(parents=True)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    names = [f"name {i}" for i in range(10)]
    for attribute in ("train_list", "test_list"):
        written = []
        for name, _ in getattr(source, attribute):
            batch = {"data": rng.integers(0, 256, (40, 3072), dtype=np.uint8), label_key: [i % 10 for i in range(40)]}
            batch["filenames"] = [f"{rng.integers(2**31)}_{name}_{i}.png" for i in range(40)]  # in no order
            written.append([name, write(name, batch)])
        monkeypatch.setattr(source, attribute, written)
    meta = write(source.meta["filename"], {names_key: names})
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": meta})
    return names


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_official_cifar(name, tmp_path, monkeypatch):
    from torchvision import datasets

    source, keys = {"cifar10": (datasets.CIFAR10, ("labels", "label_names")), "cifar100": (datasets.CIFAR100, ("fine_labels", "fine_label_names"))}[name]
    names = write_cifar(source, tmp_path, monkeypatch, *keys)
    data = load_data(name, root=tmp_path)
    expected = (180, 20, 40) if name == "cifar10" else (30, 10, 40)  # at least one image of every class
    assert data.classes == tuple(names) and data.image_size == 32
    assert (data.train.num_images, data.valid.num_images, data.test.num_images) == expected
    for part, batches in (("train", source.train_list), ("test", source.test_list)):  # the same images as folders of PNG files
        for batch in (pickle.loads((tmp_path / source.base_folder / file).read_bytes()) for file, _ in batches):
            for pixels, label, file in zip(batch["data"], batch[keys[0]], batch["filenames"], strict=True):
                (tmp_path / "tree" / part / names[label]).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.reshape(3, 32, 32).transpose(1, 2, 0)).save(tmp_path / "tree" / part / names[label] / file)
    tree = load_data(name, root=tmp_path / "tree")
    for part in ("train", "valid", "test"):  # and the cut falls between the same images
        official, folders = getattr(data, part), getattr(tree, part)
        assert torch.equal(official.images, folders.images) and torch.equal(official.labels, folders.labels)
    assert not hashes(data.train) & hashes(data.valid) and not hashes(data.train) & hashes(data.test)


def test_official_gtsrb_keeps_tracks_together(tmp_path):
    rng, base = np.random.default_rng(0), tmp_path / "gtsrb" / "GTSRB"
    for label in range(43):
        folder = base / "Training" / f"{label:05d}"
        folder.mkdir(parents=True)
        for track in range(3):
            for frame in range(2):  # the track is written into the pixels
                pixels = np.full((20 + frame, 22, 3), (label, track, frame), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{track:05d}_{frame:05d}.ppm")
    (base / "Final_Test" / "Images").mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(base / "Final_Test" / "Images" / f"{i:05d}.ppm")
        rows.append(f"{i:05d}.ppm;30;30;1;1;29;29;{i}")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows))
    data = load_data("gtsrb", root=tmp_path)
    assert data.num_classes == 43 and data.image_size == 32 and data.test.labels.tolist() == list(range(6))
    tracks = [{tuple(image[:2, 0, 0].tolist()) for image in part.images} for part in (data.train, data.valid)]
    assert not tracks[0] & tracks[1] and len(tracks[0]) == 86 and len(tracks[1]) == 43


def test_official_imagenet(tmp_path):
    wnids = {"n01440764": ("tench", "Tinca tinca"), "n01443537": ("goldfish",)}
    torch.save((wnids, ["n01440764", "n01443537"]), tmp_path / "meta.bin")
    write_tree(tmp_path, {"train": dict.fromkeys(wnids, 6), "val": dict.fromkeys(wnids, 2)}, size=40, suffix=".JPEG")
    data = load_data("imagenet-1k", root=tmp_path, image_size=16, valid_fraction=0.34)
    assert data.classes == ("tench", "goldfish")
    assert data.mean == (0.485, 0.456, 0.406) and data.std == (0.229, 0.224, 0.225)
    assert (data.train.num_images, data.valid.num_images, data.test.num_images) == (8, 4, 4)
    (tmp_path / "meta.bin").unlink()  # without the official lists: a plain tree, named by its folders
    assert load_data("imagenet-1k", root=tmp_path, image_size=16, valid_fraction=0.34).classes == tuple(wnids)


def test_missing_official_files_say_what_to_do(tmp_path):
    for name in ("cifar10", "cifar100", "gtsrb"):
        with pytest.raises(ValueError, match=r"download=True.*train/<class>/") as error:
            load_data(name, root=tmp_path)
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="image-net.org"):
        load_data("imagenet-1k", root=tmp_path)


def test_a_missing_package_and_several_downloads_are_explained(tmp_path, monkeypatch):
    def without_scipy(*_):
        raise ImportError("No module named 'scipy'", name="scipy")

    monkeypatch.setitem(vit_from_scratch.data._OFFICIAL, "imagenet-1k", without_scipy)
    with pytest.raises(ValueError, match="pip install scipy"):
        load_data("imagenet-1k", root=tmp_path)
    asked = []
    monkeypatch.setitem(vit_from_scratch.data._OFFICIAL, "cifar10", lambda name, root, download: asked.append(download) or without_scipy())
    for processes in ("1", "4"):  # four would write the same archive at once
        monkeypatch.setenv("WORLD_SIZE", processes)
        with pytest.raises(ValueError):
            load_data("cifar10", root=tmp_path, download=True)
    assert asked == [True, False]


@pytest.mark.parametrize("name", ["cifar10", "gtsrb", "imagefolder"])
def test_trees_are_read_under_every_name(name, tmp_path):
    write_tree(tmp_path, {"train": {"b": 10, "a": 20}, "test": {"a": 3, "b": 4}}, size=32)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    data = load_data(name, root=tmp_path)
    assert data.classes == ("a", "b") and data.train.labels.bincount().tolist() == [18, 9]
    assert data.valid.labels.bincount().tolist() == [2, 1] and data.test.labels.bincount().tolist() == [3, 4]
    parts = [hashes(p) for p in (data.train, data.valid, data.test)]
    assert len(set.union(*parts)) == 37
    other = load_data(name, root=tmp_path, split_seed=1)
    assert hashes(other.valid) != parts[1] and hashes(other.test) == parts[2]


def test_broken_trees(tmp_path):
    with pytest.raises(ValueError, match="has no class folders"):
        load_data("imagefolder", root=tmp_path)
    write_tree(tmp_path, {"train": {"a": 3, "b": 1}, "test": {"a": 1, "c": 1}})
    with pytest.raises(ValueError, match="no training images of c"):
        load_data("imagefolder", root=tmp_path)
    for file in (tmp_path / "test" / "c").iterdir():
        file.unlink()
    (tmp_path / "test" / "c").rmdir()
    with pytest.raises(ValueError, match="too few images") as error:
        load_data("imagefolder", root=tmp_path)
    assert str(tmp_path) in str(error.value)


def test_streaming_with_workers(tmp_path):
    write_tree(tmp_path, {"train": {"a": 12, "b": 12}, "test": {"a": 2, "b": 2}}, size=32)
    augment = Augment(random_resized_crop=(0.3, 1.0), flip=True, randaugment_ops=1, mixup=0.5)
    parts = [load_data("imagefolder", root=tmp_path, in_memory=False, num_workers=n).train for n in (0, 2)]
    parts = [p.with_settings(batch_size=8, shuffle=True, augment=augment) for p in parts]
    alone, workers = (list(p.epoch(1)) for p in parts)
    assert all(torch.equal(a, b) for one, two in zip(alone, workers, strict=True) for a, b in zip(one, two, strict=True))
    later = list(parts[1].epoch(1, start=2))
    assert torch.equal(later[0][0], alone[2][0])
    broken = Path(parts[1].images[0])
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(ValueError, match=f"{broken.name} cannot be read") as error:  # found while training: still one sentence
        list(parts[1].epoch(0))
    assert "\n" not in str(error.value)


def test_geometry_agrees_with_torchvision():
    "Every geometric operation, with its sign: positive turns go counter-clockwise, positive shifts move the picture left or up."
    from torchvision.transforms.v2 import functional as tv

    images, still = make_shapes(4, 32, seed=3)[0].float() / 255, dict(angle=0, translate=[0, 0], scale=1, shear=[0, 0])
    bilinear, middle, shift = tv.InterpolationMode.BILINEAR, slice(8, 24), 150 / 331 * 32
    for name, strength, theirs in (
        ("rotate", 0.5, dict(angle=-15)),
        ("shear_x", 0.5, dict(shear=[math.degrees(math.atan(0.15)), 0])),
        ("shear_y", 0.5, dict(shear=[0, math.degrees(math.atan(0.15))])),
        ("translate_x", 4 / shift, dict(translate=[-4, 0])),
        ("translate_y", 4 / shift, dict(translate=[0, -4])),
    ):
        for sign in (1, -1):
            ours = warp(images, operation_matrices(torch.full((4,), OPERATIONS.index(name)), torch.full((4,), sign * strength)))
            turned = {k: [sign * x for x in v] if isinstance(v, list) else sign * v for k, v in theirs.items()}
            reference = tv.affine(images, interpolation=bilinear, **still | turned)
            assert (ours - reference)[..., middle, middle].abs().max() < 2e-3, (name, sign)
            if name in ("rotate", "shear_x", "shear_y"):  # and of a rectangle
                wide = torch.nn.functional.pad(images, (16, 16))
                matrices = operation_matrices(torch.full((4,), OPERATIONS.index(name)), torch.full((4,), sign * strength), 32 / 64)
                difference = warp(wide, matrices) - tv.affine(wide, interpolation=bilinear, **still | turned)
                assert difference[..., middle, 24:40].abs().max() < 2e-3, (name, sign)


def test_sixteen_bit_greys_keep_their_shades(tmp_path):
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    pixels = np.asarray(read_image(tmp_path / "ramp.png"))
    assert np.array_equal(pixels[..., 0], ramp >> 8) and (pixels[..., 0] == pixels[..., 2]).all()
    Image.fromarray((ramp >> 8).astype(np.int32)).save(tmp_path / "bytes.tiff")  # 8 bits in a wider file
    assert np.array_equal(np.asarray(read_image(tmp_path / "bytes.tiff"))[..., 0], ramp >> 8)
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="no whole numbers from 0 to 65535"):
        read_image(tmp_path / "float.tiff")


def test_names_of_parts(tmp_path):
    "Parts are found whatever their case; parts without one to train on are no classes."
    data = load_data("imagefolder", write_tree(tmp_path / "good", {"Train": {"cat": 4, "dog": 4}, "Test": {"cat": 4, "dog": 4}}), image_size=16)
    assert (data.classes, data.test.num_images) == (("cat", "dog"), 8)
    with pytest.raises(ValueError, match="holds val but no folder train"):
        load_data("imagefolder", write_tree(tmp_path / "bad", {"pictures": {"cat": 2}, "val": {"cat": 2}}))


def test_what_begins_with_a_dot_is_left_out(tmp_path):
    write_tree(tmp_path, {".": {"cat": 3}, "cat": {".ipynb_checkpoints": 3}})
    assert len(list_folder(tmp_path)[0].labels) == 3


def streamed(tmp_path, num, **settings):
    listing, classes = list_folder(write_tree(tmp_path, {".": {"cat": num}}))
    return StreamedSet(listing.items, listing.labels, classes, (0.5,) * 3, (0.25,) * 3, image_size=16, num_workers=0, **settings)


def test_streaming_draws_nothing_from_the_run(tmp_path):
    "Else a resumed run, which opens its loader once more, would go on with other dropout."
    part = streamed(tmp_path, 4, batch_size=2)
    before = torch.get_rng_state()
    list(part.epoch(0)), list(part.epoch(0, start=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind, waits", [("cuda", False), ("mps", True), ("cpu", True)])
def test_streamed_batches_wait_for_no_gpu_but_for_others(kind, waits, tmp_path, monkeypatch):
    write_tree(tmp_path, {"train": {"a": 4, "b": 4}, "test": {"a": 2, "b": 2}}, size=8)
    part = load_data("imagefolder", tmp_path, image_size=8, valid_fraction=0.5, in_memory=False, num_workers=0).train
    copies, pinned, streamed = [], [], part.with_settings(device=torch.device(kind), augment=None, batch_size=4)
    monkeypatch.setattr(vit_from_scratch.data.StreamedSet, "normalize", lambda self, images: images)
    with monkeypatch.context() as imagined:  # a device that need not be there
        imagined.setattr(torch.Tensor, "to", lambda x, device, non_blocking=False: copies.append(non_blocking) or x)
        imagined.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x.shape) or x)
        imagined.setattr(torch.utils.data, "DataLoader", lambda data, batch_sampler, **settings: [torch.zeros(len(b), 3, 8, 8) for b in batch_sampler])
        imagined.setattr(vit_from_scratch.data, "_from_workers", iter)
        next(streamed.epoch(0))
    assert copies[-2:] == [not waits, not waits] and bool(pinned) is not waits


def test_shapes_are_drawn_on_squares():
    assert load_data("shapes", image_size=(16, 16), limit=20).train.images.shape[2:] == (16, 16)
    with pytest.raises(ValueError, match="image_size=32,48: shapes are drawn on squares only; give one side, such as image_size=32"):
        load_data("shapes", image_size=(32, 48), limit=20)


def test_a_process_may_be_left_without_images(tmp_path):
    part = streamed(tmp_path, 5, batch_size=4, rank=3, world_size=4, augment=Augment(flip=True, mixup=0.2))
    assert [tuple(images.shape) for images, _ in part] == [(1, 3, 16, 16), (0, 3, 16, 16)]


def test_statistics_fit_the_channels():
    images, labels, _ = make_shapes(8)
    with pytest.raises(ValueError, match="one number for each of 3 channels"):
        ImageSet(images, labels, SHAPE_CLASSES, (0.5,), (0.25,))


def test_two_processes_make_the_same_batch():
    code = (
        "from vit_from_scratch.data import SHAPE_CLASSES, Augment, ImageSet, make_shapes; import hashlib\n"
        "images, labels, _ = make_shapes(64)\n"
        "augment = Augment(4, flip=True, randaugment_ops=2, erasing=0.5, cutmix=1.0)\n"
        "part = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3, batch_size=32, shuffle=True, seed=5, augment=augment)\n"
        "print(hashlib.sha1(b''.join(x.numpy().tobytes() for x, _ in part.epoch(3))).hexdigest())"
    )
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1


def test_import_is_light():
    code = "import sys, vit_from_scratch.data; print([m for m in ('torchvision', 'PIL', 'matplotlib', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_shapes_cannot_be_told_by_colour():
    from sklearn.linear_model import LogisticRegression

    images, labels, _ = make_shapes(3000, seed=11)
    histogram = torch.stack([torch.stack([(c // 32 == k).float().mean((1, 2)) for k in range(8)], 1) for c in images.unbind(1)], 2).flatten(1)
    model = LogisticRegression(C=10, max_iter=1000).fit(histogram[:2400], labels[:2400])
    assert model.score(histogram[2400:], labels[2400:]) < 0.30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_augmentation_on_the_device():
    images, labels, _ = make_shapes(64)
    augment = Augment(4, (0.5, 1.0), True, 2, 9, 0.25, 0.2, 1.0)
    part = ImageSet(images, labels, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3, batch_size=32, augment=augment, device="cuda")
    first, again = list(part.epoch(0)), list(part.epoch(0))
    assert first[0][0].is_cuda and all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert derive_generator("cuda", 1).device.type == "cuda"
