import pytest


@pytest.fixture
def training():
    import training

    return training


@pytest.fixture
def size(training):
    model = training.PlainConfig(vocabulary=300, context=32, width=12, n_layers=2, n_heads=3)
    return training.Size(
        name="tiny",
        model=model,
        batch_size=2,
        window=16,
        text_bytes=20_000,
        assignments=("train.compile=false",),
    )


def job_of(training, size, place, variant):
    return training.Job(
        size=size,
        variant=variant,
        place=str(place),
        warm_up=1,
        steps=3,
        minutes=5.0,
        threads=1,
        **training.prepare_text(size, place),
    )


def test_arithmetic_counts_the_layers_the_output_matrix_and_causal_attention(training, size):
    from plain_training import PlainGPT2

    model = PlainGPT2(size.model)
    embeddings = model.tokens.weight.numel() + model.positions.weight.numel()
    assert size.layer_parameters == sum(parameter.numel() for parameter in model.parameters()) - embeddings
    attention = 12 * 2 * 12 * 16 // 2
    assert size.flops_per_token == 6 * size.layer_parameters + 6 * 300 * 12 + attention


def test_both_sides_are_timed_on_the_same_text(training, size, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "headway").mkdir()
    plain = training.plain_timing(job_of(training, size, tmp_path / "plain", "plain eager fp32"))
    ours = training.headway_timing(job_of(training, size, tmp_path / "headway", training.HEADWAY))
    for timing in (plain, ours):
        assert len(timing.seconds) == 3
        assert min(timing.seconds) > 0
    assert ours.chosen["compile"] is False
    assert set(ours.chosen) == {"compile", "precision", "optimizer"}
    assert not (tmp_path / "headway" / "headway-run").exists()


def test_a_budget_that_ends_before_the_steps_is_said(training, size, tmp_path):
    from dataclasses import replace

    with pytest.raises(SystemExit, match="give more --minutes"):
        training.headway_timing(replace(job_of(training, size, tmp_path, training.HEADWAY), minutes=1e-6))


def made_up_result(training, size, variants):
    speeds = {"plain eager fp32": 8.0, "plain compiled bf16": 2.0, "plain compiled fp32": 4.0, "headway default": 1.0}
    timings = {
        name: training.figures(size, [training.Timing(seconds=[speeds[name]] * 2, peak_memory=10**6, chosen={})])
        for name in variants
    }
    peaks = {"fp32": 1.0, "bf16": 2.0} if "plain compiled bf16" in variants else {"fp32": 1.0}
    return {
        "size": "tiny",
        "tokens_per_step": 32,
        "flops_per_token": size.flops_per_token,
        "peak_gflops": peaks,
        "variants": timings,
    }


def test_the_table_gives_each_ratio_to_the_plain_trainings(training, size):
    text = training.table(made_up_result(training, size, [*training.PLAIN, training.HEADWAY]))
    (ours,) = [line for line in text.splitlines() if line.startswith("headway default")]
    assert ours.split()[-3:] == ["8.00", "2.00", "4.00"]


def test_a_variant_left_out_is_named(training, size):
    variants = ["plain eager fp32", "plain compiled fp32", training.HEADWAY]
    text = training.table(made_up_result(training, size, variants))
    assert "no bfloat16 arithmetic: plain compiled bf16" in text
    (ours,) = [line for line in text.splitlines() if line.startswith("headway default")]
    assert ours.split()[-2:] == ["8.00", "4.00"]
