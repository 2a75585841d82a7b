"Looking inside, for every readout: class token, mean of patches, registers."
import pytest
import torch
from fastcore.test import test_close as close
from fastcore.test import test_eq as equal
from fastcore.test import test_fail as fails

from vit_from_scratch import interpret
from vit_from_scratch.vit import ViT

SMALL = dict(image_size=16, patch_size=4, num_classes=5, embed_dim=16, depth=3, num_heads=2)
READOUTS = [("cls", 0), ("cls", 2), ("avg", 0), ("avg", 2)]


def make(pool="cls", registers=0, **other):
    torch.manual_seed(0)
    model = ViT(**SMALL | other, pool=pool, num_registers=registers).eval()
    for p in model.parameters():  # fresh weights are so small that everything looks alike
        p.data.mul_(8) if p.ndim > 1 else None
    return model, torch.randn(4, 3, 16, 16)


def test_recordings_nest_and_end():
    model, images = make()
    with torch.no_grad(), interpret.record_attention(model) as outer:
        with interpret.record_attention(model) as inner:
            model(images[:2])
            logits = model(images[:3])
    equal([tuple(w.shape) for w in outer.weights], [(3, 2, 17, 17)] * 3)
    assert all(torch.equal(a, b) for a, b in zip(inner.weights, outer.weights, strict=True))
    equal(outer.num_bytes, 4 * 3 * 3 * 2 * 17**2)
    with pytest.raises(KeyboardInterrupt), interpret.record_attention(model):
        raise KeyboardInterrupt
    equal([block.attn.observer for block in model.blocks], [None] * 3)
    with torch.no_grad():
        close(model(images[:3]), logits, eps=1e-5)  # looking does not change what is seen


@pytest.mark.parametrize("pool, registers", READOUTS)
def test_relevance_frozen_and_in_inference_mode(pool, registers):
    model, images = make(pool, registers, dropout=0.5)
    expected = interpret.relevance(model, images[:3], [1, 2, 3])
    model.requires_grad_(False).train()
    with torch.inference_mode():
        close(interpret.relevance(model, images[:3].clone(), torch.tensor([1, 2, 3])), expected, eps=1e-5)
    assert model.training
    with torch.no_grad():
        close(interpret.trace(model, images).logits, model.eval()(images), eps=1e-5)
    maps, own = interpret.cls_map(expected, model), 1 / 16 if pool == "avg" else 0  # each token's own 1
    found = interpret.relevance_map(model, images[:3], [1, 2, 3])
    close(found, maps - own, eps=1e-5)
    assert (found > -1e-6).all() and (found > 0).any() and found.shape == (3, 4, 4)
    assert (expected[0] - interpret.relevance(model, images[:3], 4)[0]).abs().max() > 0


@pytest.mark.parametrize("pool, registers", READOUTS)
def test_swapping(pool, registers):
    model, images = make(pool, registers)
    own, donors, T = images[:2], images[2:], 16 + model.num_prefix_tokens
    with torch.no_grad():
        plain, other = model(own), model(donors)
    for depth in range(4):
        close(interpret.swap_activations(model, own, donors, depth, []), plain, eps=1e-5)
        close(interpret.swap_activations(model, own, donors, depth, range(T)), other, eps=1e-5)
    mask = torch.arange(T) == 7  # a position, a mask and a mask per image say the same
    one = interpret.swap_activations(model, own, donors, 1, [7])
    close(interpret.swap_activations(model, own, donors, 1, mask), one)
    close(interpret.swap_activations(model, own, donors, 1, mask.expand(2, -1)), one)
    assert (one - plain).abs().max() > 1e-4 and (one - other).abs().max() > 1e-4
    fails(lambda: interpret.swap_activations(model, own, donors, 4, [0]), contains="between 0 and 3")
    fails(lambda: interpret.swap_activations(model, own, donors, 1, [T]), contains=f"0 and {T - 1}")


@pytest.mark.parametrize("pool, registers", READOUTS)
def test_effects_are_those_of_swapping_by_hand(pool, registers):
    model, _ = make(pool, registers)
    images = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(images)
    second = next(i for i in range(40) if logits[i].argmax() != logits[0].argmax())
    a, b = int(logits[0].argmax()), int(logits[second].argmax())
    effects = interpret.swap_effects(model, images[0], images[second])
    margin = logits[:, b] - logits[:, a]
    for depth, token in ((0, 3), (2, 9), (3, 0)):
        changed = interpret.swap_activations(model, images[:1], images[second : second + 1], depth, [token])[0]
        by_hand = (changed[b] - changed[a] - margin[0]) / (margin[second] - margin[0])
        close(effects[depth, token], by_hand, eps=1e-4)
    counts = interpret.tokens_to_turn(model, images[0], images[second], effects)
    for depth, count in enumerate(counts.tolist()):
        first = effects[depth].argsort(descending=True, stable=True)
        for number, turned in ((count, True), (count - 1, False)):
            said = interpret.swap_activations(model, images[:1], images[second : second + 1], depth, first[:number])
            assert (int(said.argmax()) == b) == turned
    fails(lambda: interpret.swap_effects(model, images[0], images[0]), contains="needs two answers")


@pytest.mark.parametrize("pool, registers", READOUTS)
def test_lenses_end_at_the_answer(pool, registers):
    model, images = make(pool, registers)
    with torch.no_grad():
        answer = model(images)
    close(interpret.readout_lens(model, images)[-1], answer, eps=1e-5)
    close(model.readout(interpret.logit_lens(model, images))[-1], answer, eps=1e-4)


def test_deletion_covers_the_highest_first():
    model, images = make("avg", image_size=(8, 12))
    images, maps = images[:, :, :8, :12], torch.arange(6.0).view(1, 2, 3).expand(4, -1, -1)
    curve = interpret.deletion_curve(model, images, maps, classes=2, steps=6)
    for step in range(7):
        covered = images.clone()
        for patch in range(6 - step, 6):
            y, x = 4 * (patch // 3), 4 * (patch % 3)
            covered[:, :, y : y + 4, x : x + 4] = 0
        with torch.no_grad():
            close(curve[step], model(covered).softmax(-1)[:, 2], eps=1e-6)
    back = interpret.deletion_curve(model, images, -maps, classes=2, insert=True, steps=6)
    close(back.flip(0), curve, eps=1e-6)  # what is uncovered last is covered first
    close(interpret.curve_area(torch.tensor([[1.0], [0.5], [0.5]])), torch.tensor([(0.75 + 0.5) / 2]))


def test_other_refusals_and_precision():
    model, images = make()
    maps = interpret.attention_maps(model, images)
    fails(lambda: interpret.attention_maps(model, images[0]), contains="add a batch axis")
    fails(lambda: interpret.attention_distance(maps, (3, 3), 4), contains="a grid of 3x3 patches")
    fails(lambda: interpret.embedding_filters(model, 17), contains="1 to 16")
    fails(lambda: interpret.pos_embed_norms(ViT(**SMALL, pos_embed="none")), contains="no position")
    fails(lambda: interpret.pointing_score(maps[0, :, 0], torch.ones(1, 8, 8) > 0), contains="as many masks")
    equal(interpret.attention_maps(model.double(), images).dtype, torch.float64)
    dark = make()[0]
    dark.std = [0.01] * 3  # of nearly black images, a white pixel is a hundred deviations away
    assert interpret.attention_maps(dark, torch.full((1, 3, 16, 16), 99.0)).isfinite().all()


def test_half_precision_and_statistics_as_a_tensor():
    weights, gradients = torch.rand(2, 3, 1, 2, 4, 4).bfloat16()
    steps = interpret.relevance_steps(weights, gradients)
    equal(steps.dtype, torch.float32)
    close(steps, interpret.relevance_steps(weights.float(), gradients.float()), eps=0.2)
    model, images = make()
    model.std = torch.tensor([0.5, 0.25, 0.5])
    assert interpret.attention_maps(model, images).isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_maps_on_a_gpu_meet_masks_on_the_cpu():
    equal(interpret.mask_share(torch.ones(1, 2, 2, device="cuda"), torch.ones(1, 4, 4) > 0).tolist(), [1.0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_elsewhere():
    model, images = make()
    maps = torch.rand(4, 4, 4)
    here = interpret.attention_maps(model, images), interpret.deletion_curve(model, images, maps)
    model.cuda()
    close(interpret.attention_maps(model, images).cpu(), here[0], eps=1e-3)
    close(interpret.deletion_curve(model, images, maps).cpu(), here[1], eps=1e-3)


def test_what_the_weights_show_without_a_picture():
    plain = ViT(image_size=(4, 6), patch_size=2, num_classes=3, embed_dim=2, depth=1, num_heads=1)
    plain.pos_embed.data[0, 1:] = torch.tensor([[3.0, 0], [0, 1], [1, 1], [-2, 0], [0, 5], [4, 4]])
    close(interpret.pos_embed_similarity(plain)[0], torch.tensor([[1, 0, 0.5**0.5], [-1, 0, 0.5**0.5]]), eps=1e-6)
    close(interpret.pos_embed_norms(plain), torch.tensor([[3, 1, 2**0.5], [2, 5, 32**0.5]]), eps=1e-6)
    only_self, everywhere = torch.eye(5), torch.full((5, 5), 0.2)  # 2 x 2 patches of 16 pixels
    far = interpret.attention_distance([torch.stack([only_self, everywhere])[None]], (2, 2), 16)
    close(far, torch.tensor([[0, 4 * (2 + 2**0.5)]]), eps=1e-4)
    edge = torch.zeros(3, 2, 2).index_fill(2, torch.tensor(0), -0.5)
    tiny = ViT(image_size=(4, 6), patch_size=2, num_classes=3, embed_dim=8, depth=2, num_heads=2)
    tiny.patch_embed.proj.weight.data = torch.randn(8, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * edge + 7.0
    found = interpret.embedding_filters(tiny, 1)[0]  # the one pattern, its mean taken off, positive at its peak
    assert torch.cosine_similarity(found.flatten(), edge.flatten(), dim=0).abs() > 0.999
    assert found.max() >= -found.min()


def test_what_is_refused():
    model, images = make()
    convolution = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten())
    maps = interpret.attention_maps(model, images)
    bytes_ = (images.sigmoid() * 255).to(torch.uint8)
    fails(lambda: interpret.attention_maps(convolution, images), contains="has no attention blocks of this package")
    fails(lambda: interpret.relevance(torch.nn.Sequential(model), images), contains="pass the ViT itself")
    fails(lambda: interpret.attention_maps(model, bytes_), contains="images are torch.uint8: normalise them first")
    fails(lambda: interpret.relevance(model, bytes_.float()), contains="normalised ones stay within a few units")
    fails(lambda: interpret.cls_map(torch.zeros(4, 17), model), contains="for one row per image use patch_map")
    fails(lambda: interpret.patch_map(torch.zeros(4, 7), model), contains="the last axis has 7 entries")
    fails(lambda: interpret.relevance(model, images[:3], [1, 2]), contains="one for each of the 3 images, from 0 to 4")
    fails(lambda: interpret.rollout(maps, "median"), contains="choose 'mean', 'max' or 'min'")
    fails(lambda: interpret.rollout(maps, discard=1.0), contains="discard=1.0 must lie in [0, 1)")
    fails(lambda: interpret.swap_activations(model, images, images, 9, [0]), contains="must lie between 0 and 3")
    fails(lambda: interpret.swap_activations(model, images, images, 1, [99]), contains="must lie between 0 and 16")
    fails(lambda: interpret.swap_effects(model, images[0], images[0]), contains="patching needs two answers")
    fails(lambda: interpret.ablate_heads(model, [(0, 99)]).__enter__(), contains="there is no head 99 in block 0")
