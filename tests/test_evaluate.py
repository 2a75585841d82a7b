"""`evaluate` gives scikit-learn's figures on the same predictions."""

import pytest
import torch
from torch import nn

from vit_from_scratch.train import evaluate, predict

metrics = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("num_classes, num_images, missing", [(2, 50, ()), (10, 500, ()), (10, 300, (3, 7)), (43, 200, (0, 1, 2)), (5, 1, ())])
def test_figures_equal_scikit_learn(num_classes, num_images, missing):
    "Also where classes are missing from the truth, or never predicted, and the last batch is short."
    generator = torch.Generator().manual_seed(num_images)
    labels = torch.randint(num_classes, (num_images,), generator=generator)
    for absent in missing:
        labels[labels == absent] = num_classes - 1
    logits = torch.randn(num_images, num_classes, generator=generator) + 2 * nn.functional.one_hot(labels, num_classes)
    logits[:, list(missing[:1])] = -9.0  # one class is in neither
    model = nn.Linear(num_classes, num_classes, bias=False)
    nn.init.eye_(model.weight)
    batches = list(zip(logits.split(64), labels.split(64), strict=True))
    ours = evaluate(model, batches)
    probabilities, truth = predict(model, batches)
    answers = probabilities.argmax(dim=1)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, answers, average="macro", zero_division=0)
    whole = probabilities.double() / probabilities.double().sum(dim=1, keepdim=True)
    theirs = [metrics.log_loss(truth, whole, labels=range(num_classes)), metrics.accuracy_score(truth, answers), precision, recall, f1]
    apart = max(abs(a - b) for a, b in zip([ours.loss, ours.accuracy, ours.precision, ours.recall, ours.f1], theirs, strict=True))
    print(f"largest difference: {apart:.1e}")
    assert apart < 1e-6
    assert ours.confusion.tolist() == metrics.confusion_matrix(truth, answers, labels=range(num_classes)).tolist()
    assert ours.num_images == num_images
