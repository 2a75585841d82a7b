"Lesson 11: tests that a reader may write. Right ones pass in every style, plausible wrong ones do not, nothing raises."
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vit_from_scratch.attention import attend as our_attend
from vit_from_scratch.museum import EXHIBITS, check_test, score_test
from vit_from_scratch.patch_embedding import patchify, resize_pos_embed, unpatchify


# ---------------------------------------------------------------- heads
def heads_by_torch(layer):
    width = layer.proj.in_features
    theirs = nn.MultiheadAttention(width, layer.num_heads, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(layer.qkv.weight)
        theirs.in_proj_bias.zero_() if layer.qkv.bias is None else theirs.in_proj_bias.copy_(layer.qkv.bias)
        theirs.out_proj.load_state_dict(layer.proj.state_dict())
    x = torch.randn(3, 7, width)
    return torch.allclose(layer(x), theirs(x, x, x)[0], atol=1e-4)


def heads_by_einops(layer):
    x = torch.randn(2, 4, layer.proj.in_features)
    q, k, v = rearrange(layer.qkv(x), "b t (three h d) -> three b h t d", three=3, h=layer.num_heads)
    out = rearrange(F.scaled_dot_product_attention(q, k, v), "b h t d -> b t (h d)")
    np.testing.assert_allclose(layer(x).detach().numpy(), layer.proj(out).detach().numpy(), atol=1e-4)


def heads_equivariant(layer):
    x, order = torch.randn(2, 5, layer.proj.in_features), torch.randperm(5)
    return torch.allclose(layer(x[:, order]), layer(x)[:, order], atol=1e-4)


def heads_one_image(layer):
    x = torch.randn(1, 5, layer.proj.in_features)
    q, k, v = rearrange(layer.qkv(x), "b t (three h d) -> three b h t d", three=3, h=layer.num_heads)
    return torch.allclose(layer(x), layer.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h t d -> b t (h d)")), atol=1e-4)


def heads_shape(layer):
    x = torch.randn(2, 5, layer.proj.in_features)
    return layer(x).shape == x.shape


def heads_width(layer):
    return layer(torch.randn(2, 5, 24)).isfinite().all()


def heads_exact(layer):
    x = torch.randn(2, 5, layer.proj.in_features)
    q, k, v = rearrange(layer.qkv(x), "b t (three h d) -> three b h t d", three=3, h=layer.num_heads)
    out = torch.einsum("bhij,bhjd->bihd", (torch.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5).softmax(-1), v).flatten(2)
    return torch.equal(layer(x), layer.proj(out) + 0 * layer(x).mean())


def heads_batch(layer):
    x = torch.randn(3, 5, layer.proj.in_features)
    return torch.allclose(layer(x)[:1], layer(x[:1]), atol=1e-4)


def heads_bias(layer):
    return layer.qkv.bias.shape[0] == 3 * layer.proj.in_features


# ---------------------------------------------------------------- softmax and scale
def qkv(*shape, keys=None):
    return torch.randn(*shape), torch.randn(*shape[:-2], keys or shape[-2], shape[-1]), torch.randn(*shape[:-2], keys or shape[-2], shape[-1])


def softmax_by_ours(attend):
    q, k, v = qkv(2, 3, 5, 8, keys=6)
    return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(attend(q, k, v), our_attend(q, k, v), strict=True))


def softmax_by_rows(attend):
    q, k, v = qkv(2, 2, 4, 8, keys=5)
    out, weights = attend(q, k, v)
    for i in range(4):
        row = (q[:, :, i : i + 1] @ k.mT / 8**0.5).softmax(-1)
        assert torch.allclose(weights[:, :, i : i + 1], row, atol=1e-4)
        assert torch.allclose(out[:, :, i : i + 1], row @ v, atol=1e-4)


def softmax_sums(attend):
    _, weights = attend(*qkv(2, 3, 5, 8))
    return torch.allclose(weights.sum(-1), torch.ones(2, 3, 5), atol=1e-4)


def softmax_sums_and_mixes(attend):
    q, k, v = qkv(2, 3, 5, 8)
    out, weights = attend(q, k, v)
    return torch.allclose(weights.sum(-1), torch.ones(2, 3, 5), atol=1e-4) and torch.allclose(out, weights @ v, atol=1e-4)


def softmax_constant(attend):
    q, k, _ = qkv(2, 3, 5, 8)
    return torch.allclose(attend(q, k, torch.ones(2, 3, 5, 8))[0], torch.ones(2, 3, 5, 8), atol=1e-4)


def softmax_positive(attend):
    return (attend(*qkv(2, 3, 5, 8))[1] > 0).all()


def softmax_huge(attend):
    q, k, v = qkv(2, 3, 5, 8)
    return attend(1000 * q, k, v)[0].isfinite().all()


def softmax_columns(attend):
    _, weights = attend(*qkv(2, 3, 5, 8))
    return torch.allclose(weights.sum(-2), torch.ones(2, 3, 5), atol=1e-4)


def softmax_flat(attend):
    q, k, v = qkv(4, 8)
    return torch.allclose(attend(q, k, v)[1].sum(-1), torch.ones(4), atol=1e-4)


def scale_by_ours(attend):
    return all(torch.allclose(attend(*given)[1], our_attend(*given)[1], atol=1e-4)
               for d in (4, 8, 36, 64) for given in [qkv(3, 2, 7, d)])  # fmt: skip


def scale_by_logs(attend):
    for d in (4, 16, 32):
        q, k, v = qkv(3, 2, 6, d)
        logs = attend(q / d, k, v)[1].log()
        scores = q / d @ k.mT
        differences = (logs - logs[..., :1]), (scores - scores[..., :1])
        assert torch.allclose(differences[0], differences[1] / d**0.5, atol=1e-3)


def scale_one_width(attend):
    given = qkv(2, 3, 5, 64)
    return torch.allclose(attend(*given)[0], F.scaled_dot_product_attention(*given), atol=1e-4)


def scale_odd_width(attend):  # one size, and none that a mutant has built in
    given = qkv(3, 2, 5, 17)
    return torch.allclose(attend(*given)[0], F.scaled_dot_product_attention(*given), atol=1e-4)


def scale_as_many(attend):
    given = qkv(2, 3, 16, 16)
    return torch.allclose(attend(*given)[0], F.scaled_dot_product_attention(*given), atol=1e-4)


def scale_one_head(attend):
    return all(torch.allclose(attend(*given)[0], F.scaled_dot_product_attention(*given), atol=1e-4)
               for d in (16, 32) for given in [qkv(2, 1, 5, d)])  # fmt: skip


def scale_spread(attend):
    return attend(*qkv(2, 3, 64, 64))[1].max() < 0.6


def scale_rows(attend):
    return torch.allclose(attend(*qkv(2, 3, 5, 64))[1].sum(-1), torch.ones(2, 3, 5), atol=1e-4)


def scale_square_batch(attend):
    given = qkv(16, 3, 5, 16)
    return torch.allclose(attend(*given)[0], F.scaled_dot_product_attention(*given), atol=1e-4)


def scale_by_d(attend):
    q, k, v = qkv(2, 3, 5, 16)
    return torch.allclose(attend(q, k, v)[1], (q @ k.mT / 16).softmax(-1), atol=1e-4)


# ---------------------------------------------------------------- class token
def silence(model):
    for block in model.blocks:
        for p in (*block.attn.proj.parameters(), *block.mlp.fc2.parameters()):
            nn.init.zeros_(p)


def token_by_values(model, images):
    P, before = model.patch_embed.patch_size, model(images)
    for r in range(0, images.shape[2], P):
        for c in range(0, images.shape[3], P):
            other = images.clone()
            other[1, :, r : r + P, c : c + P] += torch.randn(3, P, P)
            change = (model(other) - before).abs().amax(1) > 1e-6
            if change.tolist() != [False, True, False]:
                return False
    silence(model)
    same = model(images)
    if not torch.allclose(same, model(torch.randn_like(images)), atol=1e-5):
        return False
    with torch.no_grad():
        model.cls_token += torch.randn_like(model.cls_token)
    return not torch.allclose(model(images), same, atol=1e-5)


def token_by_hooks(model, images):
    read, entered = [], []
    model.head.register_forward_pre_hook(lambda m, given: read.append(given[0]))
    model.blocks[0].register_forward_pre_hook(lambda m, given: entered.append(given[0]))
    images.requires_grad_()
    answer = model(images)
    own = torch.autograd.grad(answer[2].sum(), images)[0].abs().sum(1)
    tiles = F.avg_pool2d(own, model.patch_embed.patch_size) > 0
    assert tiles[2].all() and not tiles[:2].any()
    silence(model)
    model(images)
    first = model.norm(entered[-1][:, 0])
    plain = model.cls_token + (0 if model.pos_embed is None else model.pos_embed[:, :1])
    assert torch.allclose(entered[-1][:, :1], plain.expand(3, -1, -1), atol=1e-5)
    assert torch.allclose(read[-1], first, atol=1e-4)


def token_silenced(model, images):
    silence(model)
    return torch.allclose(model(images), model(torch.randn_like(images)), atol=1e-5)


def token_gradient(model, images):
    model(images).square().sum().backward()
    return model.cls_token.grad is not None and model.cls_token.grad.any()


def token_depends(model, images):
    return not torch.allclose(model(images)[0], model(images)[1])


def token_shape(model, images):
    return model(images).shape == (3, 5)


def token_length(model, images):
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda m, given: seen.append(given[0].shape[1]))
    model(images)
    return seen[0] == model.patch_embed.num_patches + 1


def token_zero(model, images):
    nn.init.zeros_(model.cls_token)
    return model(images).isfinite().all()


def token_batch(model, images):
    return torch.allclose(model(images)[:1], model(images[:1]), atol=1e-5)


# ---------------------------------------------------------------- positions
def exchanged(model, images, i, j):
    P = model.patch_embed.patch_size
    patches = patchify(images, P)
    order = list(range(patches.shape[1]))
    order[i], order[j] = j, i
    return unpatchify(patches[:, order], P, images.shape[-2:])


def positions_all_pairs(model, images):
    N, before = model.patch_embed.num_patches, model(images)
    if model.pos_embed.requires_grad:
        before.square().sum().backward()
        assert model.pos_embed.grad is not None
    for i in range(N):
        for j in range(i + 1, N):
            assert not torch.allclose(model(exchanged(model, images, i, j)), before, atol=1e-5)


def positions_by_pixels(model, images):
    P, (rows, columns) = model.patch_embed.patch_size, model.patch_embed.grid_size
    before = model(images)
    if model.pos_embed.requires_grad and torch.autograd.grad(before.square().sum(), model.pos_embed, allow_unused=True)[0] is None:
        return False
    for axis, count in ((2, rows), (3, columns)):
        for i in range(count - 1):  # exchange whole rows, then whole columns: not enough alone
            parts = list(images.split(P, axis))
            parts[i], parts[i + 1] = parts[i + 1], parts[i]
            if torch.allclose(model(torch.cat(parts, axis)), before, atol=1e-5):
                return False
    return all(not torch.allclose(model(exchanged(model, images, i, i + 1)), before, atol=1e-5) for i in range(rows * columns - 1))


def positions_first_pair(model, images):
    return not torch.allclose(model(exchanged(model, images, 0, 1)), model(images), atol=1e-5)


def positions_ends(model, images):
    return not torch.allclose(model(exchanged(model, images, 0, model.patch_embed.num_patches - 1)), model(images), atol=1e-5)


def positions_gradient(model, images):
    model(images).square().sum().backward()
    return model.pos_embed.grad is not None


def positions_there(model, images):
    return model.pos_embed is not None and bool(model.pos_embed.any())


def positions_flip(model, images):
    return not torch.allclose(model(images.flip(3)), model(images), atol=1e-5)


def positions_zeroed(model, images):
    before = model(images)
    with torch.no_grad():
        model.pos_embed.zero_()
    return not torch.allclose(model(images), before, atol=1e-5)


def positions_mixed(model, images):
    order = torch.randperm(model.patch_embed.num_patches)
    moved = unpatchify(patchify(images, 8)[:, order], 8, images.shape[-2:])
    return not torch.allclose(model(moved), model(images), atol=1e-5)


# ---------------------------------------------------------------- residual
def block_by_formula(block):
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    y = x + block.attn(block.norm1(x))
    assert torch.allclose(block(x) - y, block.mlp(block.norm2(y)), atol=1e-4)


def block_by_hooks(block):
    read, wrote = {}, {}
    for name in ("norm1", "attn", "norm2", "mlp"):
        getattr(block, name).register_forward_hook(
            lambda m, given, out, name=name: (read.setdefault(name, given[0]), wrote.setdefault(name, out)) and None)
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    out = block(x)
    if set(read) != {"norm1", "attn", "norm2", "mlp"}:
        return False
    y = x + wrote["attn"]
    pairs = ((read["norm1"], x), (read["attn"], wrote["norm1"]), (read["norm2"], y), (read["mlp"], wrote["norm2"]), (out, y + wrote["mlp"]))
    return all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def block_silenced(block):
    for p in (*block.attn.proj.parameters(), *block.mlp.fc2.parameters()):
        nn.init.zeros_(p)
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    return torch.allclose(block(x), x, atol=1e-5)


def block_attention_only(block):
    for p in block.attn.proj.parameters():
        nn.init.zeros_(p)
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    return torch.allclose(block(x), x + block.mlp(block.norm2(x)), atol=1e-4)


def block_mlp_only(block):
    for p in block.mlp.fc2.parameters():
        nn.init.zeros_(p)
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    return torch.allclose(block(x), x + block.attn(block.norm1(x)), atol=1e-4)


def block_shape(block):
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    return block(x).shape == x.shape


def block_close(block):
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    return F.cosine_similarity(block(x).flatten(), x.flatten(), dim=0) > 0.5


def block_gradient(block):
    x = torch.randn(2, 3, block.norm1.normalized_shape[0], requires_grad=True)
    block(x).sum().backward()
    return x.grad.abs().mean() > 0.1


def block_parallel(block):
    x = torch.randn(2, 3, block.norm1.normalized_shape[0])
    return torch.allclose(block(x), x + block.attn(block.norm1(x)) + block.mlp(block.norm2(x)), atol=1e-4)


# ---------------------------------------------------------------- loss
def loss_by_torch(loss):
    for B, K in ((3, 4), (6, 5)):
        logits, labels = 4 * torch.randn(B, K), torch.randint(K, (B,))
        assert torch.allclose(loss(logits, labels), F.cross_entropy(logits, labels), atol=1e-4)


def loss_by_hand(loss):
    logits, labels = torch.tensor([[2.0, 0.0, 1.0], [1.0, -3.0, 5.0]]), torch.tensor([0, 1])
    wanted = [float(np.log(np.exp(row).sum()) - row[y]) for row, y in zip(logits.numpy(), labels.tolist(), strict=True)]
    return abs(loss(logits, labels) - sum(wanted) / 2) < 1e-4 and abs(loss(logits[:1], labels[:1]) - wanted[0]) < 1e-4


def loss_sure(loss):
    return loss(20 * torch.eye(4), torch.arange(4)) < 0.1


def loss_even(loss):
    return abs(loss(torch.zeros(4, 10), torch.arange(4)) - np.log(10)) < 1e-4


def loss_positive(loss):
    return loss(torch.randn(4, 10), torch.arange(4)) > 0


def loss_ordered(loss):
    labels = torch.arange(4)
    return loss(5 * torch.eye(4), labels) < loss(-5 * torch.eye(4), labels)


def loss_one_image(loss):
    logits = 5 * torch.randn(1, 6)
    return torch.allclose(loss(logits, torch.tensor([2])), F.cross_entropy(logits, torch.tensor([2])), atol=1e-4)


def loss_gradient(loss):
    logits = torch.randn(4, 5, requires_grad=True)
    loss(logits, torch.arange(4)).backward()
    return logits.grad.any()


def loss_probabilities(loss):
    p = torch.randn(4, 5).softmax(1)
    return torch.allclose(loss(p, torch.arange(4)), -p[range(4), range(4)].log().mean(), atol=1e-4)


# ---------------------------------------------------------------- labels
def painted(n, side=3):
    labels = torch.eye(n)
    return labels[:, :, None, None].repeat(1, 1, side, side), labels


def mixup_by_paint(mix):
    for share in (0.9, 0.6):
        images, labels = painted(8)
        mixed, answer = mix(images, labels, share)
        assert torch.equal(labels, torch.eye(8)) and torch.equal(images[:, :, 0, 0], torch.eye(8))
        assert torch.allclose(mixed[:, :, 0, 0], answer) and torch.allclose(answer.diagonal(), torch.full((8,), share))


def mixup_by_search(mix):
    images, labels = torch.rand(4, 3, 2, 2), torch.eye(4)
    kept = images.clone(), labels.clone()
    for share in (0.8, 0.3):
        mixed, answer = mix(images, labels, share)
        if not (torch.equal(images, kept[0]) and torch.equal(labels, kept[1])):
            return False
        for i in range(4):
            partner = ((mixed[i] - share * kept[0][i]) / (1 - share) - kept[0]).abs().flatten(1).amax(1)
            j = int(partner.argmin())
            if partner[j] > 1e-3 or j == i or not torch.allclose(answer[i], share * kept[1][i] + (1 - share) * kept[1][j], atol=1e-4):
                return False
    return True


def mixup_sums(mix):
    images, labels = painted(6)
    return torch.allclose(mix(images, labels, 0.7)[1].sum(1), torch.ones(6))


def mixup_half(mix):
    images, labels = painted(6)
    mixed, answer = mix(images, labels, 0.5)
    return torch.allclose(mixed[:, :, 0, 0], answer)


def mixup_agrees(mix):
    images, labels = painted(6)
    mixed, answer = mix(images, labels, 0.7)
    return torch.allclose(mixed[:, :, 0, 0], answer)


def mixup_two_images(mix):
    images, labels = painted(2)
    mixed, answer = mix(images.clone(), labels.clone(), 0.7)
    return torch.allclose(mixed[:, :, 0, 0], answer) and torch.allclose(answer.diagonal(), torch.full((2,), 0.7))


def mixup_one_class(mix):
    images, labels = torch.ones(4, 3, 2, 2), torch.eye(3)[:1].repeat(4, 1)
    return torch.allclose(mix(images, labels, 0.7)[1], labels)


def mixup_left_only(mix):
    images, labels = painted(6)
    mixed, answer = mix(images.clone(), labels.clone(), 0.7)
    return torch.allclose(answer, 0.7 * labels + 0.3 * labels.roll(1, 0)) and torch.allclose(mixed[:, :, 0, 0], answer)


def mixup_odd(mix):
    images, labels = painted(5)
    mixed, answer = mix(images.clone(), labels.clone(), 0.7)
    return torch.allclose(mixed[:, :, 0, 0], answer) and torch.allclose(answer.diagonal(), torch.full((5,), 0.7))


def mixup_one(mix):
    images, labels = painted(6)
    return torch.equal(mix(images, labels, 1.0)[0], images)


# ---------------------------------------------------------------- eval
class Spy(nn.Module):
    "Names the largest pixel, and remembers in which mode it was asked."

    def __init__(self):
        super().__init__()
        self.inner, self.asked, self.weight = nn.Dropout(0.5), [], nn.Parameter(torch.ones(()))

    def forward(self, x):
        self.asked.append((self.training, self.inner.training))
        return x


BATCHES = [(torch.eye(4), torch.tensor([0, 1, 0, 0])), (torch.eye(2), torch.tensor([0, 1]))]


def eval_by_spy(accuracy):
    for mode in (True, False):
        model = Spy().train(mode)
        assert abs(accuracy(model, BATCHES) - 4 / 6) < 1e-6
        assert set(model.asked) == {(False, False)} and len(model.asked) == 2
        assert model.training == model.inner.training == mode


def eval_by_dropout(accuracy):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 40))
    batches = [(torch.randn(n, 8), torch.randint(40, (n,))) for n in (60, 20, 7)]
    model.eval()
    with torch.no_grad():
        for i, (x, y) in enumerate(batches):  # true labels for most of the first two
            y[: 40 - 25 * i] = model(x).argmax(1)[: 40 - 25 * i]
        right = sum((model(x).argmax(1) == y).sum() for x, y in batches) / 87
    for mode in (True, False):
        model.train(mode)
        if abs(accuracy(model, batches) - right) > 1e-6 or {m.training for m in model.modules()} != {mode}:
            return False
    return True


def eval_twice(accuracy):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(20, 20))
    batches = [(torch.randn(50, 20), torch.randint(20, (50,))), (torch.randn(50, 20), torch.randint(20, (50,)))]
    return accuracy(model, batches) == accuracy(model, batches)


def eval_value(accuracy):
    return abs(accuracy(nn.Identity(), BATCHES) - 4 / 6) < 1e-6


def eval_one_batch(accuracy):
    model = Spy()
    right = abs(accuracy(model, BATCHES[:1]) - 2 / 4) < 1e-6
    return right and model.asked == [(False, False)] and model.training


def eval_mode_only(accuracy):
    model = Spy()
    accuracy(model, BATCHES)
    return model.training


def eval_stays(accuracy):
    model = Spy()
    accuracy(model, BATCHES)
    return not model.training


def eval_range(accuracy):
    return 0 <= accuracy(nn.Dropout(0.5), BATCHES) <= 1


def eval_top_only(accuracy):
    model = Spy()
    value = accuracy(model, BATCHES)
    return abs(value - 4 / 6) < 1e-6 and not any(top for top, _ in model.asked) and model.training


# ---------------------------------------------------------------- resize
def counting(rows, columns, scale=1.0):
    r, c = torch.meshgrid(torch.arange(rows) * scale, torch.arange(columns) * scale, indexing="ij")
    return torch.cat([torch.tensor([[[50.0, -60.0]]]), torch.stack([r, c], -1).reshape(1, -1, 2)], 1)


def resize_by_counting(resize):
    new = resize(counting(3, 5), (3, 5), (7, 6))
    assert torch.equal(new[0, 0], torch.tensor([50.0, -60.0]))
    grid = new[0, 1:].reshape(7, 6, 2)
    assert (grid[..., 0].std(1) < 1e-3).all() and (grid[..., 1].std(0) < 1e-3).all()
    assert (grid[:, 0, 0].diff() > 0).all() and (grid[0, :, 1].diff() > 0).all()
    assert grid[-1, 0, 0] > 1.5 and grid[0, -1, 1] > 3.5


def resize_by_ours(resize):
    r, c = torch.meshgrid(torch.linspace(-1, 1, 6), torch.linspace(-1, 1, 8), indexing="ij")
    table = torch.cat([torch.randn(1, 1, 3), torch.stack([r, c, r * c], -1).reshape(1, 48, 3)], 1)
    return torch.allclose(resize(table, (6, 8), (12, 11)), resize_pos_embed(table, (6, 8), (12, 11)), atol=0.15)


def resize_shape(resize):
    return resize(torch.randn(1, 13, 8), (3, 4), (6, 5)).shape == (1, 31, 8)


def resize_square(resize):
    new = resize(counting(4, 4), (4, 4), (8, 8))[0, 1:].reshape(8, 8, 2)
    return (new[..., 0].std(1) < 1e-3).all() and (new[..., 1].std(0) < 1e-3).all()


def resize_constant(resize):
    return torch.allclose(resize(torch.ones(1, 13, 8), (3, 4), (6, 5)), torch.ones(1, 31, 8), atol=1e-4)


def resize_same(resize):
    table = torch.randn(1, 13, 8)
    return torch.allclose(resize(table, (3, 4), (3, 4)), table, atol=1e-5)


def resize_class(resize):
    table = torch.randn(1, 13, 8)
    return torch.equal(resize(table, (3, 4), (6, 5))[:, 0], table[:, 0])


def resize_rows(resize):
    new = resize(counting(3, 4), (3, 4), (6, 5))[0, 1:].reshape(6, 5, 2)
    return (new[..., 0].std(1) < 1e-3).all() and (new[:, 0, 0].diff() > 0).all()


def resize_exactly_ours(resize):
    table = torch.randn(1, 13, 8)
    return torch.equal(resize(table, (3, 4), (6, 5)), resize_pos_embed(table, (3, 4), (6, 5)))


def anything(*given):
    return True


def nothing_goes(*given):
    return False


ANSWERS = {  # exercise: right ones in several styles, plausible wrong ones
    "heads": ((heads_by_torch, heads_by_einops),
              (heads_equivariant, heads_one_image, heads_shape, heads_width, heads_batch, heads_bias, anything, nothing_goes)),
    "softmax": ((softmax_by_ours, softmax_by_rows),
                (softmax_sums, softmax_sums_and_mixes, softmax_constant, softmax_positive, softmax_huge, softmax_columns, softmax_flat)),
    "scale": ((scale_by_ours, scale_by_logs),
              (scale_one_width, scale_odd_width, scale_as_many, scale_one_head, scale_spread, scale_rows, scale_square_batch, scale_by_d)),
    "class token": ((token_by_values, token_by_hooks),
                    (token_silenced, token_gradient, token_depends, token_shape, token_length, token_zero, token_batch)),
    "positions": ((positions_all_pairs, positions_by_pixels),
                  (positions_first_pair, positions_ends, positions_gradient, positions_there, positions_flip, positions_zeroed, positions_mixed)),
    "residual": ((block_by_formula, block_by_hooks),
                 (block_silenced, block_attention_only, block_mlp_only, block_shape, block_close, block_gradient, block_parallel)),
    "loss": ((loss_by_torch, loss_by_hand),
             (loss_sure, loss_even, loss_positive, loss_ordered, loss_one_image, loss_gradient, loss_probabilities)),
    "labels": ((mixup_by_paint, mixup_by_search),
               (mixup_sums, mixup_half, mixup_agrees, mixup_two_images, mixup_one_class, mixup_left_only, mixup_odd, mixup_one)),
    "eval": ((eval_by_spy, eval_by_dropout),
             (eval_twice, eval_value, eval_one_batch, eval_mode_only, eval_stays, eval_range, eval_top_only)),
    "resize": ((resize_by_counting, resize_by_ours),
               (resize_shape, resize_square, resize_constant, resize_same, resize_class, resize_rows, resize_exactly_ours)),
}  # fmt: skip


def test_every_exercise_has_its_answers():
    assert set(ANSWERS) == set(EXHIBITS) - {"blocks"}
    assert all(len(right) >= 2 and len(wrong) >= 6 for right, wrong in ANSWERS.values())
    assert all(len(EXHIBITS[name].mutants) >= 7 and len(EXHIBITS[name].sound) >= 3 for name in ANSWERS)


@pytest.mark.parametrize("exercise", ANSWERS)
def test_right_tests_pass_in_every_style(exercise):
    for answer in ANSWERS[exercise][0]:
        verdict = check_test(exercise, answer)
        assert verdict.startswith("✓"), f"{answer.__name__}: {verdict}"


@pytest.mark.parametrize("exercise", ANSWERS)
def test_weak_tests_are_sent_back(exercise):
    for answer in ANSWERS[exercise][1]:
        verdict = check_test(exercise, answer)
        assert verdict.startswith("✗"), f"{answer.__name__}: {verdict}"


@pytest.mark.parametrize("given", [None, 3, "sound", [], np.zeros(3), torch.zeros(3), lambda: True, lambda *given: "yes", lambda *given: np.array([1, 2]),
                                   lambda *given: torch.ones(3), lambda *given: 1 / 0, lambda *given: given[99]])  # fmt: skip
def test_the_check_never_raises(given):
    for exercise in EXHIBITS:
        assert check_test(exercise, given).startswith("✗")


def unwritten(*given):
    "Says what it would do."
    ...


def test_an_unwritten_test_is_called_that():
    for exercise in EXHIBITS:
        assert check_test(exercise, lambda *given: None) == "not attempted yet"
        assert check_test(exercise, unwritten) == "not attempted yet"
        assert check_test(exercise, torch.no_grad()(unwritten)) == "not attempted yet"


def test_a_test_without_its_return_is_told_so():
    def forgot_to_return(layer):
        torch.allclose(layer(torch.ones(1, 5, layer.proj.in_features)), torch.ones(()))

    def asserts_what_always_holds(layer):
        assert layer is not None

    for test in (forgot_to_return, asserts_what_always_holds):
        assert "returned None" in check_test("heads", test)


def test_verdicts_do_not_depend_on_what_was_drawn_before():
    first = score_test("heads", heads_equivariant)
    torch.rand(17)
    assert score_test("heads", heads_equivariant) == first


def test_the_check_leaves_the_random_stream_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    check_test("positions", positions_mixed)
    assert torch.equal(torch.rand(3), wanted)
