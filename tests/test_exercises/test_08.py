"Answers to the exercises of lesson 08: right ones in several styles, wrong ones that a check must see."
import pytest
import torch
from lesson import HOPELESS, judge, load

from vit_from_scratch import interpret

e = load("08_", "check_rollout", "solution_rollout", "my_rollout", "check_reliance", "solution_reliance", "my_reliance", "check_route", "solution_route", "my_route", "relay", "relay_pair")


def stacked(weights, keep):  # all blocks at once
    steps = (1 - keep) * torch.stack(list(weights)).mean(2) + keep * torch.eye(weights[0].shape[-1])
    flow = steps[0]
    for step in steps[1:]:
        flow = torch.einsum("bij,bjk->bik", step, flow)
    return flow


def backwards(weights, keep):  # from the last block to the first, divided at last
    flow = torch.eye(weights[0].shape[-1])
    for block in reversed(weights):
        step = block.mean(1) + keep / (1 - keep) * torch.eye(block.shape[-1])
        flow = flow @ step
    return flow / flow.sum(-1, keepdim=True)


def rolled(head=lambda w: w.mean(1), skip=lambda k: k, rest=lambda k: 1 - k, blocks=slice(None), flip=False, shape=lambda x: x):
    def answer(weights, keep):
        flow = torch.eye(weights[0].shape[-1])
        for block in weights[blocks]:
            step = rest(keep) * head(block) + skip(keep) * torch.eye(block.shape[-1])
            flow = flow @ step if flip else step @ flow
        return shape(flow)

    return answer


def each_head(weights, keep):
    return torch.stack([e.solution_rollout([w[:, k, None] for w in weights], keep) for k in range(weights[0].shape[1])]).mean(0)


@pytest.mark.parametrize("answer", [e.solution_rollout, stacked, backwards, rolled()])
def test_right_rollouts(answer):
    judge(e.check_rollout, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (rolled(skip=lambda k: 0), "missing: add `keep` times the identity"),
    (rolled(skip=lambda k: 0, rest=lambda k: 1), "missing: a token keeps"),
    (rolled(skip=lambda k: 0, rest=lambda k: 1, flip=True), "no skip connection, and in the wrong order"),
    (rolled(skip=lambda k: 1 - k, rest=lambda k: k), "you gave it to attention"),
    (lambda weights, keep: interpret.rollout(weights), "half is kept"),
    (rolled(rest=lambda k: 1), "rows no longer sum to 1: attention"),
    (rolled(skip=lambda k: 1), "rows no longer sum to 1: the skip"),
    (rolled(skip=lambda k: 1, rest=lambda k: 1), "neither share is weighed"),
    (rolled(flip=True), "wrong order"),
    (each_head, "each head was followed alone"),
    (rolled(shape=lambda x: x[:1]), "only the first image"),
    (rolled(head=lambda w: w.amax(1)), "the strongest head"),
    (rolled(head=lambda w: w.sum(1)), "the sum of the heads"),
    (rolled(blocks=slice(-1, None)), "only the last block"),
    (rolled(head=lambda w: w[:, 0]), "is wrong"),
    (rolled(head=lambda w: w.mean((0, 1))), "the shape should be"),  # images averaged too
    (rolled(head=lambda w: w.mean(0)), "with"),  # over images instead of heads
    (rolled(blocks=slice(2)), "is wrong"),  # two blocks only
    (rolled(blocks=slice(1, None)), "is wrong"),  # the first block left out
    (lambda weights, keep: weights[-1].mean(1), "is wrong"),
    (lambda weights, keep: sum(w.mean(1) for w in weights) / len(weights), "is wrong"),
    (lambda weights, keep: stacked(weights, keep).mT, "is wrong"),
    (lambda weights, keep: stacked(weights, keep)[:, 0], "the shape should be"),
    (lambda weights, keep: stacked(weights, keep).numpy(), "give back a torch tensor"),
    (lambda weights: stacked(weights, 0.5), "TypeError"),
])  # fmt: skip
def test_wrong_rollouts(answer, words):
    judge(e.check_rollout, answer, verdict=words)
    assert e.check_rollout(answer).startswith("✗")


def with_loops(predict, images, labels, where):
    covered, right = images.clone(), [0, 0]
    covered[:, :, where] = 0
    for number, pictures in enumerate((images, covered)):
        for logits, label in zip(predict(pictures), labels, strict=True):
            right[number] += int(logits.argmax()) == int(label)
    return (right[0] - right[1]) / len(labels)


def multiplied(predict, images, labels, where):
    keep = (~where).float()
    hits = lambda x: predict(x).softmax(-1).argmax(-1).eq(labels).double().mean()  # noqa: E731
    return hits(images) - hits(images * keep)


def relies(cover=lambda x, where: x.masked_fill(where, 0), score=lambda p, x, y: (p(x).argmax(1) == y).float().mean(), turn=lambda a, b: a - b):
    return lambda predict, x, y, where: turn(score(predict, x, y), score(predict, cover(x, where), y))


def one_channel(x, where):
    x = x.clone()
    x[:, 0, where] = 0
    return x


def first_image(x, where):
    x = x.clone()
    x[0, :, where] = 0
    return x


@pytest.mark.parametrize("answer", [e.solution_reliance, with_loops, multiplied, relies()])
def test_right_reliances(answer):
    judge(e.check_reliance, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (relies(cover=lambda x, where: x), "nothing was covered"),
    (relies(cover=lambda x, where: x.masked_fill(~where, 0)), "covered everything else"),
    (relies(cover=lambda x, where: x.masked_fill(where, 1)), "cover with 0"),
    (relies(cover=lambda x, where: x * 0), "is wrong"),
    (relies(cover=one_channel), "is wrong"),
    (relies(cover=first_image), "is wrong"),
    (relies(cover=lambda x, where: x.masked_fill(where.mT, 0)), "with"),
    (relies(turn=lambda a, b: b - a), "before minus after"),
    (relies(turn=lambda a, b: b), "with the pixels covered"),
    (lambda p, x, y, where: (p(x).argmax(1) != p(x.masked_fill(where, 0)).argmax(1)).float().mean(), "share of answers that changed"),
    (relies(turn=lambda a, b: (a - b).abs() / a), "is wrong"),
    (relies(score=lambda p, x, y: p(x).softmax(-1).gather(1, y[:, None]).mean()), "count right answers"),
    (relies(score=lambda p, x, y: p(x).gather(1, y[:, None]).mean()), "is wrong"),
    (relies(score=lambda p, x, y: (p(x) == y).float().mean()), "it stops with RuntimeError"),
    (relies(score=lambda p, x, y: (p(x).argmax(1) == y).sum()), "is wrong"),
    (relies(turn=lambda a, b: round(float(a - b), 1)), "is wrong"),
])  # fmt: skip
def test_wrong_reliances(answer, words):
    judge(e.check_reliance, answer, verdict=words)
    assert e.check_reliance(answer).startswith("✗")


# ---------------------------------------------------------------- follow the answer
def one_by_one(model, image, donor):
    wanted, route = model(donor[None]).argmax(), []
    for depth in range(len(model.blocks) + 1):
        for token in range(model.pos_embed.shape[1]):
            if interpret.swap_activations(model, image[None], donor[None], depth, [token]).argmax() == wanted:
                route.append(token)
                break
    return route


def by_counting(model, image, donor):  # the token without which all the others do not turn the answer
    T, wanted = model.pos_embed.shape[1], model(donor[None]).argmax()
    turns = lambda depth, left_out: interpret.swap_activations(  # noqa: E731
        model, image[None], donor[None], depth, [t for t in range(T) if t != left_out]).argmax() == wanted
    return torch.tensor([next(t for t in range(T) if not turns(depth, t)) for depth in range(len(model.blocks) + 1)])


def effects(change=lambda x, model: x.argmax(1)):
    return lambda model, image, donor: change(interpret.swap_effects(model, image, donor), model)


def changed_most(model, image, donor):
    tokens = interpret.trace(model, torch.stack([image, donor]), 0).tokens
    last = model.blocks[-1](tokens[-1]).detach()[None]
    return (torch.cat([tokens, last])[:, 1] - torch.cat([tokens, last])[:, 0]).norm(dim=-1).argmax(1).tolist()


def attended(model, image, donor):
    weights = interpret.attention_maps(model, image[None])[:, 0, 0]
    return [*model.readout(weights).argmax(1).tolist(), 0]


@pytest.mark.parametrize("pool, start, half", [("cls", 0, 3), ("cls", 3, 0), ("avg", 2, 0), ("avg", 0, 2), ("cls", 2, 3)])
def test_relays_go_the_way_they_were_given(pool, start, half):
    model = e.relay(pool, start, half)
    first = model.num_prefix_tokens
    assert e.solution_route(model, *e.relay_pair(start, 11)) == [first + start, first + half, 0 if first else 3]


@pytest.mark.parametrize("answer", [e.solution_route, one_by_one, by_counting, effects(), effects(lambda x, m: x.abs().topk(1).indices[:, 0].numpy())])
def test_right_routes(answer):
    judge(e.check_route, answer, verdict="✓")


@pytest.mark.parametrize("answer, words", [
    (changed_most, "what changed most is not what counts"),
    (attended, "where the readout looks"),
    (effects(lambda x, m: x.argmax(1) - m.num_prefix_tokens), "tokens are counted"),
    (effects(lambda x, m: x[1:].argmax(1)), "the input is a depth"),
    (effects(lambda x, m: x[:-1].argmax(1)), "the end of the last block is a depth"),
    (lambda model, image, donor: attended(model, image, donor)[:-1], "L + 1 numbers are wanted; and where"),
    (lambda model, image, donor: [0, *attended(model, image, donor)[:-1]], "where the readout looks (and 0 at first)"),
    (effects(lambda x, m: x.argmax(0)), "the shape should be"),  # the depth of each token
    (effects(lambda x, m: x.argmin(1)), "is wrong"),
    (effects(lambda x, m: x.argmax(1).flip(0)), "is wrong"),
    (effects(lambda x, m: x.argmax()), "the shape should be"),
    (effects(lambda x, m: x), "the shape should be"),
    (effects(lambda x, m: x.argmax(1) + 1), "is wrong"),
    (effects(lambda x, m: [int(x[0].argmax())] * 3), "is wrong"),  # it stays where it is
    (lambda model, image, donor: [1, 4, 0], "is wrong"),  # the first relay's
    (lambda model, image, donor: [0] * 3, "is wrong"),  # the class token all along
    (lambda model, image, donor: effects()(model, image, image), "ValueError"),
])  # fmt: skip
def test_wrong_routes(answer, words):
    judge(e.check_route, answer, verdict=words)
    assert e.check_route(answer).startswith("✗")


def test_stubs_and_hopeless_answers():
    assert e.check_rollout(e.my_rollout) == e.check_reliance(e.my_reliance) == e.check_route(e.my_route) == "not attempted yet"
    for name, answer in HOPELESS.items():
        for said in (e.check_rollout(answer), e.check_reliance(answer), e.check_route(answer)):
            assert said == "not attempted yet" if name == "nothing" else said.startswith("✗"), (name, said)
