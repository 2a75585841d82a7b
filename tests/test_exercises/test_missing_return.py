"An answer without its `return` is not called unattempted: every exercise says what is missing."
import pytest
from lesson import load

CHECKS = {
    "01_": "check_patchify check_sincos", "02_": "check_head check_heads", "03_": "check_block check_drop_path", "04_": "check_embed check_count",
    "05_": "check_crop check_mixup", "06_": "check_rate", "07_": "check_stop check_accuracy", "08_": "check_rollout check_route check_reliance",
    "09_": "check_extent check_limits", "10_": "check_left_head check_break check_losses",
}  # fmt: skip
TWO = {"check_heads", "check_mixup"}  # functions at once


def without_return(*given):
    found = list(given)
    found.append(1)


@pytest.mark.parametrize("lesson, name", [(lesson, name) for lesson, names in CHECKS.items() for name in names.split()])
def test_a_missing_return_is_named(lesson, name):
    needed = ["puzzle", "image", "STEPS"] if name == "check_left_head" else []
    check = getattr(load(lesson, name, *needed), name)
    said = check(*[without_return] * (2 if name in TWO else 1))
    assert "✗" in said and "is a `return` missing?" in said and "not attempted" not in said, said
