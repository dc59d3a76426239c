"""Linear evaluation: one linear layer on features that are computed once, fitted to convergence in
seconds; logistic regression for classes, ridge regression for numbers.

N images, R augmented copies of each, D feature dims, C classes.
"""

from functools import partial

import keras
import numpy as np
from scipy.optimize import minimize

from trainer_module.errors import require

WEIGHT_DECAY = 1e-3  # of weights on standardised features, where images are many
DECAYS = (1.0, 1e-1, 1e-2, WEIGHT_DECAY, 1e-4)  # to choose from where they are few
MANY = 50  # images for each number of a feature
LEAST = 100  # images, of which fewer choose nothing well
ENOUGH = 1_000  # images, of which one fold is enough to choose by
FOLDS = 5
PENALTIES = np.logspace(-3, 5, 17)  # of a ridge regression's squared weights, likewise
MAX_ITERATIONS = 300
ITERATIONS_TO_CHOOSE = 100
FLAT = 1e-4  # slope at which float32 ends a line search that has nothing left to find
HEAD_LEARNING_RATE = 1e-3  # of a head that is fitted epoch by epoch, Keras' default for Adam
HEAD_BATCH = 256  # images
EPSILON = 1e-6  # keeps a feature that never varies finite


def fit_linear(
    features, labels, num_classes: int, weight_decay: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fits logits = features @ kernel + bias by L-BFGS; the answer is unique and needs no seed.

    What is minimised is the mean of -log softmax(logits)[label] plus weight_decay / 2 * |kernel|^2,
    strictly convex in the kernel: where it ends does not depend on where it begins. That is why the
    metric of a frozen encoder has no noise of its own, and no learning rate to choose.

    Prints a warning if the fit stops before it converges.

    Features are standardised for the fit; the result undoes it, so that it applies to the features
    as they are.

    Args:
        features: float [N, D]; or [(1 + R) * N, D], those of the images, then of R augmented copies
          of all of them one after another (`features.encode_crops`).
        labels: integers [N] in [0, num_classes).
        num_classes: C.
        weight_decay: factor of half the squared weights, beside the mean cross entropy; where it is
          open, `WEIGHT_DECAY` for many images, and `chosen_decay` for fewer.

    Returns:
        kernel float32 [D, C] and bias float32 [C], what a `keras.layers.Dense` takes in
        `set_weights`.

    Raises:
        ValueError: if a label lies outside the classes, or labels and features do not match.
    """
    labels = np.asarray(labels).astype(np.int64).ravel()
    if labels.size == 0 or labels.min() < 0 or labels.max() >= num_classes:
        found = f"{labels.min()} to {labels.max()}" if labels.size else "no label"
        raise ValueError(f"`labels` must lie in [0, {num_classes}). Received: {found}")
    features = np.asarray(features, np.float32)
    require(
        len(features) % len(labels) == 0,
        "`features` must be a whole number of copies of the labelled images",
        features=len(features),
        labels=len(labels),
    )
    images = len(labels)
    labels = np.tile(labels, len(features) // images)
    standardised, mean, std = _standardised(features)
    start = np.zeros((features.shape[1] + 1) * num_classes)
    if weight_decay is None:
        weight_decay = WEIGHT_DECAY
        if LEAST <= images < MANY * features.shape[1]:
            weight_decay, start = chosen_decay(standardised, labels, num_classes, images)
    fit = _minimum(start, standardised, labels, weight_decay, MAX_ITERATIONS)
    steepest = np.abs(fit.jac).max()
    if not fit.success and not steepest <= FLAT:  # of NaN, too
        print(
            f"Warning: the linear head on {len(features)} x {features.shape[1]} features has not "
            f"converged: {fit.message}, "
            f"steepest slope {steepest:.1g} after {fit.nit} iterations. Its score may be too low.",
            flush=True,
        )
    kernel, bias = _split(fit.x, features.shape[1])
    kernel = kernel / std[:, None]
    return kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32)


def _standardised(features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (features - mean) / std, float32 [N, D], with that mean and std, [D].

    Summed in float64, in which a feature that never varies is its own mean: its column is 0, and so
    is its row of the kernel. A float32 mean misses it by a rounding that EPSILON turns into a
    constant, of which nothing holds the kernel back.
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = features - mean
    std = np.sqrt(np.square(centred).mean(axis=0, dtype=np.float64)) + EPSILON
    return centred / std.astype(np.float32), mean, std


def chosen_decay(features, labels, num_classes: int, images: int) -> tuple[float, np.ndarray]:
    """Chooses the weight decay by images held out, never by those that are asked later: by a fifth
    of them, and where they are few by each fifth in turn.

    From the strongest of `DECAYS` on, each fit begins where the last ended, until the cross entropy
    of the images held out rises.

    Args:
        features: float32 [(1 + R) * N, D], standardised.
        labels: integers [(1 + R) * N].
        num_classes: C.
        images: N.

    Returns:
        The decay, and the weights that a fit ended with, float64 [(D + 1) * C].
    """
    fold = np.random.default_rng(0).permutation(images) % FOLDS
    fold = np.tile(fold, len(features) // images)
    masks = [fold == one for one in range(FOLDS if images < ENOUGH else 1)]
    parts = [((features[~out], labels[~out]), (features[out], labels[out])) for out in masks]
    fits = [np.zeros((features.shape[1] + 1) * num_classes)] * len(parts)
    best = np.inf, 0.0, fits[0]
    for decay in DECAYS:
        fits = [
            _minimum(start, *known, decay, ITERATIONS_TO_CHOOSE).x
            for start, (known, _) in zip(fits, parts, strict=True)
        ]
        losses = [
            cross_entropy_and_gradient(fit, *asked, 0.0)[0]
            for fit, (_, asked) in zip(fits, parts, strict=True)
        ]
        if not np.mean(losses) < best[0]:
            break
        best = np.mean(losses), decay, fits[0]
    return best[1:]


def _minimum(start, features, labels, weight_decay: float, iterations: int):
    objective = partial(
        cross_entropy_and_gradient, features=features, labels=labels, weight_decay=weight_decay
    )
    options = {"maxiter": iterations}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options)


def fit_linear_in_epochs(
    features, labels, num_classes: int, epochs: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Fits logits = features @ kernel + bias by Adam in a few epochs, as linear evaluation is often
    reported; it need not have converged.

    Args:
        features: float [N, D], taken as they are.
        labels: integers [N] in [0, num_classes).
        num_classes: C.
        epochs: how many.
        seed: of the order of the images; also sets Keras' global one.

    Returns:
        kernel float32 [D, C] and bias float32 [C].
    """
    keras.utils.set_random_seed(seed)
    layer = keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32")
    head = keras.Sequential([layer])
    head.compile(
        keras.optimizers.Adam(HEAD_LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    head.fit(
        np.asarray(features, np.float32),
        np.asarray(labels).ravel(),
        batch_size=HEAD_BATCH,
        epochs=epochs,
        verbose=0,
    )
    return tuple(np.asarray(weight) for weight in layer.get_weights())


def cross_entropy_and_gradient(
    weights, features, labels, weight_decay: float
) -> tuple[float, np.ndarray]:
    """Returns the regularised mean cross entropy of a linear classifier and its gradient.

    Args:
        weights: float64 [(D + 1) * C], kernel row by row, then bias.
        features: float32 [N, D].
        labels: integers [N].
        weight_decay: factor of half the squared kernel.

    Returns:
        The loss and its gradient, float64 [(D + 1) * C].
    """
    kernel, bias = _split(weights, features.shape[1])
    logits = features @ kernel.astype(np.float32) + bias.astype(np.float32)  # [N, C]
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    totals = exponentials.sum(axis=1)
    rows = np.arange(len(labels))
    loss = np.mean(np.log(totals) - logits[rows, labels]) + 0.5 * weight_decay * np.sum(kernel**2)
    errors = exponentials / totals[:, None]  # probabilities - one-hot labels, [N, C]
    errors[rows, labels] -= 1.0
    errors /= len(labels)
    kernel_gradient = features.T @ errors + weight_decay * kernel
    return float(loss), np.concatenate([kernel_gradient.ravel(), errors.sum(axis=0)]).astype(
        np.float64
    )


def _split(weights, feature_dim: int):
    """Returns kernel [D, C] and bias [C]."""
    table = np.reshape(weights, (feature_dim + 1, -1))
    return table[:-1], table[-1]


def linear_accuracy(kernel, bias, features, labels) -> float:
    """Returns the share of features [N, D] whose largest logit is that of their label [N]."""
    return float(np.mean(np.argmax(features @ kernel + bias, axis=1) == np.asarray(labels).ravel()))


def fit_ridge(features, numbers) -> tuple[np.ndarray, np.ndarray]:
    """Fits number = features @ kernel + bias; the answer is unique and needs no seed.

    What is minimised is |numbers - features @ kernel - bias|^2 + penalty * |kernel|^2. The error of
    each image by the fit to all others follows from one fit to all in closed form (scikit-learn's
    RidgeCV), so all penalties are tried and no image need be held out.

    Args:
        features: float [N, D].
        numbers: float [N].

    Returns:
        kernel float32 [D, 1] and bias float32 [1], what a `keras.layers.Dense` takes in
        `set_weights`.
    """
    from sklearn.linear_model import RidgeCV

    features, numbers = np.asarray(features, np.float64), np.asarray(numbers, np.float64).ravel()
    mean, std = features.mean(axis=0), features.std(axis=0) + EPSILON
    fitted = RidgeCV(alphas=PENALTIES).fit((features - mean) / std, numbers)
    kernel = fitted.coef_ / std
    return kernel[:, None].astype(np.float32), np.array(
        [fitted.intercept_ - mean @ kernel], np.float32
    )
