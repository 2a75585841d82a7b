"Answers to the exercises of lesson 05: right ones in several styles, wrong ones that a check must see."
import pytest
import torch
import torch.nn.functional as F
from lesson import HOPELESS, judge, load

e = load("05_", "check_crop", "solution_crop", "my_crop", "right_crop", "check_mixup", "solution_mixed_images", "solution_mixed_labels",
         "my_mixed_images", "my_mixed_labels")  # fmt: skip


def crop_loop(images, offsets, padding):
    H, W = images.shape[2:]
    framed = F.pad(images, (padding,) * 4)
    return torch.stack([x[:, padding + i :][:, :H, padding + j :][:, :, :W] for x, (i, j) in zip(framed, offsets.tolist(), strict=True)])


def crop_gather(images, offsets, padding):
    B, C, H, W = images.shape
    framed = F.pad(images, (padding,) * 4)
    rows = (torch.arange(H) + offsets[:, :1] + padding)[:, None, :, None].expand(B, C, H, W + 2 * padding)
    cols = (torch.arange(W) + offsets[:, 1:] + padding)[:, None, None].expand(B, C, H, W)
    return framed.gather(2, rows).gather(3, cols)


def crop_in_place(images, offsets, padding):
    images.copy_(crop_loop(images, offsets, padding))
    return images


def unpadded(images, offsets, padding):  # a negative offset takes a window from the end
    H, W = images.shape[2:]
    windows = F.pad(images, (padding,) * 4).unfold(2, H, 1).unfold(3, W, 1)
    return torch.stack([windows[k, :, i, j] for k, (i, j) in enumerate(offsets.tolist())])


def square(images, offsets, padding):  # H and W exchanged: right on squares only
    H, W = images.shape[2:]
    framed = F.pad(images, (padding,) * 4)
    return torch.stack([x[:, padding + i : padding + i + W, padding + j : padding + j + H] for x, (i, j) in zip(framed, offsets.tolist(), strict=True)])


def reflected(images, offsets, padding):
    H, W = images.shape[2:]
    framed = F.pad(images, (padding,) * 4, mode="reflect")
    return torch.stack([x[:, padding + i :][:, :H, padding + j :][:, :, :W] for x, (i, j) in zip(framed, offsets.tolist(), strict=True)])


@pytest.mark.parametrize("answer", [e.solution_crop, crop_loop, crop_gather, crop_in_place, lambda *given: crop_loop(*given).double()])
def test_right_crops(answer):
    judge(e.check_crop, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda x, o, p: e.right_crop(x, o[:1].expand_as(o), p), "one window for all"),
    (lambda x, o, p: e.right_crop(x, -o, p), "the other way"),
    (lambda x, o, p: e.right_crop(x, o.flip(1), p), "down and right are exchanged"),
    (lambda x, o, p: torch.stack([i.roll((-d).tolist(), (1, 2)) for i, d in zip(x, o, strict=True)]), "must be black"),
    (lambda x, o, p: x, "nothing has moved"),
    (lambda x, o, p: e.right_crop(x, o - p, p), "add the padding"),
    (unpadded, "counts from the frame's end"),
    (lambda x, o, p: F.pad(x, (p,) * 4), "the shape should be"),
    (lambda x, o, p: e.right_crop(x, o[:, :1].expand_as(o), p), "the number at"),
    (lambda x, o, p: e.solution_crop(x, o.clamp(-2, 2), 2), "with 7 images of 1 x 5 x 9 and padding 3"),
    (lambda x, o, p: e.right_crop(x, torch.randint(-p, p + 1, o.shape), p), "the number at"),
    (square, "with 5 images of 3 x 8 x 6 and padding 2"), (reflected, "the number at"),
    (lambda x, o, p: e.right_crop(x, o, p).flip(3), "the number at"),
    (lambda x, o, p: e.right_crop(x, o, p).numpy(), "give back a torch tensor"),
])  # fmt: skip
def test_wrong_crops(answer, words):
    judge(e.check_crop, answer, verdict=words)
    assert e.check_crop(answer).startswith("✗")


def images_lerp(images, share, partner):
    return torch.lerp(images[partner], images, share.view(-1, 1, 1, 1))


def images_loop(images, share, partner):
    return torch.stack([s * images[i] + (1 - s) * images[j] for i, (s, j) in enumerate(zip(share, partner, strict=True))])


def three_channels(images, share, partner):  # one share for each of three channels
    own = share.view(-1, 1, 1, 1).expand(-1, 3, -1, -1)
    return own * images + (1 - own) * images[partner]


def labels_add(labels, share, partner, num_classes):
    out = torch.zeros(len(labels), num_classes)
    return out.scatter_add_(1, labels[:, None], share[:, None]).scatter_add_(1, labels[partner][:, None], 1 - share[:, None])


def labels_eye(labels, share, partner, num_classes):
    eye = torch.eye(num_classes)
    return torch.einsum("b,bk->bk", share, eye[labels]) + torch.einsum("b,bk->bk", 1 - share, eye[labels[partner]])


def labels_overwritten(labels, share, partner, num_classes):
    out, rows = torch.zeros(len(labels), num_classes), torch.arange(len(labels))
    out[rows, labels] = share
    out[rows, labels[partner]] = 1 - share
    return out


def five_classes(labels, share, partner, num_classes):
    return labels_add(labels, share, partner, 5)


def says(part):
    return lambda f, g: e.check_mixup(f, g).split("\n")[part].split(": ", 1)[1]


@pytest.mark.parametrize("f", [e.solution_mixed_images, images_lerp, images_loop])
@pytest.mark.parametrize("g", [e.solution_mixed_labels, labels_add, labels_eye])
def test_right_mixup(f, g):
    judge(says(0), f, g, verdict="✓")
    judge(says(1), f, g, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda x, s, p: images_loop(x, 1 - s, p), "turned around"),
    (lambda x, s, p: images_loop(x, s.mean().expand_as(s), p), "one share for the whole batch"),
    (lambda x, s, p: x, "not mixed"),
    (lambda x, s, p: s.view(-1, 1, 1, 1) * x, "the partner is not in it"),
    (lambda x, s, p: s.view(-1, 1, 1, 1) * x + (1 - s.view(-1, 1, 1, 1)) * x.flip(0), "the number at"),
    (lambda x, s, p: s * x + (1 - s) * x[p], "with 5 images of 1 x 4 x 6, it stops with RuntimeError"),
    (lambda x, s, p: torch.where(s.view(-1, 1, 1, 1) > 0.5, x, x[p]), "the number at"),
    (three_channels, "with 5 images of 1 x 4 x 6, the shape should be (5, 1, 4, 6)"),
    (lambda x, s, p: images_loop(x, s, p).mean(0), "the shape should be"),
])  # fmt: skip
def test_wrong_images(answer, words):
    judge(says(0), answer, labels_add, verdict=words)
    assert says(0)(answer, labels_add).startswith("✗")
    judge(says(1), answer, labels_add, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda y, s, p, k: labels_add(y, 1 - s, p, k), "turned around"),
    (lambda y, s, p, k: F.one_hot(y, k), "the labels are not mixed"),
    (lambda y, s, p, k: y, "the shape should be (5, 5)"),
    (labels_overwritten, "must be added, not overwritten"),
    (five_classes, "the shape should be (4, 3), yours is (4, 5)"),
    (lambda y, s, p, k: labels_add(y, s, p, int(y.max()) + 2), "the shape should be"),
    (lambda y, s, p, k: s[:, None] * F.one_hot(y, k) + (1 - s[:, None]) * F.one_hot(p % k, k), "the number at"),
    (lambda y, s, p, k: 0.5 * F.one_hot(y, k) + 0.5 * F.one_hot(y[p], k), "the number at"),
])  # fmt: skip
def test_wrong_labels(answer, words):
    judge(says(1), images_loop, answer, verdict=words)
    assert says(1)(images_loop, answer).startswith("✗")


@pytest.mark.parametrize("answer", HOPELESS.values(), ids=HOPELESS)
def test_hopeless_answers(answer):
    assert not e.check_crop(answer).startswith("✓")
    said = e.check_mixup(answer, answer)
    assert "✓" not in said


def test_stubs():
    assert e.check_crop(e.my_crop) == "not attempted yet"
    assert e.check_mixup(e.my_mixed_images, e.my_mixed_labels) == "images: not attempted yet\nlabels: not attempted yet"
