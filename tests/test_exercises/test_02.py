"Answers to the exercises of lesson 02: right ones in several styles, wrong ones that a check must see."
import pytest
import torch
from einops import rearrange
from lesson import HOPELESS, judge, load
from torch.nn.functional import scaled_dot_product_attention

e = load("02_", "check_head", "solution_head", "my_head", "check_heads", "solution_split", "solution_merge", "my_split", "my_merge")


def with_exp(x, W_q, W_k, W_v):  # the lesson's own formula
    powers = ((x @ W_q) @ (x @ W_k).T / W_q.shape[1] ** 0.5).exp()
    return powers / powers.sum(dim=1, keepdim=True) @ (x @ W_v)


def with_loops(x, W_q, W_k, W_v):
    rows = []
    for token in x:
        scores = torch.stack([(token @ W_q) @ (other @ W_k) for other in x]) / W_q.shape[1] ** 0.5
        rows.append(sum(share * (other @ W_v) for share, other in zip(scores.softmax(0), x, strict=True)))
    return torch.stack(rows)


def fused(x, W_q, W_k, W_v):
    return scaled_dot_product_attention(*((x @ W)[None] for W in (W_q, W_k, W_v)))[0]


def head(scale=None, axis=-1, values=None, first=None):
    def answer(x, W_q, W_k, W_v):
        q, k, v = x @ W_q, x @ W_k, x @ W_v if values is None else values(x, W_v)
        scores = q @ k.T / (q.shape[1] ** 0.5 if scale is None else scale(x, q))
        return (scores if first is None else first(scores)).softmax(axis) @ v

    return answer


@pytest.mark.parametrize("answer", [e.solution_head, with_exp, with_loops, fused, lambda *given: with_exp(*given).double()])
def test_right_heads(answer):
    judge(e.check_head, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (head(lambda x, q: 1), "the scale is missing"),
    (head(axis=0), "wrong axis"),
    (head(lambda x, q: q.shape[1]), "divide by its square root"),
    (head(lambda x, q: x.shape[1] ** 0.5), "of a token; it is √d"),
    (lambda x, q, k, v: e.solution_head(x, k, q, v), "queries and keys are swapped"),
    (lambda x, q, k, v: (x @ q) @ (x @ k).T / q.shape[1] ** 0.5 @ (x @ v), "the softmax is missing"),
    (head(lambda x, q: 3**0.5), "with T = 4, D = 5 and d = 2"),
    (head(lambda x, q: len(x) ** 0.5), "the number at [0, 0] is wrong"),
    (lambda x, q, k, v: ((x @ q) @ (x @ k).T / q.shape[1] ** 0.5).softmax(-1) @ x, "the shape should be (5, 3), yours is (5, 6)"),
    (lambda x, q, k, v: ((x @ q) @ (x @ k).T / q.shape[1] ** 0.5).softmax(-1), "the shape should be (5, 3), yours is (5, 5)"),
    (lambda x, q, k, v: x @ v, "the number at [0, 0] is wrong"),
    (lambda x, q, k, v: ((x @ q).T @ (x @ k)).softmax(-1) @ (x @ v), "it stops with RuntimeError"),
    (head(first=lambda s: s.tril()), "is wrong"),
    (lambda x, q, k, v: e.solution_head(x, q, k, v).numpy(), "give back a torch tensor"),
])  # fmt: skip
def test_wrong_heads(answer, words):
    judge(e.check_head, answer, verdict=words)
    assert e.check_head(answer).startswith("✗")


good = (e.solution_split, e.solution_merge)


@pytest.mark.parametrize("split, merge", [
    good,
    (lambda x, h: rearrange(x, "b t (h d) -> b h t d", h=h), lambda x: rearrange(x, "b h t d -> b t (h d)")),
    (lambda x, h: torch.stack(x.chunk(h, dim=-1), dim=1), lambda x: torch.cat(x.unbind(1), dim=-1)),
    (lambda x, h: x.unflatten(-1, (h, -1)).permute(0, 2, 1, 3), lambda x: x.permute(0, 2, 1, 3).flatten(2)),
])  # fmt: skip
def test_right_halves(split, merge):
    judge(e.check_heads, split, merge, verdict="✓")


@pytest.mark.parametrize("split, merge, words", [
    (lambda x, h: x.reshape(len(x), h, x.shape[1], -1), good[1], "my_split: reshape alone"),
    (lambda x, h: x.reshape(*x.shape[:2], -1, h).permute(0, 3, 1, 2), good[1], "every h-th number"),
    (lambda x, h: x.reshape(*x.shape[:2], h, -1), good[1], "my_split: with B = 2, T = 3, h = 4, the shape should be (2, 4, 3, 2)"),
    (lambda x, h: x.reshape(*x.shape[:2], h, 2).transpose(1, 2), good[1], "it stops with RuntimeError"),  # d is 2 only once
    (lambda x, h: x.reshape(2, -1, h, x.shape[2] // h).transpose(1, 2), good[1], "my_split: with B = 3"),  # B is 2
    (good[0], lambda x: x.reshape(len(x), x.shape[2], -1), "my_merge: reshape alone"),
    (good[0], lambda x: rearrange(x, "b h t d -> b t (d h)"), "alternate"),
    (good[0], lambda x: x.transpose(1, 2).view(len(x), x.shape[2], -1), "my_merge: `view` cannot join"),
    (good[0], lambda x: x.transpose(1, 2).flatten(1, 2), "the shape should be"),
    (good[0], e.my_merge, "my_merge: not attempted yet"),
    (lambda x, h: x.reshape(len(x), h, x.shape[1], -1), e.my_merge, "my_split: reshape alone"),
    (e.my_split, lambda x: x, "my_merge: with B = 2"),
])  # fmt: skip
def test_wrong_halves(split, merge, words):
    said = e.check_heads(split, merge)
    assert said.startswith("✗") and words in said, said


def test_stubs_and_hopeless_answers():
    assert e.check_head(e.my_head) == e.check_heads(e.my_split, e.my_merge) == "not attempted yet"
    for name, answer in HOPELESS.items():
        for said in (e.check_head(answer), e.check_heads(answer, answer)):
            assert said == "not attempted yet" if name == "nothing" else said.startswith("✗"), (name, said)
        assert e.check_heads(answer, good[1])[0] == e.check_heads(good[0], answer)[0] == "✗"
