"Answers to the exercises of lesson 01: right ones in several styles, wrong ones that a check must see."
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from lesson import HOPELESS, judge, load

from vit_from_scratch.patch_embedding import patchify, sincos_2d

e = load("01_", "check_patchify", "solution_patchify", "my_patchify", "check_sincos", "solution_sincos", "my_sincos")


def refuse(images, p):
    if images.shape[2] % p or images.shape[3] % p:
        raise ValueError("not whole patches")


def with_loops(images, p):
    refuse(images, p)
    H, W = images.shape[2:]
    return torch.stack([images[:, :, y : y + p, x : x + p].flatten(1) for y in range(0, H, p) for x in range(0, W, p)], 1)


def with_unfold(images, p):
    refuse(images, p)
    cut = images.unfold(2, p, p).unfold(3, p, p)  # b, c, rows, columns, p, p
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def with_f_unfold(images, p):
    refuse(images, p)
    return F.unfold(images, p, stride=p).transpose(1, 2)


def three_channels(images, p):
    refuse(images, p)
    return rearrange(images, "b c (h p) (w q) -> b (h w) c p q", p=p, q=p).reshape(len(images), -1, 3 * p * p)


def height_for_width(images, p):
    refuse(images, p)
    b, c, side, _ = images.shape
    cut = images.reshape(b, c, side // p, p, side // p, p).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(b, -1, c * p * p)


def padded(images, p):
    refuse(images, p)
    return F.unfold(images, p, stride=p, padding=p // 2).transpose(1, 2)


def with_view(images, p):
    refuse(images, p)
    b, c, H, W = images.shape
    return images.view(b, c, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * p * p)


def permuted_view(images, p):  # `view` where `reshape` is needed
    b, c, H, W = images.shape
    return images.view(b, c, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).view(b, -1, c * p * p)


def grid_swapped(images, p):  # right on squares only
    refuse(images, p)
    b, c, H, W = images.shape
    return images.reshape(b, c, W // p, p, H // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * p * p)


def read_as(pattern):
    return lambda images, p: rearrange(images, pattern, p=p, q=p)


@pytest.mark.parametrize("answer", [e.solution_patchify, with_loops, with_unfold, with_f_unfold, with_view])
def test_right_patchify(answer):
    judge(e.check_patchify, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (read_as("b c (h p) (w q) -> b (w h) (c p q)"), "run down columns"),
    (read_as("b c (h p) (w q) -> b (h w) (p q c)"), "pixel by pixel"),
    (read_as("b c (h p) (w q) -> b (h w) (c q p)"), "transposed"),
    (read_as("b c (p h) (q w) -> b (h w) (c p q)"), "every P-th pixel"),
    (lambda i, p: i.reshape(len(i), -1, i.shape[1] * p * p), "reshape alone"),
    (lambda i, p: patchify(i, p).transpose(1, 2), "the shape should be (2, 8, 12), yours is (2, 12, 8)"),
    (lambda i, p: patchify(i[:1], p).expand(len(i), -1, -1), "the number at [1, 0, 0] is wrong"),
    (three_channels, "with 3 images of 2 x 9 x 6"),
    (height_for_width, "✗"), (grid_swapped, "✗"), (padded, "the shape should be"),
    (permuted_view, "it stops with RuntimeError"),
    (lambda i, p: patchify(i, 2), "with 3 images of 2 x 9 x 6"),
    (lambda i, p: patchify(i[:, :, : i.shape[2] // p * p, : i.shape[3] // p * p], p), "refuse 5x8 with P = 2"),
    (lambda i, p: patchify(i[..., : i.shape[3] // p * p], p), "refuse 8x5 with P = 2"),
    (read_as("b c (h p) (w q) -> b (h w) (c p q)"), "EinopsError"),
])  # fmt: skip
def test_wrong_patchify(answer, words):
    judge(e.check_patchify, answer, verdict=words)
    assert e.check_patchify(answer).startswith("✗")


def sincos_loops(rows, columns, dim):
    import math

    w = [10_000 ** -(k / (dim // 4 - 1)) for k in range(dim // 4)]
    return torch.tensor([
        [f(v * s) for v in (x, y) for f in (math.sin, math.cos) for s in w] for y in range(rows) for x in range(columns)
    ])  # fmt: skip


def grouped(pattern):
    return lambda r, c, d: rearrange(sincos_2d((r, c), d), f"n (a w k) -> n {pattern}", a=2, w=2)


def sines_twice(r, c, d):
    x, _, y, _ = sincos_2d((r, c), d).chunk(4, 1)
    return torch.cat([x, x, y, y], 1)


@pytest.mark.parametrize("answer", [e.solution_sincos, sincos_loops, lambda r, c, d: sincos_loops(r, c, d).double()])
def test_right_sincos(answer):
    judge(e.check_sincos, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda r, c, d: sincos_2d((r, c), d).roll(d // 2, 1), "x and y are swapped"),
    (lambda r, c, d: sincos_2d((c, r), d).roll(d // 2, 1), "run down columns"),
    (grouped("(w a k)"), "in another order"),
    (grouped("(a k w)"), "alternate"),
    (sines_twice, "cosines are missing"),
    (lambda r, c, d: sincos_2d((r, c), d)[:, : d // 2], "the shape should be (6, 16), yours is (6, 8)"),
    (lambda r, c, d: sincos_2d((r, c), d, temperature=100), "the number at [1, 1] is wrong"),
    (lambda r, c, d: sincos_2d((r, c), d, temperature=10_000 ** (1 - 4 / d)), "divide k by"),
    (lambda r, c, d: sincos_2d(c, d)[: r * c], "✗"),  # rows taken for columns: right on some grids
    (lambda r, c, d: sincos_2d((2, 3), 16), "with 3 x 2 places and D = 8"),
    (lambda r, c, d: sincos_2d((r, c), d).flip(1), "✗"),
    (lambda r, c, d: sincos_2d((r, c), d) + 0.01, "is wrong"),
])  # fmt: skip
def test_wrong_sincos(answer, words):
    judge(e.check_sincos, answer, verdict=words)
    assert e.check_sincos(answer).startswith("✗")


@pytest.mark.parametrize("check, stub", [(e.check_patchify, e.my_patchify), (e.check_sincos, e.my_sincos)])
def test_stubs_and_hopeless_answers(check, stub):
    assert check(stub) == "not attempted yet"
    for name, answer in HOPELESS.items():
        said = check(answer)
        assert said == "not attempted yet" if name == "nothing" else said.startswith("✗"), (name, said)
