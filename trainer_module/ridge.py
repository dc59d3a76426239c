"""Linear evaluation of numbers: ridge regression on features that are computed once.

The penalty is chosen by leaving each image out.

N images, D feature dims.
"""

import numpy as np

PENALTIES = np.logspace(-3, 5, 17)  # of squared weights, on standardised features
EPSILON = 1e-6  # keeps a feature that never varies finite


def fit_ridge(features, numbers) -> tuple[np.ndarray, np.ndarray]:
    """Fits number = features @ kernel + bias; the answer is unique and needs no seed.

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
