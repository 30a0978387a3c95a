"""How much a frozen latent code says about a class: the accuracy of a linear classifier, by number of labels.

Open it to see how the classifier is fitted and how its labels are drawn. It follows section 6.3 of Fu et al. (2019).

Their released code trains one linear layer on posterior means by Adam for 3,000 passes (1,000 for the autoencoder). It
reports the test accuracy of the pass that is best on 6,347 labelled validation sentences, for one draw of 10% of the
labels. Here the classifier is scikit-learn's logistic regression, fitted to convergence, so there is no number of
passes to choose. Its L2 penalty is chosen by cross-validation within the given labels, so no other labels are used.
Labels are drawn several times. Codes are standardised over all training codes, which needs no label.

Shape legend: N training codes, M test codes, Z latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # C, the inverse of the L2 penalty, for standardised codes
FOLDS = 3
ITERATIONS = 200  # most iterations of Newton's method, which needs about six
LEVEL = 0.95


class Probe(NamedTuple):
    """The test accuracy for one number of labels.

    Attributes:
        labels: how many the classifier was fitted to.
        draws: how many times they were drawn; 1 if all labels are used.
        accuracy: mean over the draws.
        half: half the width of the 95% interval of that mean (Student's t); None for one draw.
        balanced: mean over the draws of the balanced accuracy: the mean over classes of the share classified correctly.
        each: the accuracy of each draw.
        chance: accuracy of always naming the test set's most frequent class.
    """

    labels: int
    draws: int
    accuracy: float
    half: float | None
    balanced: float
    each: tuple[float, ...]
    chance: float


def probe(
    train_codes: ArrayLike,
    train_labels: Sequence[Any] | NDArray[Any],
    test_codes: ArrayLike,
    test_labels: Sequence[Any] | NDArray[Any],
    counts: Sequence[int],
    *,
    draws: int = 5,
    seed: int = 0,
) -> list[Probe]:
    """Fit the classifier to several numbers of labels, drawn several times, and score it on the test codes.

    Each class gets its share of the drawn labels, at least one. A draw depends only on the seed, the count and the
    draw's number, so all compared models get the same labels.

    Args:
        train_codes: (N, Z).
        train_labels: (N,) two or more classes.
        test_codes: (M, Z).
        test_labels: (M,).
        counts: numbers of labels; a number above N counts as N.
        draws: how often labels are drawn for each count below N.
        seed: of the draws and of the folds.

    Raises:
        ValueError: shapes do not fit, a code is not finite, there is one class only, or a count is below the number of
            classes.
    """
    x, y = _checked(train_codes, train_labels, "training")
    test_x, test_y = _checked(test_codes, test_labels, "test")
    _check_sizes(x, y, test_x, counts, draws)
    scaler = StandardScaler().fit(x)
    x, test_x = scaler.transform(x), scaler.transform(test_x)
    chance = float(np.unique(test_y, return_counts=True)[1].max() / len(test_y))
    found = []
    for count in sorted({min(count, len(y)) for count in counts}):
        scores = []
        for draw in range(1 if count == len(y) else draws):
            rng = np.random.default_rng((seed, count, draw))
            chosen = _stratified(y, count, rng)
            predicted = _fitted(x[chosen], y[chosen], int(rng.integers(2**31))).predict(test_x)
            scores.append((accuracy_score(test_y, predicted), balanced_accuracy_score(test_y, predicted)))
        accuracies, balanced = zip(*scores, strict=True)
        mean, half = _interval(accuracies)
        found.append(Probe(count, len(scores), mean, half, float(np.mean(balanced)), tuple(accuracies), chance))
    return found


def _check_sizes(x: NDArray[Any], y: NDArray[Any], test_x: NDArray[Any], counts: Sequence[int], draws: int) -> None:
    classes = len(np.unique(y))
    if x.shape[1] != test_x.shape[1]:
        raise ValueError(
            f"test codes must have {x.shape[1]} dimensions as the training codes, but have {test_x.shape[1]}"
        )
    if classes < 2:
        raise ValueError(f"a classifier needs two classes at least, but the training labels have {classes}")
    if draws < 1 or any(count < classes for count in counts):
        raise ValueError(
            f"each count must be at least the number of classes, {classes}, and draws at least 1, "
            f"but they are {list(counts)} and {draws}"
        )


def _checked(codes: ArrayLike, labels: Sequence[Any] | NDArray[Any], which: str) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = np.asarray(codes, dtype=np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y) or not x.shape[1]:
        raise ValueError(f"{which} codes must be (N, Z) and labels (N,), but are {x.shape} and {y.shape}")
    if not np.isfinite(x).all():
        raise ValueError(
            f"{which} codes must be finite, but {tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])} is not"
        )
    return x, y


def _stratified(labels: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of `count` labels: each class gets its share, by the largest remainders, and at least one."""
    classes, sizes = np.unique(labels, return_counts=True)
    shares = count * sizes / len(labels)
    wanted = np.maximum(np.floor(shares).astype(int), 1)
    order = np.argsort(wanted - shares, kind="stable")  # the largest remainder first
    for index in range(count - int(wanted.sum())):
        wanted[order[index % len(order)]] += 1
    while wanted.sum() > count:  # if rare classes got more than their share
        wanted[np.argmax(wanted)] -= 1
    chosen = [rng.permutation(np.flatnonzero(labels == one))[:size] for one, size in zip(classes, wanted, strict=True)]
    return rng.permutation(np.concatenate(chosen))


def _fitted(x: NDArray[Any], y: NDArray[Any], seed: int) -> Any:
    """The fitted classifier; its penalty is 1 if a class has too few labels for two folds."""
    model = LogisticRegression(solver="newton-cholesky", max_iter=ITERATIONS)
    folds = min(FOLDS, int(np.unique(y, return_counts=True)[1].min()))
    if folds < 2:
        return model.fit(x, y)
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return GridSearchCV(model, {"C": PENALTIES}, cv=splits, scoring="neg_log_loss").fit(x, y)


def _interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its interval."""
    count = len(values)
    if count < 2:
        return float(np.mean(values)), None
    quantile = float(student.ppf((1 + LEVEL) / 2, count - 1))
    return float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / math.sqrt(count)
