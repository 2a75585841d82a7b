"Answers to the exercises of lesson 03: right ones in several styles, wrong ones that a check must see."
import pytest
import torch
from lesson import HOPELESS, judge, load

e = load("03_", "check_block", "solution_block", "my_block", "check_drop_path", "solution_drop_path", "my_drop_path")


def in_place(x, n, a, m):
    normed = n(x)
    return x.add_(a(normed)).add_(m(normed))


def step_by_step(x, n, a, m):
    return torch.stack([x, m(n(x)), a(n(x))]).sum(0)


def sample_zero(x, n, a, m):
    return e.solution_block(x[:1], n, a, m).expand_as(x)


def mean_of_both(x, n, a, m):
    return x + (a(n(x)) + m(n(x))) / 2


@pytest.mark.parametrize("answer", [e.solution_block, in_place, step_by_step])
def test_right_blocks(answer):
    judge(e.check_block, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda x, n, a, m: (y := x + a(n(x))) + m(n(y)), "one after the other"),
    (lambda x, n, a, m: x + m(a(n(x))), "what attention gave; both read"),
    (lambda x, n, a, m: x + a(y := n(x)) + m(a(y)), "what attention gave; it reads"),
    (lambda x, n, a, m: m(n(x)) + a(n(x)), "the road is forgotten"),
    (lambda x, n, a, m: (x + a(n(x))) + (x + m(n(x))), "the road is added twice"),
    (lambda x, n, a, m: x + a(x) + m(x), "neither branch reads through the norm"),
    (lambda x, n, a, m: x + a(n(x)) + m(x), "the MLP reads the road without"),
    (lambda x, n, a, m: x + a(x) + m(n(x)), "attention reads the road without"),
    (lambda x, n, a, m: (x := n(x)) + a(x) + m(x), "the road itself is normalised"),
    (lambda x, n, a, m: n(x + a(x) + m(x)), "the norm comes after the sum"),
    (lambda x, n, a, m: x + a(n(x)), "the MLP is missing"),
    (lambda x, n, a, m: x + m(n(x)), "attention is missing"),
    (lambda x, n, a, m: x + a(n(x)) + m(n(n(x))), "is wrong"),
    (sample_zero, "is wrong"), (mean_of_both, "is wrong"),
    (lambda x, n, a, m: e.solution_block(x, n, a, m)[:, 0], "the shape should be (2, 3, 4), yours is (2, 4)"),
    (lambda x: x, "TypeError"),
])  # fmt: skip
def test_wrong_blocks(answer, words):
    judge(e.check_block, answer, verdict=words)
    assert e.check_block(answer).startswith("✗")


def bernoulli(x, p):
    return x * x.new_empty(len(x), 1, 1).bernoulli_(1 - p) / (1 - p)


def with_indices(x, p):
    out = x / (1 - p)
    out[torch.rand(len(x)) < p] = 0
    return out


@pytest.mark.parametrize("answer", [e.solution_drop_path, bernoulli, with_indices])
def test_right_drop_paths(answer):
    judge(e.check_drop_path, answer, verdict="✓")


def seeded(x, p):
    torch.manual_seed(3)
    return e.solution_drop_path(x, p)


@pytest.mark.parametrize("answer, words", [
    (lambda x, p: x * (torch.rand(len(x), 1, 1) >= p), "survivors are 1.00 times"),
    (lambda x, p: x * (torch.rand_like(x) >= p) / (1 - p), "you decide per number"),
    (lambda x, p: x * (torch.rand(len(x), x.shape[1], 1) >= p) / (1 - p), "per token"),
    (lambda x, p: torch.nn.functional.dropout(x, p), "you decide per number"),
    (lambda x, p: x * (torch.rand(len(x), 1, 1) < p) / p, "you keep with probability p"),
    (lambda x, p: x * (torch.rand(1) >= p) / (1 - p), "each sample by its own lot"),
    (lambda x, p: x * 0.0, "100% is dropped"),
    (lambda x, p: x * (torch.rand(len(x), 1, 1) >= 0.25) / 0.75, "with p = 0.6"),
    (lambda x, p: x, "0% is dropped"),
    (lambda x, p: x * (torch.rand(len(x), 1, 1) >= p) / p, "divide by 1 - p"),
    (lambda x, p: x * (torch.rand(len(x), 1, 1) >= p) / (1 - p) + 1, "0% is dropped"),
    (lambda x, p: (torch.rand(len(x), 1, 1) >= p).float().expand_as(x) / (1 - p), "survivors are"),
    (seeded, "twice the same samples"),
    (lambda x, p: x * (torch.rand(len(x)) >= p) / (1 - p), "draw one number per sample, (B, 1, 1)"),
    (lambda x, p: torch.empty_like(x, device="meta"), "give back a tensor like x"),
    (lambda x, p: x.to_sparse(), "give back a tensor like x"),
    (lambda x, p: x * 1j, "give back a tensor like x"),
    (lambda x, p: x[torch.rand(len(x)) >= p] / (1 - p), "the shape must stay"),
    (lambda x, p: x * (torch.rand(len(x), 1, 1) >= p) / (1 - p) if p else None, "with p = 0.0"),
])  # fmt: skip
def test_wrong_drop_paths(answer, words):
    judge(e.check_drop_path, answer, verdict=words)
    assert e.check_drop_path(answer).startswith("✗")


@pytest.mark.parametrize("check, stub", [(e.check_block, e.my_block), (e.check_drop_path, e.my_drop_path)])
def test_stubs_and_hopeless_answers(check, stub):
    assert check(stub) == "not attempted yet"
    for name, answer in HOPELESS.items():
        said = check(answer)
        assert said == "not attempted yet" if name == "nothing" else said.startswith("✗"), (name, said)
