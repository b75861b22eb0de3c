"""Learned weights of the trimmer's features; written by `core/training/fit_trimmer.py`, not by hand."""

# In the order of `evidence.FEATURES`.
UNTITLED = (
    -0.375,
    -0.164,
    0.988,
    1.121,
    0.000,
    0.000,
    14.244,
    -1.349,
    7.371,
    0.305,
    0.394,
    1.300,
    -0.992,
    0.852,
    7.914,
    0.876,
)
TITLED = (
    1.588,
    0.675,
    0.954,
    1.833,
    6.662,
    1.648,
    9.772,
    -1.896,
    -0.109,
    0.436,
    0.546,
    0.866,
    0.582,
    0.941,
    3.250,
    2.039,
)
