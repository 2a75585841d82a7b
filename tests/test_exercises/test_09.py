"Answers to the exercises of lesson 09: right ones in several styles, wrong ones that a check must see."
import numpy as np
import pytest
import torch
from lesson import HOPELESS, judge, load

e = load("09_", "check_extent", "solution_extent", "my_extent", "check_limits", "solution_limits", "my_limits")


@pytest.mark.parametrize("answer", [
    e.solution_extent,
    lambda height, width: [-1 / 2, (2 * width - 1) / 2, (2 * height - 1) / 2, -1 / 2],
    lambda height, width: torch.tensor([0, width, height, 0]) - 0.5,
    lambda height, width: np.array([0, width, height, 0]) - 0.5,
])  # fmt: skip
def test_right_extents(answer):
    judge(e.check_extent, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda height, width: (0, width, height, 0), "off by half a pixel"),
    (lambda height, width: (-0.5, width - 0.5, -0.5, height - 0.5), "upside down"),
    (lambda height, width: (0, width - 1, height - 1, 0), "a pixel too small"),
    (lambda height, width: (-0.5, height - 0.5, width - 0.5, -0.5), "swapped"),
    (lambda height, width: (-0.5, -0.5, width - 0.5, height - 0.5), "the order is"),
    (lambda height, width: (1.5, width - 2.5, height - 2.5, 1.5), "is wrong"),  # half a patch of 4
    (lambda height, width: (-0.5, 11.5, 7.5, -0.5), "is wrong"),  # one size only
    (lambda height, width: (-0.5, width - 0.5, width - 0.5, -0.5), "is wrong"),  # squares only
    (lambda height, width: (-0.5, width + 0.5, height + 0.5, -0.5), "is wrong"),
    (lambda height, width: (-0.5, width - 0.5), "the shape should be (4,)"),
    (lambda height, width: 3, "it stops with TypeError"),
])  # fmt: skip
def test_wrong_extents(answer, words):
    judge(e.check_extent, answer, verdict=words)
    assert e.check_extent(answer).startswith("✗")


def by_cases(values, kind):
    if kind == "share":
        return [0.0, 1.0]
    if kind == "amount":
        return 0.0, float(values.max())
    top = float(torch.max(values.max(), -values.min()))
    return np.array([-top, top])


def limits(amount=lambda v: (0, v.max()), difference=lambda v: (-v.abs().max(), v.abs().max()), share=lambda v: (0, 1)):
    return lambda values, kind: {"amount": amount, "difference": difference, "share": share}[kind](values)


@pytest.mark.parametrize("answer", [e.solution_limits, by_cases, limits()])
def test_right_limits(answer):
    judge(e.check_limits, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (limits(amount=lambda v: (v.min(), v.max())), "an amount begins at 0"),
    (limits(difference=lambda v: (-v.max(), v.max())), "largest *absolute* value"),
    (limits(difference=lambda v: (v.min(), -v.min())), "larger of its two ends"),
    (limits(share=lambda v: (0, v.max())), "a share runs to 1"),
    (limits(difference=lambda v: (v.min(), v.max())), "a difference has 0 in its middle: both ends"),
    (limits(difference=lambda v: (-1, 1)), "is wrong"),
    (limits(amount=lambda v: (0, 1)), "is wrong"),
    (limits(amount=lambda v: (v.max(), 0)), "is wrong"),
    (limits(amount=lambda v: (0, v[0].max())), "is wrong"),  # the first row only
    (limits(amount=lambda v: (0, v.mean())), "is wrong"),
    (limits(share=lambda v: (0, 100)), "is wrong"),
    (limits(difference=lambda v: (0, v.abs().max())), "is wrong"),
    (lambda values, kind: (values.min(), values.max()), "smallest and largest value: an amount begins at 0"),
    (lambda values, kind: kind, "it stops with ValueError"),
    (limits(share=lambda v: 1), "it stops with TypeError"),
])  # fmt: skip
def test_wrong_limits(answer, words):
    judge(e.check_limits, answer, verdict=words)
    assert e.check_limits(answer).startswith("✗")


def test_stubs_and_hopeless_answers():
    assert e.check_extent(e.my_extent) == e.check_limits(e.my_limits) == "not attempted yet"
    for name, answer in HOPELESS.items():
        for said in (e.check_extent(answer), e.check_limits(answer)):
            assert said == "not attempted yet" if name == "nothing" else said.startswith("✗"), (name, said)
