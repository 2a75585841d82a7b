"Answers to the exercises of lesson 04: right ones in several styles, wrong ones that a check must see."
import pytest
import torch
from einops import repeat
from lesson import HOPELESS, judge, load

e = load("04_", "check_embed", "solution_embed", "my_embed", "check_count", "solution_count", "my_count")


def with_repeat(patches, cls_token, pos_embed):
    return torch.cat([repeat(cls_token, "1 1 d -> b 1 d", b=len(patches)), patches], 1).add_(pos_embed)


def with_loop(patches, cls_token, pos_embed):
    return torch.stack([torch.cat([cls_token[0], image]) + pos_embed[0] for image in patches])


def with_empty(patches, cls_token, pos_embed):
    B, N, D = patches.shape
    tokens = patches.new_empty(B, N + 1, D)
    tokens[:, :1], tokens[:, 1:] = cls_token, patches
    return tokens + pos_embed


def join(c, p, last=False):
    both = c.expand(len(p), -1, -1)
    return torch.cat([p, both] if last else [both, p], 1)


@pytest.mark.parametrize("answer", [e.solution_embed, with_repeat, with_loop, with_empty])
def test_right_embeddings(answer):
    judge(e.check_embed, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda p, c, pos: join(c, p, last=True) + pos, "appended last"),
    (lambda p, c, pos: join(c, p + pos[:, 1:]), "number 0, is lost"),
    (lambda p, c, pos: join(c, p + pos[:, :-1]), "off by one"),
    (lambda p, c, pos: join(c, p), "the positions are missing"),
    (lambda p, c, pos: p + pos[:, 1:], "a class token is missing"),
    (lambda p, c, pos: torch.cat([c, p], 1), "it stops with RuntimeError"),
    (lambda p, c, pos: torch.cat([c.expand(2, -1, -1), p], 1) + pos, "with B = 3, N = 6 and D = 5, it stops with RuntimeError"),
    (lambda p, c, pos: torch.cat([c, p[:1]], 1).expand(len(p), -1, -1) + pos, "is wrong"),
    (lambda p, c, pos: join(c, p) * pos, "is wrong"),
    (lambda p, c, pos: join(c, p).mean(1), "the shape should be (2, 5, 8), yours is (2, 8)"),
    (lambda p, c, pos: torch.cat([c.expand(len(p), -1, -1), p], 1).view(len(p), 5, 8) + pos, "with B = 3"),
    (lambda p, c, pos: torch.cat([torch.zeros(len(p), 1, p.shape[2]), p], 1) + pos, "the number at [0, 0, 0] is wrong"),
])  # fmt: skip
def test_wrong_embeddings(answer, words):
    judge(e.check_embed, answer, verdict=words)
    assert e.check_embed(answer).startswith("✗")


@pytest.mark.parametrize("answer", [
    e.solution_count, lambda D, r: (4 + 2 * r) * D**2 + (9 + r) * D, lambda D, r: torch.tensor((4 + 2 * r) * D * D + (9 + r) * D),
    lambda D, r: float((4 + 2 * r) * D**2 + (9 + r) * D),
])  # fmt: skip
def test_right_counts(answer):
    judge(e.check_count, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda D, r: (4 + 2 * r) * D**2, "biases and norms are missing"),
    (lambda D, r: (4 + 2 * r) * D**2 + (5 + r) * D, "the two LayerNorms are missing"),
    (lambda D, r: (4 + 2 * r) * D**2 + (7 + r) * D, "one LayerNorm, or the biases of both"),
    (lambda D, r: (4 + 2 * r) * D**2 + 4 * D, "the biases are missing"),
    (lambda D, r: (4 + 2 * r) * D**2 + (6 + r) * D, "queries, keys, values are missing"),
    (lambda D, r: (3 + 2 * r) * D**2 + (8 + r) * D, "projection is missing"),
    (lambda D, r: 12 * D**2 + 13 * D, "with D = 10 and ratio = 2, the number is wrong: yours is 1330"),  # the paper's ratio
    (lambda D, r: (4 + r) * D**2 + (9 + r) * D, "the number is wrong"),
    (lambda D, r: 872, "with D = 192"),
    (lambda D, r: str((4 + 2 * r) * D**2 + (9 + r) * D), "give back a number"),
    (lambda D, r: True, "give back a number"),
    (lambda D: 12 * D**2, "it stops with TypeError"),
])  # fmt: skip
def test_wrong_counts(answer, words):
    judge(e.check_count, answer, verdict=words)
    assert e.check_count(answer).startswith("✗")


@pytest.mark.parametrize("check, stub", [(e.check_embed, e.my_embed), (e.check_count, e.my_count)])
def test_stubs_and_hopeless_answers(check, stub):
    assert check(stub) == "not attempted yet"
    for name, answer in HOPELESS.items():
        said = check(answer)
        assert said == "not attempted yet" if name == "nothing" else said.startswith("✗"), (name, said)
