"""Our ViT is the same function as everyone else's: weights move over by name, logits agree to 1e-9 in float64.

Every parameter is redrawn first, biases, norms and heads included: a head that starts at zero (torchvision's does)
would let any model pass. Nothing is downloaded; the models of the other libraries are built from their configurations.
"""

import pytest
import torch

from vit_from_scratch.vit import SIZES, ViT, load_model, load_weights, save_weights

timm = pytest.importorskip("timm")
torchvision_vit = pytest.importorskip("torchvision.models.vision_transformer")
transformers = pytest.importorskip("transformers")

MODELS = {
    "Ti/16": dict(image_size=224, patch_size=16, num_classes=1000, **SIZES["Ti"]),
    "B/16": dict(image_size=224, patch_size=16, num_classes=1000, **SIZES["B"]),
    "B/32": dict(image_size=224, patch_size=32, num_classes=1000, **SIZES["B"]),
    "32px/4": dict(image_size=32, patch_size=4, num_classes=10, embed_dim=128, depth=8, num_heads=4),
}
SMALL = MODELS["32px/4"] | dict(depth=3)


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def blank(make, *args, **kwargs):
    "A float64 model whose memory is not filled yet: drawing fresh weights would only cost time"
    with torch.device("meta"):
        model = make(*args, **kwargs)
    return model.double().to_empty(device="cpu").eval()


def redraw(model, std=0.02):
    "Every parameter from N(0, std), in float64"
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, std)
    return model


def make_timm(a, **changes):
    return timm.models.vision_transformer.VisionTransformer(
        img_size=a["image_size"], patch_size=a["patch_size"], num_classes=a["num_classes"],
        embed_dim=a["embed_dim"], depth=a["depth"], num_heads=a["num_heads"], **changes,
    )  # fmt: skip


def make_torchvision(a):
    return torchvision_vit.VisionTransformer(
        a["image_size"], a["patch_size"], a["depth"], a["num_heads"], a["embed_dim"], 4 * a["embed_dim"], num_classes=a["num_classes"]
    )


def make_huggingface(a, attention="sdpa", **changes):  # "eager" rounds its weights to float32
    config = transformers.ViTConfig(
        image_size=a["image_size"], patch_size=a["patch_size"], num_labels=a["num_classes"], hidden_size=a["embed_dim"],
        num_hidden_layers=a["depth"], num_attention_heads=a["num_heads"], intermediate_size=4 * a["embed_dim"],
        attn_implementation=attention, **changes,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


MAKERS = {"timm": make_timm, "torchvision": make_torchvision, "huggingface": make_huggingface}
EPS = {"timm": 1e-6, "torchvision": 1e-6, "huggingface": 1e-12}


@torch.no_grad()
def logits_of(model, images):
    out = model(images)
    return getattr(out, "logits", out)


def images_for(arguments, batch=1):
    size = arguments["image_size"]
    return torch.randn(batch, 3, size, size, dtype=torch.float64)


def agree(theirs, ours, arguments, batch=1):
    "Largest difference of the logits, which must not be trivially small"
    images = images_for(arguments, batch)
    wanted, given = logits_of(theirs, images), logits_of(ours, images)
    assert wanted.std() > 0.01, f"logits with a standard deviation of {wanted.std():.4f} prove nothing"
    difference = (wanted - given).abs().max().item()
    print(f"max difference {difference:.2e}, std of the logits {wanted.std():.3f}")
    return difference


@pytest.mark.parametrize("size", MODELS)
@pytest.mark.parametrize("library", MAKERS)
def test_same_logits(library, size):
    arguments = MODELS[size]
    theirs = redraw(blank(MAKERS[library], arguments))
    eps = EPS["timm"] if library == "timm" else 1e-3  # timm's names are ours, and a bare state dict says nothing of eps; else a wrong one, to see that it follows the source
    ours = blank(ViT, **arguments, norm_eps=eps)
    load_weights(ours, theirs.state_dict())
    assert {m.eps for m in ours.modules() if isinstance(m, torch.nn.LayerNorm)} == {EPS[library]} == {ours.arguments["norm_eps"]}
    assert agree(theirs, ours, arguments) <= 1e-9


@pytest.mark.parametrize("eps", [1e-6, 1e-3])
def test_the_comparison_can_fail(eps):
    "Off by one LayerNorm eps, or by one bias: the comparison above sees it"
    theirs = redraw(make_huggingface(SMALL))
    ours = load_weights(ViT(**SMALL).double().eval(), theirs.state_dict())
    for module in ours.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = eps
    assert agree(theirs, ours, SMALL) > 1e-9


@pytest.mark.parametrize("size", ["Ti/16", "32px/4"])
def test_back_into_timm(size):
    "The names are timm's, so our state dict is timm's"
    arguments = MODELS[size]
    ours, theirs = redraw(blank(ViT, **arguments)), blank(make_timm, arguments)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert agree(theirs, ours, arguments) <= 1e-9


VARIANTS = {
    "registers": (dict(reg_tokens=4), dict(num_registers=4)),
    "registers without positions": (dict(reg_tokens=4, no_embed_class=True), dict(num_registers=4)),
    "class token without position": (dict(no_embed_class=True), {}),
    "qk_norm": (dict(qk_norm=True), dict(qk_norm=True)),
    "no qkv_bias": (dict(qkv_bias=False), dict(qkv_bias=False)),
    "average pooling": (dict(class_token=False, global_pool="avg", fc_norm=False), dict(pool="avg")),
    "average pooling and registers": (dict(class_token=False, global_pool="avg", fc_norm=False, reg_tokens=2), dict(pool="avg", num_registers=2)),
    "narrow MLP": (dict(mlp_ratio=2.0), dict(mlp_ratio=2.0)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_timm_variants(variant):
    theirs_differ, ours_differ = VARIANTS[variant]
    theirs = redraw(make_timm(SMALL, **theirs_differ))
    side = SMALL["image_size"] // SMALL["patch_size"]  # rows without one for the class token cannot be told from rows of another grid
    grid = (side, side) if variant == "class token without position" else None
    ours = load_weights(ViT(**SMALL, **ours_differ).double().eval(), theirs.state_dict(), grid=grid)
    assert agree(theirs, ours, SMALL, batch=2) <= 1e-9


def test_huggingface_without_qkv_bias():
    theirs = redraw(make_huggingface(SMALL, qkv_bias=False))
    ours = load_weights(ViT(**SMALL, qkv_bias=False).double().eval(), theirs.state_dict())
    assert agree(theirs, ours, SMALL, batch=2) <= 1e-9


def test_huggingface_names_on_disk(tmp_path):
    "What `save_pretrained` writes has other names than the model in memory"
    theirs = redraw(make_huggingface(SMALL))
    theirs.save_pretrained(tmp_path)
    ours = load_weights(ViT(**SMALL).double().eval(), tmp_path / "model.safetensors")
    assert ours.arguments["norm_eps"] == 1e-12
    assert agree(theirs, ours, SMALL, batch=2) <= 1e-9


def test_attention_maps_against_huggingface():
    theirs = redraw(make_huggingface(SMALL, attention="eager"), std=0.1)
    ours = load_weights(ViT(**SMALL).double().eval(), theirs.state_dict())
    images, seen = images_for(SMALL, 2), []
    for block in ours.blocks:
        block.attn.observer = seen.append
    with torch.no_grad():
        wanted = theirs(images, output_attentions=True).attentions
        ours(images)
    assert len(seen) == len(wanted) == SMALL["depth"]
    assert min(w.std().item() for w in wanted) > 1e-4, "uniform attention would prove nothing"
    for theirs_block, ours_block in zip(wanted, seen, strict=True):
        assert (theirs_block - ours_block).abs().max() <= 1e-8  # theirs are float32


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files(tmp_path, suffix):
    theirs = redraw(make_timm(SMALL))
    path = tmp_path / f"theirs{suffix}"
    if suffix == ".pth":
        torch.save(theirs.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path)
    ours = load_weights(ViT(**SMALL).double().eval(), path)
    assert agree(theirs, ours, SMALL) <= 1e-9


def test_our_own_file_keeps_everything(tmp_path):
    ours = redraw(ViT(**SMALL, norm_eps=1e-5, num_registers=1))
    ours.classes, ours.mean, ours.std = list("abcdefghij"), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    save_weights(ours, tmp_path / "ours.safetensors")
    again = load_model(tmp_path / "ours.safetensors")
    assert again.arguments == ours.arguments
    assert (again.classes, again.mean, again.std) == (ours.classes, ours.mean, ours.std)
    images = images_for(SMALL)
    assert (logits_of(again.double(), images) - logits_of(ours.float().double(), images)).abs().max() <= 1e-9


@pytest.mark.parametrize("resize", [False, True])
def test_fine_tuning_from_timm(resize):
    "New classes, another resolution: everything but head and positions arrives unchanged"
    theirs = redraw(make_timm(SMALL))
    wanted = SMALL | dict(num_classes=7, image_size=48 if resize else 32)
    ours = ViT(**wanted).double()
    head = ours.head.weight.clone()
    load_weights(ours, theirs.state_dict(), new_head=True, resize=resize)
    assert torch.equal(ours.head.weight, head)
    for name, tensor in theirs.state_dict().items():
        if not name.startswith("head") and (name != "pos_embed" or not resize):
            assert torch.equal(ours.state_dict()[name], tensor), name


def test_resized_positions_follow_timm():
    theirs = make_timm(SMALL).double()
    ours = load_weights(ViT(**SMALL | dict(image_size=48)).double(), theirs.state_dict(), resize=True)
    wanted = timm.layers.resample_abs_pos_embed(theirs.pos_embed.data, new_size=[12, 12], num_prefix_tokens=1)
    assert (ours.pos_embed.data - wanted).abs().max() < 1e-6


WRONG = {
    "class count": (lambda: make_timm(SMALL | dict(num_classes=7)).state_dict(), r"head.weight is 7x128 in the source and 10x128.*new_head=True"),
    "resolution": (lambda: make_timm(SMALL | dict(image_size=48)).state_dict(), r"12x12 patches.*8x8.*resize=True"),
    "width": (lambda: make_timm(SMALL | dict(embed_dim=64)).state_dict(), r"cls_token is 1x1x64 in the source and 1x1x128"),
    "too deep": (lambda: make_timm(SMALL | dict(depth=4)).state_dict(), r"blocks\.3\.norm1\.weight \(128\) is in the source and not in this model"),
    "too shallow": (lambda: make_timm(SMALL | dict(depth=2)).state_dict(), r"blocks\.2\.norm1\.weight \(128\) is in this model and not in the source"),
    "pooling norm": (lambda: make_timm(SMALL, global_pool="avg").state_dict(), r"norm\.weight \(128\) is in this model and not in the source"),
    "layer scale": (lambda: make_timm(SMALL, init_values=1.0).state_dict(), r"blocks\.0\.ls1\.gamma \(128\) is in the source"),
    "no head": (lambda: make_timm(SMALL | dict(num_classes=0)).state_dict(), r"head\.weight .* not in the source.*new_head=True"),
    "not a ViT": (lambda: torch.nn.Linear(2, 2).state_dict(), r"not the weights of a ViT.*'weight'"),
    "nothing": (dict, r"not the weights of a ViT"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_weights_are_refused_and_change_nothing(case):
    make, sentence = WRONG[case]
    ours = ViT(**SMALL, norm_eps=1e-5)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    with pytest.raises(ValueError, match=sentence) as error:
        load_weights(ours, make())
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())
    assert ours.arguments["norm_eps"] == ours.norm.eps == 1e-5


def test_unreadable_files_are_refused(tmp_path):
    (tmp_path / "noise.safetensors").write_bytes(b"not weights at all")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    for name in ("missing.safetensors", "noise.safetensors", "list.pth"):
        with pytest.raises(ValueError, match=name):
            load_weights(ViT(**SMALL), tmp_path / name)


@pytest.fixture
def no_download(monkeypatch):
    "The three libraries hand out freshly drawn models instead of downloading"
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: redraw(make_timm(SMALL, **NAMED[name]), std=0.1).float())
    import torchvision.models

    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: redraw(make_torchvision(SMALL), std=0.1).float())
    give = lambda name: redraw(make_huggingface(SMALL), std=0.1).float()  # noqa: E731
    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", give)

    def no_processor(name):
        raise OSError(f"{name} has no processor here")

    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", no_processor)


NAMED = {"plain": {}, "relu": dict(act_layer=torch.nn.ReLU), "averaged": dict(global_pool="avg", fc_norm=False)}


@pytest.mark.parametrize("source", ["timm:plain", "torchvision:vit_b_16", "hf:google/vit"])
def test_named_sources(no_download, source):
    ours = load_weights(ViT(**SMALL), source)
    assert ours.arguments["norm_eps"] == (1e-12 if source.startswith("hf") else 1e-6)
    if source.startswith("torchvision"):
        assert ours.mean == [0.485, 0.456, 0.406]
    ours = load_weights(ViT(**SMALL | dict(num_classes=3, image_size=64)), source, new_head=True, resize=True)
    assert ours.classes is None and ours.head.out_features == 3


def test_class_names_stand_in_the_order_of_their_numbers(monkeypatch):
    twelve = SMALL | dict(num_classes=12)
    theirs = redraw(make_huggingface(twelve), std=0.1).float()
    theirs.config.id2label = {k: f"class {k}" for k in sorted(range(12), key=str)}  # 0, 1, 10, 11, 2 …, as in a file with sorted keys

    def no_processor(name):
        raise OSError(f"{name} has no processor here")

    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", lambda name: theirs)
    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", no_processor)
    assert list(load_weights(ViT(**twelve), "hf:google/vit").classes) == [f"class {k}" for k in range(12)]


@pytest.mark.parametrize("source", ["timm:relu", "timm:averaged"])
def test_a_different_function_with_fitting_weights_is_refused(no_download, source):
    with pytest.raises(ValueError, match="its function is another one"):
        load_weights(ViT(**SMALL), source)


def test_a_name_that_timm_does_not_know_is_refused():
    with pytest.raises(ValueError, match="cannot be opened as a ViT of timm"):
        load_weights(ViT(**SMALL), "timm:vit_tiny_patch16_225")


def test_a_different_head_count_is_refused(no_download, tmp_path):
    with pytest.raises(ValueError, match="its function is another one"):
        load_weights(ViT(**SMALL | dict(num_heads=8)), "timm:plain")
    save_weights(ViT(**SMALL), tmp_path / "four_heads.safetensors")
    with pytest.raises(ValueError, match="num_heads=4 and this model 8"):
        load_weights(ViT(**SMALL | dict(num_heads=8)), tmp_path / "four_heads.safetensors")
