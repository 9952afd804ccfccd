"""What transfer gains, from metrics that were made up."""

import pytest
from PIL import Image

from tlkeras.evaluation.learning_curve import TITLE, Trial, by_size, interval, lines, plot_learning_curve, savings


def trials(percent: int, pretrained: list[float], random: list[float], seconds: tuple[float, float]) -> list[Trial]:
    """Two phases with these accuracies, all layers with a tenth more, both in the first number of seconds."""
    taken = {"two_phases": seconds[0], "all_layers": seconds[0], "random": seconds[1]}
    return [
        Trial(percent, percent * 2, seed, {"two_phases": one, "all_layers": one + 0.1, "random": two}, taken)
        for seed, (one, two) in enumerate(zip(pretrained, random, strict=True))
    ]


SMALL = trials(10, [0.8, 0.9], [0.3, 0.5], (2.0, 5.0))
POOR = trials(10, [0.1, 0.2], [0.1, 0.1], (2, 2))
LARGE = trials(100, [0.9, 0.9], [0.8, 0.9], (10.0, 40.0))
CERTAIN = trials(100, [0.9, 0.9], [0.85, 0.85], (10.0, 40.0))


def test_an_interval_by_students_t():
    """Three values of mean 2 and deviation 1: 2 ± 4.303 / √3."""
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 2.4841, 2 + 2.4841), abs=1e-3)


def test_the_gain_is_taken_trial_by_trial():
    size = by_size([*LARGE, *SMALL])[0]
    assert (size.percent, size.images, size.seconds("random")) == (10, 20, 5.0)
    center, low, high = size.gain("two_phases")  # 0.5 and 0.4
    assert center == pytest.approx(0.45) and low == pytest.approx(0.45 - 12.706 * 0.05, abs=1e-3)
    assert high - center == pytest.approx(center - low)
    assert size.gain("all_layers")[0] == pytest.approx(0.55)


def test_the_lines_of_a_size_stand_under_their_title():
    assert [TITLE, *lines(by_size(SMALL)[0]).splitlines()] == [
        "percent  images  weights, training       accuracy  gain, 95 % interval        seconds",
        "     10        20  random, all layers         0.400                                 5.0",
        "                   pretrained, all layers     0.950  +0.550 (-0.085 to +1.185)      2.0",
        "                   pretrained, two phases     0.850  +0.450 (-0.185 to +1.085)      2.0",
    ]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([*SMALL, *CERTAIN], "20 images or fewer and 2.0 s (0.850, 0.215 to 1.485): 90% less data, 95% less time."),
        ([*POOR, *CERTAIN], "200 images and 10.0 s (0.900, 0.900 to 0.900): as much data, 75% less time."),
        ([*SMALL, *trials(100, [0.9, 0.9], [0.7, 0.7], (1.0, 1.0))], "90% less data, 100% more time."),
        (trials(100, [0.5, 0.6], [0.8, 0.8], (1.0, 1.0)), "more images than there were; transfer saves nothing"),
    ],
)  # fmt: skip
def test_what_is_saved_counts_measured_sizes_only(sizes, said):
    title, all_layers, two_phases = savings(by_size(sizes), chance=0.05).splitlines()
    assert title.startswith("On average, what random weights reach with 200 images in ") and title.endswith(" takes")
    assert all_layers.startswith("  pretrained, all layers: ") and two_phases.startswith("  pretrained, two phases: ")
    assert said in two_phases


def test_nothing_is_saved_where_random_weights_learn_nothing():
    said = savings(by_size([*SMALL, *trials(100, [0.9, 0.9], [0.5, 0.6], (1.0, 1.0))]), chance=0.5)
    assert said.startswith("Random weights reach 0.550 with 200 images, no more for certain than the 0.500")


def test_random_weights_are_taken_where_they_need_least_too():
    """Data that are learned from ten images as well as from a hundred: nothing is saved by leaving ninety out."""
    sizes = [*trials(10, [0.7, 0.7], [0.7, 0.7], (2.0, 5.0)), *trials(100, [0.7, 0.7], [0.7, 0.7], (2.0, 50.0))]
    title, _, two_phases = savings(by_size(sizes), chance=0.1).splitlines()
    assert "20 images in 5.0 s" in title and two_phases.endswith(": as much data, 60% less time.")


def test_a_size_counts_only_if_all_larger_ones_reach_it_too():
    sizes = [*trials(10, [0.9, 0.9], [0.3, 0.3], (1, 1)), *trials(50, [0.7, 0.7], [0.5, 0.5], (2, 2)),
             *trials(100, [0.9, 0.9], [0.8, 0.8], (4, 4))]  # fmt: skip
    assert "two phases: 200 images and 4.0 s (0.900, 0.900 to 0.900): as much data, as much time." in savings(
        by_size(sizes), 0.1
    )


def test_the_plot(tmp_path):
    plot_learning_curve(by_size([*SMALL, *LARGE]), "digits, 269 test images", tmp_path / "gain.png")
    with Image.open(tmp_path / "gain.png") as image:
        assert image.width > 600
