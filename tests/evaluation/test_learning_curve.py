"""Learning curves: gains, savings and the plot, from accuracies that were made up."""

import numpy as np
import pytest
from PIL import Image

from tlkeras.evaluation.learning_curve import (
    HEADER,
    Run,
    by_size,
    interval,
    plot_learning_curve,
    savings,
    table_rows,
)


def runs(percent: int, pretrained: list[float], random: list[float], seconds: tuple[float, float]) -> list[Run]:
    """Return runs: two phases with these accuracies, all layers with a tenth more, both in the first seconds."""
    taken = {"two_phases": seconds[0], "all_layers": seconds[0], "random": seconds[1]}
    return [
        Run(percent, percent * 2, seed, {"two_phases": one, "all_layers": one + 0.1, "random": two}, taken)
        for seed, (one, two) in enumerate(zip(pretrained, random, strict=True))
    ]


SMALL = runs(10, [0.8, 0.85, 0.9], [0.3, 0.4, 0.5], (2.0, 5.0))
POOR = runs(10, [0.1, 0.2, 0.2], [0.1, 0.1, 0.1], (2, 2))
LARGE = runs(100, [0.9, 0.9, 0.9], [0.8, 0.85, 0.9], (10.0, 40.0))
CERTAIN = runs(100, [0.9, 0.9, 0.9], [0.85, 0.85, 0.85], (10.0, 40.0))


def test_an_interval_by_students_t():
    """Three values of mean 0.5 and standard deviation 0.1: 0.5 ± 0.4303 / √3."""
    assert interval([0.4, 0.5, 0.6]) == pytest.approx((0.5, 0.5 - 0.24841, 0.5 + 0.24841), abs=1e-4)


def test_an_interval_stays_within_what_is_possible():
    assert interval([0.1, 0.5, 0.9]) == pytest.approx((0.5, 0.0, 1.0))
    assert interval([-0.9, 0.0, 0.9], lowest=-1.0) == pytest.approx((0.0, -1.0, 1.0))


def test_fewer_than_three_values_have_no_interval():
    center, *bounds = interval([0.4, 0.6])
    assert center == 0.5 and np.isnan(bounds).all()


def test_the_gain_is_computed_run_by_run():
    size = by_size([*LARGE, *SMALL])[0]
    assert (size.percent, size.images, size.seconds("random")) == (10, 20, 5.0)
    center, low, high = size.gain("two_phases")  # 0.5, 0.45 and 0.4
    assert center == pytest.approx(0.45) and low == pytest.approx(0.45 - 4.3027 * 0.05 / 3**0.5, abs=1e-3)
    assert high - center == pytest.approx(center - low)
    assert size.gain("all_layers")[0] == pytest.approx(0.55)


def test_the_rows_of_a_size_are_aligned_with_the_header():
    assert [HEADER, *table_rows(by_size(SMALL)[0]).splitlines()] == [
        "percent    images  weights, training       accuracy  gain, 95% CI               seconds",
        "     10        20  random, all layers         0.400                                 5.0",
        "                   pretrained, all layers     0.950  +0.550 (+0.426 to +0.674)      2.0",
        "                   pretrained, two phases     0.850  +0.450 (+0.326 to +0.574)      2.0",
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([*SMALL, *CERTAIN], "20 images or fewer and 2.0 s (0.850, 0.726 to 0.974): 90% less data, 95% less time."),
        ([*POOR, *CERTAIN], "200 images and 10.0 s (0.900): as much data, 75% less time."),
        ([*SMALL, *runs(100, [0.9, 0.9], [0.7, 0.7], (1.0, 1.0))], "90% less data, 100% more time."),
        (runs(100, [0.5, 0.6], [0.8, 0.8], (1.0, 1.0)), "more images than there were; transfer saves nothing"),
    ],
)  # fmt: skip
def test_savings_count_measured_sizes_only(sizes, expected):
    title, all_layers, two_phases = savings(by_size(sizes), chance=0.05).splitlines()
    assert title.startswith("On average, what random weights reach with 200 images in ") and title.endswith(" takes")
    assert all_layers.startswith("  pretrained, all layers: ") and two_phases.startswith("  pretrained, two phases: ")
    assert expected in two_phases


def test_nothing_is_saved_where_random_weights_are_no_better_than_chance():
    message = savings(by_size([*SMALL, *runs(100, [0.9] * 3, [0.5, 0.55, 0.6], (1.0, 1.0))]), chance=0.5)
    assert message.startswith("Random weights reach 0.550 with 200 images, not significantly more than the 0.500")


def test_two_seeds_give_points_without_an_interval():
    size = by_size(runs(10, [0.8, 0.9], [0.3, 0.5], (2.0, 5.0)))
    assert [row.split()[-2:] for row in table_rows(size[0]).splitlines()[1:]] == [["+0.550", "2.0"], ["+0.450", "2.0"]]
    assert "with 20 images in 5.0 s (0.400) takes" in savings(size, chance=0.1)
    assert savings(size, chance=0.4).startswith("Random weights reach 0.400 with 20 images, not more than the 0.400")


def test_random_weights_are_compared_at_the_fewest_images_too():
    """Where ten images are as good as a hundred, no data are saved by leaving ninety out."""
    sizes = [*runs(10, [0.7, 0.7], [0.7, 0.7], (2.0, 5.0)), *runs(100, [0.7, 0.7], [0.7, 0.7], (2.0, 50.0))]
    title, _, two_phases = savings(by_size(sizes), chance=0.1).splitlines()
    assert "20 images in 5.0 s" in title and two_phases.endswith(": as much data, 60% less time.")


def test_a_size_counts_only_if_all_larger_ones_reach_it_too():
    sizes = [*runs(10, [0.9, 0.9], [0.3, 0.3], (1, 1)), *runs(50, [0.7, 0.7], [0.5, 0.5], (2, 2)),
             *runs(100, [0.9, 0.9], [0.8, 0.8], (4, 4))]  # fmt: skip
    assert "two phases: 200 images and 4.0 s (0.900): as much data, as much time." in savings(by_size(sizes), 0.1)


def test_the_plot(tmp_path):
    plot_learning_curve(by_size([*SMALL, *LARGE]), "digits, 269 test images", tmp_path / "learning_curve.png")
    with Image.open(tmp_path / "learning_curve.png") as image:
        assert image.width > 600
