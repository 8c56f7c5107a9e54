from stages.report.tables.selection import choose_groups

IDS = [f"p{index}" for index in range(20)]
GAINS = {prompt_id: index / 10 - 1 for index, prompt_id in enumerate(IDS)}


def test_best_and_worst_are_the_ends_of_the_ranking():
    best, worst, _ = choose_groups(IDS, GAINS, "binding", 3, seed=0)
    assert best.prompt_ids == ("p19", "p18", "p17")
    assert worst.prompt_ids == ("p0", "p1", "p2")
    assert "The 3 highest of 20 held-out prompts by change in binding" in best.rule


def test_no_prompt_is_among_the_best_and_the_worst():
    best, worst, _ = choose_groups(IDS[:3], {key: GAINS[key] for key in IDS[:3]}, "binding", 6, seed=0)
    assert (best.prompt_ids, worst.prompt_ids) == (("p2",), ("p0",))


def test_random_sample_depends_on_the_seed_alone():
    samples = [
        choose_groups(IDS, gains, "binding", 5, seed)[-1].prompt_ids
        for gains, seed in ((GAINS, 1), (GAINS, 2), ({key: -gain for key, gain in GAINS.items()}, 1))
    ]
    assert samples[0] == samples[2]
    assert samples[0] != samples[1]
    assert len(set(samples[0])) == 5


def test_sample_of_one_prompt_does_not_depend_on_the_others_order():
    assert choose_groups(IDS[::-1], GAINS, "b", 5, 1)[-1] == choose_groups(IDS, GAINS, "b", 5, 1)[-1]


def test_without_scores_there_is_only_the_random_sample():
    groups = choose_groups(IDS, {}, "", 4, seed=0)
    assert [group.title for group in groups] == ["Random sample"]
    assert len(groups[0].prompt_ids) == 4
