"Answers to the exercises of lesson 07: right ones in several styles, wrong ones that a check must see."
import numpy as np
import pytest
import torch
from lesson import HOPELESS, judge, load

e = load("07_", "check_stop", "solution_stop", "my_stop", "check_accuracy", "solution_accuracy", "my_accuracy")


# ---------------------------------------------------------------- when to stop
def by_counter(accuracies, patience):
    best, kept, bad = -1.0, 0, 0
    for number, accuracy in enumerate(accuracies, start=1):
        bad += 1
        if accuracy > best:
            best, kept, bad = accuracy, number, 0
        if bad == patience:
            return number, kept
    return len(accuracies), kept


def by_slices(accuracies, patience):
    for end in range(1, len(accuracies) + 1):
        kept = int(np.argmax(accuracies[:end])) + 1
        if end - kept >= patience:
            break
    return np.array([end, kept])


def by_running_maximum(accuracies, patience):
    tops = torch.tensor(accuracies, dtype=torch.float64).cummax(0).values.tolist()
    kept = [accuracies.index(top) + 1 for top in tops]
    ends = [e for e, k in enumerate(kept, 1) if e - k >= patience] + [len(accuracies)]
    return [ends[0], kept[ends[0] - 1]]


def stops(change=lambda last, best: (last, best), better=lambda now, best, before: now > best, enough=lambda back, p: back >= p, kept=lambda a, best: best):
    def answer(a, patience):
        best = last = 1
        for last in range(2, len(a) + 1):
            if better(a[last - 1], a[best - 1], a[last - 2]):
                best = last
            if enough(last - best, patience):
                break
        return change(last, kept(a, best))

    return answer


def never_reset(accuracies, patience):
    best, kept, bad = -1.0, 0, 0
    for number, accuracy in enumerate(accuracies, start=1):
        if accuracy > best:
            best, kept = accuracy, number
        else:
            bad += 1
        if bad == patience:
            break
    return number, kept


@pytest.mark.parametrize("answer", [e.solution_stop, by_counter, by_slices, by_running_maximum, stops()])
def test_right_stops(answer):
    judge(e.check_stop, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (stops(lambda last, best: (last - 1, best - 1)), "counted from 1"),
    (stops(enough=lambda back, p: back > p), "an epoch late"),
    (stops(enough=lambda back, p: back >= p - 1), "an epoch early"),
    (stops(better=lambda now, best, before: now >= best), "an equal accuracy is not a better one"),
    (stops(better=lambda now, best, before: now > before), "compare with the best epoch so far"),
    (stops(kept=lambda a, best: a.index(max(a)) + 1), "never sees the rest"),
    (stops(lambda last, best: (best, last)), "the other way round"),  # the wrong way round
    (stops(lambda last, best: (last, last)), "is wrong"),  # the last weights
    (stops(lambda last, best: last), "give back a pair"),  # one number
    (stops(better=lambda now, best, before: now < best), "is wrong"),  # a loss instead of an accuracy
    (stops(enough=lambda back, p: back >= 2), "is wrong"),  # patience 2, always
    (stops(enough=lambda back, p: back >= 3), "is wrong"),
    (stops(enough=lambda back, p: False), "is wrong"),  # never stops
    (stops(lambda last, best: (last, best - 1)), "is wrong"),  # one from 1, the other from 0
    (lambda a, p: (p, a.index(max(a)) + 1), "is wrong"),
    (never_reset, "starts the waiting anew"),
    (stops(lambda last, best: best), "give back a pair"),
    (lambda a, p: (8, 5), "is wrong"),  # right for the first case
    (lambda a, p: (len(a), len(a)), "is wrong"),
    (stops(lambda last, best: (last, best, 0)), "the shape should be (2,)"),
])  # fmt: skip
def test_wrong_stops(answer, words):
    judge(e.check_stop, answer, verdict=words)
    assert e.check_stop(answer).startswith("✗")


# ---------------------------------------------------------------- accuracy over unequal batches
def joined(pairs):
    logits, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
    return (logits.argmax(-1) == labels).float().mean()


def weighed(pairs):
    sizes = np.array([len(labels) for _, labels in pairs])
    means = np.array([(logits.softmax(1).max(1).indices == labels).double().mean() for logits, labels in pairs])
    return float((sizes * means).sum() / sizes.sum())


def one_by_one(pairs):
    hits = [int(row.argmax()) == int(label) for logits, labels in pairs for row, label in zip(logits, labels, strict=True)]
    return sum(hits) / len(hits)


def right(pair):
    return float((pair[0].argmax(1) == pair[1]).sum())


@pytest.mark.parametrize("answer", [e.solution_accuracy, joined, weighed, one_by_one])
def test_right_accuracies(answer):
    judge(e.check_accuracy, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (lambda pairs: sum(right(p) / len(p[1]) for p in pairs) / len(pairs), "mean of the batches' means"),
    (lambda pairs: right(pairs[-1]) / len(pairs[-1][1]), "last batch alone"),
    (lambda pairs: right(pairs[0]) / len(pairs[0][1]), "first batch alone"),
    (lambda pairs: sum(map(right, pairs)), "number of right answers"),
    (lambda pairs: sum(map(right, pairs)) / len(pairs), "per batch"),
    (lambda pairs: sum(map(right, pairs)) / (len(pairs) * len(pairs[0][1])), "as long as the first"),
    (lambda pairs: 1 - joined(pairs), "share of wrong answers"),
    (lambda pairs: 100 * joined(pairs), "that is per cent"),
    (lambda pairs: sum(map(right, pairs[:-1])) / sum(len(y) for _, y in pairs[:-1]), "the last batch is left out"),
    (lambda pairs: joined([(x.flip(1), y) for x, y in pairs]), "is wrong"),
    (lambda pairs: joined([(-x, y) for x, y in pairs]), "is wrong"),  # argmin
    (lambda pairs: float(torch.cat([x.softmax(1).gather(1, y[:, None]) for x, y in pairs]).mean()), "is wrong"),  # probability of the truth
    (lambda pairs: joined([(x[:2], y[:2]) for x, y in pairs]), "is wrong"),
    (lambda pairs: joined([(x[:, :3], y) for x, y in pairs]), "is wrong"),  # the first three classes
    (lambda pairs: [right(p) / len(p[1]) for p in pairs], "a list"),
    (lambda pairs: (pairs[0][0].argmax(1) == pairs[0][1]).float(), "the shape should be ()"),
    *[(lambda pairs, c=c: c, "wrong") for c in (5 / 7, 0.5, 0.0, 1.0)],  # no constant passes
])  # fmt: skip
def test_wrong_accuracies(answer, words):
    judge(e.check_accuracy, answer, verdict=words)
    assert e.check_accuracy(answer).startswith("✗")


@pytest.mark.parametrize("answer", HOPELESS.values(), ids=HOPELESS)
@pytest.mark.parametrize("check", [e.check_stop, e.check_accuracy])
def test_the_checks_never_raise(check, answer):
    assert check(answer)[0] in "✗n"


def test_the_stubs_are_not_attempted():
    judge(e.check_stop, e.my_stop, verdict="not attempted yet")
    judge(e.check_accuracy, e.my_accuracy, verdict="not attempted yet")
