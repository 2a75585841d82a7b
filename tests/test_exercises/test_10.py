"Answers to the exercises of lesson 10: right ones in several styles, wrong ones that a check must see."
import numpy as np
import pytest
import torch
from lesson import HOPELESS, judge, load

from vit_from_scratch.interpret import ablate_heads, attention_maps

e = load("10_", "check_left_head", "solution_left_head", "my_left_head", "check_break", "solution_break", "my_break", "puzzle", "image", "STEPS", "hand_made",
         "check_losses", "solution_losses", "my_losses")


def seen():
    "Attention among the patches: `(12, 8, 8, 8, 8)`, heads of all blocks in a row."
    maps = attention_maps(e.puzzle, e.image)[:, 0, :, 1:, 1:]
    return maps.reshape(12, 8, 8, 8, 8)


def where(row, column):
    "The head that gives most to the patch so many rows down and columns to the right."
    r, c = (torch.arange(2, 6) for _ in range(2))
    shares = torch.stack([seen()[:, i, j, i + row, j + column] for i in r for j in c]).mean(0)
    return divmod(int(shares.argmax()), 4)


# ---------------------------------------------------------------- the head that looks left
def test_every_head_of_the_puzzle_looks_where_it_is_said_to():
    for model in (e.puzzle, e.hand_made(3)):
        maps = attention_maps(model, e.image)[:, 0, :, 1:, 1:].reshape(12, 8, 8, 8, 8)
        for head, look in zip(maps, model.looks, strict=True):
            if look in e.STEPS:
                down, across = e.STEPS[look]
                assert head[4, 4].argmax().item() == (4 + down) * 8 + 4 + across
        assert model.looks.count("left") == 1


@pytest.mark.parametrize("answer", [
    e.solution_left_head, lambda: where(0, -1), lambda: list(where(0, -1)), lambda: np.array(where(0, -1)), lambda: torch.tensor(where(0, -1)),
    lambda: divmod(e.puzzle.looks.index("left"), 4),
])  # fmt: skip
def test_right_heads(answer):
    judge(e.check_left_head, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda: where(0, 1), "looks right"),
    (lambda: where(-1, 0), "looks up"),
    (lambda: where(1, 0), "looks down"),
    (lambda: where(0, -2), "looks two patches to the left"),
    (lambda: where(0, 0), "looks at itself"),
    (lambda: divmod(e.puzzle.looks.index("row"), 4), "looks along its row"),
    (lambda: divmod(e.puzzle.looks.index("column"), 4), "looks along its column"),
    (lambda: where(0, -1)[::-1], "looks "),  # (head, block)
    (lambda: tuple(number + 1 for number in where(0, -1)), ""),  # counted from 1
    (lambda: divmod(int(seen()[:, :, 1:, :, 0].mean((1, 2, 3)).argmax()), 4), "looks "),  # most attention on the leftmost column
    (lambda: divmod(int(seen().flatten(1).amax(1).argmax()), 3), "looks "),  # blocks of three heads
    (lambda: (3, 1), "there is no block 3"),
    (lambda: (0, -1), "there is no block 0, head -1"),
    (lambda: 3, "a pair (block, head)"),
    (lambda: "21", "a pair (block, head)"),
    (lambda: (2.5, 1), "a pair (block, head)"),
    (lambda: (0, 1, 2), "a pair (block, head)"),
    (lambda: [None, None], "a pair (block, head)"),
    (lambda: e.puzzle.looks, "a pair (block, head)"),
])  # fmt: skip
def test_wrong_heads(answer, words):
    judge(e.check_left_head, answer, verdict=words)
    assert e.check_left_head(answer).startswith("✗")


# ---------------------------------------------------------------- break it with one slider
@pytest.mark.parametrize("answer", [
    e.solution_break, lambda: ("patch_size", 5, "grid"), lambda: ["num_heads", 6, "heads"], lambda: ("num_heads", np.int64(12), "heads"),
    lambda: ("patch_size", torch.tensor(12).item(), "grid"),
])  # fmt: skip
def test_right_breaks(answer):
    judge(e.check_break, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda: ("depth", 12, "heads"), "is possible"),
    (lambda: ("embed_dim", 48, "heads"), "is possible"),
    (lambda: ("patch_size", 8, "grid"), "is possible"),
    (lambda: ("num_heads", 16, "heads"), "is possible"),
    (lambda: ("num_heads", 3, "grid"), "not because of 'grid'"),
    (lambda: ("patch_size", 5, "heads"), "not because of 'heads'"),
    (lambda: ("num_heads", 5, "heads"), "has no place for 5"),  # impossible, and not on the slider
    (lambda: ("embed_dim", 65, "heads"), "has no place for 65"),
    (lambda: ("depth", 0, "heads"), "has no place for 0"),
    (lambda: ("patch_size", 33, "grid"), "has no place for 33"),
    (lambda: ("heads", 3, "heads"), "there is no setting 'heads'"),
    (lambda: ("num_heads", 3, "width"), "the reason is 'heads' or 'grid', not 'width'"),
    (lambda: ("num_heads", 3), "is needed"),
    (lambda: {"num_heads": 3}, "is needed"),
    (lambda: "num_heads", "is needed"),
    (lambda: (["num_heads"], 3, "heads"), "is needed"),
    (lambda: ("num_heads", np.zeros(2), "heads"), "has no place for"),
    (lambda: ("num_heads", 3, ["heads"]), "'heads' or 'grid'"),
])  # fmt: skip
def test_wrong_breaks(answer, words):
    judge(e.check_break, answer, verdict=words)
    assert e.check_break(answer).startswith("✗")


# ---------------------------------------------------------------- what the answer loses
def truth(model, images, labels):
    with torch.no_grad():
        return model(images).softmax(1)[torch.arange(len(labels)), labels].mean().item()


def by_surgery(model, images, labels):
    rows = []
    for block in model.blocks:
        weight, d = block.attn.proj.weight, block.attn.head_dim
        row = []
        for head in range(block.attn.num_heads):
            kept = weight.data.clone()
            before = truth(model, images, labels)
            weight.data[:, head * d : (head + 1) * d] = 0
            row.append(before - truth(model, images, labels))
            weight.data = kept
        rows.append(row)
    return torch.tensor(rows)


def by_stack(model, images, labels):
    pairs = [(b, h) for b, block in enumerate(model.blocks) for h in range(block.attn.num_heads)]
    lost = []
    for pair in pairs:
        before = truth(model, images, labels)
        with ablate_heads(model, [pair]):
            lost.append(before - truth(model, images, labels))
    return torch.tensor(lost).reshape(len(model.blocks), -1)


def loses(score=truth, turn=lambda before, after: before - after, off=lambda b, h, model: [(b, h)], shape=lambda x: x):
    def answer(model, images, labels):
        L, heads = len(model.blocks), model.blocks[0].attn.num_heads
        found, before = torch.zeros(L, heads), score(model, images, labels)
        for b in range(L):
            for h in range(heads):
                with ablate_heads(model, off(b, h, model)):
                    found[b, h] = turn(before, score(model, images, labels))
        return shape(found)

    return answer


def logit(model, images, labels):
    return model(images).detach()[torch.arange(len(labels)), labels].mean()


def accuracy(model, images, labels):
    return (model(images).argmax(1) == labels).float().mean()


def surest(model, images, labels):
    return model(images).softmax(1).amax(1).mean().detach()


@pytest.mark.parametrize("answer", [e.solution_losses, by_surgery, by_stack, loses()])
def test_right_losses(answer):
    judge(e.check_losses, answer, verdict="✓")


def foreseen(model, images, labels):
    with torch.no_grad():
        return e.solution_losses(model, images, model(images).argmax(1))


@pytest.mark.parametrize("answer, words", [
    (loses(turn=lambda before, after: after), "what is left, not what is lost"),
    (loses(turn=lambda before, after: after - before), "before minus after"),
    (loses(score=surest), "ask for the true class"),
    (loses(score=logit), "probabilities are wanted, not logits"),
    (loses(off=lambda b, h, m: [(x, y) for x in range(len(m.blocks)) for y in range(m.blocks[0].attn.num_heads) if (x, y) <= (b, h)]), "one head at a time"),
    (loses(score=lambda m, x, y: truth(m, x[:1], y[:1])), "first image alone"),
    (loses(score=accuracy), "that is the accuracy lost"),
    (loses(score=lambda m, x, y: -torch.nn.functional.cross_entropy(m(x), y)), "the cross-entropy gained"),
    (loses(score=lambda m, x, y: len(x) * truth(m, x, y)), "the sum over the images"),
    (loses(off=lambda b, h, m: []), "nothing was switched off"),
    (foreseen, "the one predicted before"),
    (loses(turn=lambda before, after: (before - after) / before), "is wrong"),  # relative
    (loses(turn=lambda before, after: abs(before - after)), "is wrong"),
    (loses(turn=lambda before, after: 100 * (before - after)), "those are per cent"),
    (loses(off=lambda b, h, m: [(b, y) for y in range(m.blocks[0].attn.num_heads)]), "all heads of the block"),
    (loses(off=lambda b, h, m: [(b, y) for y in range(m.blocks[0].attn.num_heads) if y != h]), "is wrong"),  # all others off
    (loses(shape=lambda x: x.T), "the shape should be (3, 2), yours is (2, 3)"),
    (loses(shape=lambda x: x.flatten()), "the shape should be"),
    (loses(shape=lambda x: x.max()), "the shape should be"),
    (loses(shape=lambda x: x.tolist()), "a torch tensor"),
])  # fmt: skip
def test_wrong_losses(answer, words):
    judge(e.check_losses, answer, verdict=words)
    assert e.check_losses(answer).startswith("✗")


@pytest.mark.parametrize("answer", HOPELESS.values(), ids=HOPELESS)
@pytest.mark.parametrize("check", [e.check_left_head, e.check_break, e.check_losses])
def test_the_checks_never_raise(check, answer):
    assert check(answer)[0] in "✗n"


def test_the_stubs_are_not_attempted():
    judge(e.check_left_head, e.my_left_head, verdict="not attempted yet")
    judge(e.check_break, e.my_break, verdict="not attempted yet")
    judge(e.check_losses, e.my_losses, verdict="not attempted yet")
