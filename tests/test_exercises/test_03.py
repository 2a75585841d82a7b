"Answers to the exercises of lesson 03: right ones in several styles, wrong ones that a check must see."
import pytest
import torch
from lesson import HOPELESS, judge, load

e = load("03_", "check_block", "solution_block", "my_block", "check_drop_path", "solution_drop_path", "my_drop_path")


def in_place(x, n1, a, n2, m):
    return x.add_(a(n1(x))).add_(m(n2(x)))


def step_by_step(x, n1, a, n2, m):
    branch = a(n1(x))
    road = torch.add(x, branch)
    return torch.stack([road, m(n2(road))]).sum(0)


def post_norm(x, n1, a, n2, m):
    x = n1(x + a(x))
    return n2(x + m(x))


def on_normed_road(x, n1, a, n2, m):
    x = n1(x)
    x = x + a(x)
    x = n2(x)
    return x + m(x)


def sample_zero(x, n1, a, n2, m):
    return e.solution_block(x[:1], n1, a, n2, m).expand_as(x)


def mean_of_both(x, n1, a, n2, m):
    return e.solution_block(x, n1, a, n2, m) / 2


@pytest.mark.parametrize("answer", [e.solution_block, in_place, step_by_step])
def test_right_blocks(answer):
    judge(e.check_block, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (post_norm, "the norms come after"),
    (lambda x, n1, a, n2, m: m(n2(a(n1(x)))), "the residual is forgotten"),
    (lambda x, n1, a, n2, m: x + a(n1(x)) + m(n2(x)), "the MLP reads the old x"),
    (lambda x, n1, a, n2, m: e.solution_block(x, n1, a, lambda y: y, m), "without its norm2"),
    (lambda x, n1, a, n2, m: e.solution_block(x, n1, a, n1, m), "a norm of its own"),
    (lambda x, n1, a, n2, m: e.solution_block(x, n2, a, n1, m), "is wrong"),
    (lambda x, n1, a, n2, m: e.solution_block(x, n1, m, n2, a), "is wrong"),
    (lambda x, n1, a, n2, m: e.solution_block(x, lambda y: y, a, n2, m), "is wrong"),
    (lambda x, n1, a, n2, m: x + a(n1(x)), "is wrong"),
    (on_normed_road, "is wrong"), (sample_zero, "is wrong"), (mean_of_both, "is wrong"),
    (lambda x, n1, a, n2, m: e.solution_block(x, n1, a, n2, m)[:, 0], "the shape should be (2, 3, 4), yours is (2, 4)"),
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
