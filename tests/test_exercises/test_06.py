"Answers to the exercise of lesson 06: right ones in several styles, wrong ones that the check must see."
import math

import numpy as np
import pytest
import torch
from lesson import HOPELESS, judge, load

e = load("06_", "check_rate", "solution_rate", "my_rate")


def by_numpy(step, steps, warmup, peak):
    climb = np.arange(1, warmup + 1) / (warmup + 1)
    wave = np.cos(np.linspace(0, np.pi, steps - warmup + 1)[:-1]) / 2 + 0.5
    return peak * np.concatenate([climb, wave])[step]


def by_tensor(step, steps, warmup, peak):
    s = torch.tensor(float(step))
    return peak * torch.where(s < warmup, (s + 1) / (warmup + 1), torch.cos((s - warmup) / (steps - warmup) * torch.pi / 2) ** 2)


def in_one_line(step, steps, warmup, peak):
    return peak * min((step + 1) / (warmup + 1), (1 + math.cos(math.pi * max(0, step - warmup) / (steps - warmup))) / 2)


def rate(climb=lambda s, w: (s + 1) / (w + 1), fall=lambda s, n, w: (s - w) / (n - w), wave=lambda x: (1 + math.cos(math.pi * x)) / 2, last=lambda s, w: s < w):
    return lambda s, n, w, peak: peak * (climb(s, w) if last(s, w) else wave(fall(s, n, w)))


def only_known_lengths(step, steps, warmup, peak):
    return 2 * (step + 1) / 11 if step < 10 else 1 + math.cos(math.pi * (step - 10) / 40)


@pytest.mark.parametrize("answer", [e.solution_rate, by_numpy, by_tensor, in_one_line, rate(last=lambda s, w: s <= w)])
def test_right_rates(answer):
    judge(e.check_rate, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (rate(climb=lambda s, w: s / w), "first step has rate 0"),
    (rate(climb=lambda s, w: (s + 1) / w), "divide by warmup + 1"),
    (rate(fall=lambda s, n, w: (s - w) / (n - w - 1)), "last step has rate 0"),
    (rate(fall=lambda s, n, w: s / n), "count the cosine from the end of the warm-up"),
    (rate(fall=lambda s, n, w: (s - w) / (n - w) / 2), "with 50 steps"),
    (rate(fall=lambda s, n, w: (s - w + 1) / (n - w)), "is wrong"),
    (rate(fall=lambda s, n, w: (s - w) / n), "with 50 steps"),
    (rate(wave=lambda x: (1 + math.cos(x)) / 2), "half a wave is an angle of π"),
    (rate(wave=lambda x: 1 - x), "is wrong"),  # a line
    (rate(wave=lambda x: math.cos(math.pi * x)), "is wrong"),  # a whole amplitude
    (rate(wave=lambda x: math.cos(math.pi * x / 2)), "is wrong"),  # a quarter of a wave
    (rate(climb=lambda s, w: ((s + 1) / (w + 1)) ** 2), "is wrong"),
    (rate(climb=lambda s, w: 1.0), "is wrong"),  # no warm-up
    (lambda s, n, w, p: rate()(s, n, w, 1.0), "with 50 steps"),  # the peak is forgotten
    (lambda s, n, w, p: rate()(s, n, w, 2.0), "with 7 steps"),
    (lambda s, n, w, p: rate()(s, n, 10, p) if n > 10 else 0.0, "is wrong"),
    (lambda s, n, w, p: rate()(s, 50, w, p), "with 7 steps"),
    (only_known_lengths, "with 7 steps"),
    (lambda s, n, w, p: p * (s + 1) / (w + 1) if s < w else None, "step 10 gets no rate"),
    (lambda s, n, w, p: p, "is wrong"),
    (lambda s, n, w, p: [rate()(k, n, w, p) for k in range(n)], "TypeError"),  # the whole curve
])  # fmt: skip
def test_wrong_rates(answer, words):
    judge(e.check_rate, answer, verdict=words)
    assert e.check_rate(answer).startswith("✗")


@pytest.mark.parametrize("answer", HOPELESS.values(), ids=HOPELESS)
def test_the_check_never_raises(answer):
    assert e.check_rate(answer)[0] in "✗n"


def test_the_stub_is_not_attempted():
    judge(e.check_rate, e.my_rate, verdict="not attempted yet")
