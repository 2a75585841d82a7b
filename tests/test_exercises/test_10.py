"Answers to the exercises of lesson 10: right ones in several styles, wrong ones that a check must see."
import numpy as np
import pytest
import torch
from lesson import HOPELESS, judge, load

from vit_from_scratch.interpret import attention_maps

e = load("10_", "check_left_head", "solution_left_head", "my_left_head", "check_break", "solution_break", "my_break", "puzzle", "image", "STEPS", "hand_made")


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
    (lambda: ("heads", 3, "heads"), "must be one of"),
    (lambda: ("num_heads", 3, "width"), "'heads' or 'grid'"),
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


@pytest.mark.parametrize("answer", HOPELESS.values(), ids=HOPELESS)
@pytest.mark.parametrize("check", [e.check_left_head, e.check_break])
def test_the_checks_never_raise(check, answer):
    assert check(answer)[0] in "✗n"


def test_the_stubs_are_not_attempted():
    judge(e.check_left_head, e.my_left_head, verdict="not attempted yet")
    judge(e.check_break, e.my_break, verdict="not attempted yet")
