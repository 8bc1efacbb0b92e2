"""The scheduler: each job's tokens are its own whatever the load, and nothing is kept of a job that is over."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from small_writers import PATIENCE, VOCABULARY, Client, Watched, prompt_of, small_gpt2, small_writer, written_alone

from headway.decoding.choice import Choice
from headway.decoding.scoring import score
from headway.errors import ConfigError, ContextError, UsageError
from headway.serve.jobs import Cut, Event, Failed, Handle, Late, PromptScores, Refused, StepFigures, Token, WritingJob
from headway.serve.limits import Limits
from headway.serve.scheduler import Scheduler
from headway.tasks.continuation import Continuation
from headway.tasks.writer import Writer
from headway.text.tokenizer import Tokenizer

GREEDY = Choice(temperature=0)


@contextmanager
def serving(model: Any, *, started: bool = True, **limits: Any) -> Iterator[Scheduler]:
    scheduler = Scheduler(model, vocabulary=VOCABULARY, limits=Limits(**limits))
    if started:
        scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.close(0.0)
        assert not [thread for thread in threading.enumerate() if thread.name == "headway-scheduler"]


def random_job(chance: random.Random) -> WritingJob:
    choice = Choice(
        temperature=chance.choice([0.0, 0.7, 1.0]),
        top_k=chance.choice([None, 7]),
        top_p=chance.choice([None, 0.9]),
        repetition_penalty=chance.choice([1.0, 1.3]),
        seed=chance.randrange(1000),
    )
    shared = list(prompt_of(70))[: chance.choice([0, 64, 70])]  # some begin alike, so that the cache serves them
    own = [chance.randrange(VOCABULARY) for _ in range(chance.choice([1, 3, 11, 40]))]
    return WritingJob(
        prompt_ids=shared + own,
        choice=choice,
        max_new_tokens=chance.choice([1, 2, 7, 19, 47]),
        samples=chance.choice([1, 1, 1, 2, 3]),
        stop_ids=frozenset(chance.choice([[], [3, 17]])),
        logprobs=chance.choice([None, 2]),
        client=chance.choice("abc"),
    )


@pytest.mark.parametrize("kind", ["torch", "engine"])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_job_of_a_random_load_writes_what_it_writes_alone(kind: str, seed: int) -> None:
    chance = random.Random(seed)
    model = small_writer(kind)
    jobs = [random_job(chance) for _ in range(40)]
    stays = [chance.random() < 0.7 for _ in jobs]
    clients: list[Client] = []
    with serving(model, rows=6, prefill_chunk=24, prefix_cache_tokens=400) as scheduler:
        for job, stay in zip(jobs, stays, strict=True):
            clients.append(Client())
            handle = scheduler.submit(job, clients[-1])
            if not stay:
                leaves_after = chance.choice([0, 1, 5])
                clients[-1].wait_until(lambda client, n=leaves_after: len(client.events) >= n or client.n_ended() > 0)
                handle.cancel()
        for job, stay, client in zip(jobs, stays, clients, strict=True):
            if stay:
                client.wait(job.samples)
        assert scheduler.close(PATIENCE)
        assert scheduler.figures().rows == scheduler.figures().prompt_tokens == 0
        assert scheduler.figures().cache_hits > 0
    for job, stay, client in zip(jobs, stays, clients, strict=True):
        assert client.error is None
        for sample, ids in enumerate(written_alone(model, job)):
            if stay:
                assert client.ids(sample) == ids
            else:
                assert client.ids(sample) == ids[: len(client.ids(sample))]


def test_logprobs_and_alternatives_are_those_of_the_model() -> None:
    model = small_gpt2()
    prompt = prompt_of(11)
    with serving(model) as scheduler:
        client = Client()
        scheduler.submit(WritingJob(prompt_ids=prompt, choice=Choice(seed=3), max_new_tokens=9, logprobs=3), client)
        client.wait()
    tokens = client.tokens[0]
    teacher = score(model, [*prompt, *client.ids()])[len(prompt) :]
    assert [token.logprob for token in tokens] == pytest.approx(teacher, abs=1e-4)
    assert all(len(token.top) == 3 for token in tokens)
    assert [token.at_monotonic for token in tokens] == sorted(token.at_monotonic for token in tokens)
    assert tokens[0].emitted().id == tokens[0].id


@pytest.mark.parametrize("kind", ["torch", "engine"])
def test_a_scored_prompt_has_the_offline_scores_and_then_the_same_continuation(kind: str) -> None:
    model = small_writer(kind)
    prompt = prompt_of(53)
    job = WritingJob(prompt_ids=prompt, choice=GREEDY, max_new_tokens=5, samples=2, logprobs=4, score_prompt=True)
    with serving(model, prefill_chunk=7) as scheduler:
        client = Client()
        scheduler.submit(job, client)
        client.wait(2)
    assert isinstance(client.events[0], PromptScores)
    assert client.scores is not None
    assert list(client.scores.logprobs) == pytest.approx(score(model, prompt), abs=1e-4)
    assert [client.ids(0), client.ids(1)] == written_alone(model, job)
    assert client.scores.tops[0] == ()
    for own, logprob, top in list(zip(prompt, client.scores.logprobs, client.scores.tops, strict=True))[1:]:
        assert len(top) == 4
        assert [value for _, value in top] == sorted((value for _, value in top), reverse=True)
        assert logprob is not None and logprob <= top[0][1]
        assert dict(top).get(own, logprob) == pytest.approx(logprob)


def test_a_prompt_may_be_scored_and_not_continued() -> None:
    with serving(small_gpt2()) as scheduler:
        client = Client()
        scheduler.submit(WritingJob(prompt_ids=[3, 5], choice=GREEDY, max_new_tokens=0, score_prompt=True), client)
        client.wait_until(lambda client: client.scores is not None)
        assert scheduler.close(PATIENCE)
    assert len(client.events) == 1


def test_a_long_prompt_is_read_and_scored_in_chunks_while_others_write() -> None:
    model = Watched(small_gpt2(context=2003))
    order: list[str] = []
    with serving(model, started=False, prefill_chunk=16, prefix_cache_tokens=0) as scheduler:
        scored = Client(lambda event: order.append("scored" if isinstance(event, PromptScores) else "continued"))
        writes = Client(lambda event: order.append("token"))
        long = prompt_of(160)
        scheduler.submit(WritingJob(prompt_ids=[2], choice=GREEDY, max_new_tokens=40), writes)
        scheduler.submit(WritingJob(prompt_ids=long, choice=GREEDY, max_new_tokens=1, score_prompt=True), scored)
        scheduler.start()
        writes.wait()
        scored.wait()
    assert max(model.widths_at_steps) <= 16
    assert order.index("scored") >= 9  # a token of the other came with each chunk
    assert order.index("continued") >= order.index("scored") + 9


def test_a_client_with_a_hundred_jobs_does_not_hold_up_one_with_one() -> None:
    ended: list[str] = []
    with serving(small_gpt2(), started=False, rows=2) as scheduler:
        clients = []
        for who in ["crowd"] * 100 + ["single"]:
            clients.append(Client(lambda event, who=who: ended.append(who) if event.finish_reason else None))
            scheduler.submit(WritingJob(prompt_ids=[3, 5], choice=GREEDY, max_new_tokens=3, client=who), clients[-1])
        scheduler.start()
        for client in clients:
            client.wait()
    assert ended.index("single") <= 1
    assert len(ended) == 101


def test_clients_with_many_jobs_get_equal_shares_and_keep_their_order() -> None:
    began: list[tuple[str, int]] = []
    with serving(small_gpt2(), started=False, rows=3) as scheduler:
        clients = []
        for who in "abc":
            for number in range(7):

                def noted(event: Event, who: str = who, number: int = number) -> None:
                    if (who, number) not in began:
                        began.append((who, number))

                clients.append(Client(noted))
                job = WritingJob(prompt_ids=[3, 5, number], choice=GREEDY, max_new_tokens=4, client=who)
                scheduler.submit(job, clients[-1])
        scheduler.start()
        for client in clients:
            client.wait()
    for who in "abc":
        assert [number for one, number in began if one == who] == list(range(7))
    for n in range(3, 22, 3):
        counts = [sum(one == who for one, _ in began[:n]) for who in "abc"]
        assert max(counts) - min(counts) <= 1


def test_a_full_queue_refuses_with_a_time_and_takes_on_again_when_there_is_room() -> None:
    model = Watched(small_gpt2())
    model.gate.clear()
    job = WritingJob(prompt_ids=[3, 5], choice=GREEDY, max_new_tokens=2)
    with serving(model, rows=1, queue=3) as scheduler:
        first = Client()
        scheduler.submit(job, first)
        while scheduler.figures().running == 0:
            pass
        waiting = [Client() for _ in range(3)]
        handles = [scheduler.submit(job, client) for client in waiting]
        with pytest.raises(Refused, match="3 requests wait") as refused:
            scheduler.submit(job, Client())
        assert 1 <= refused.value.retry_after_s <= 60
        handles[1].cancel()  # its place is free at once, though no step ends
        last = Client()
        scheduler.submit(job, last)
        model.gate.set()
        for client in (first, waiting[0], waiting[2], last):
            client.wait()
            assert client.error is None
        assert waiting[1].events == []


def test_the_tokens_of_all_prompts_together_are_bounded() -> None:
    model = Watched(small_gpt2())
    model.gate.clear()
    job = WritingJob(prompt_ids=prompt_of(40), choice=GREEDY, max_new_tokens=2)
    with serving(model, rows=4, prompt_tokens=100) as scheduler:
        clients = [Client(), Client()]
        for client in clients:
            scheduler.submit(job, client)
        with pytest.raises(Refused, match="80 tokens of prompts"):
            scheduler.submit(job, Client())
        with pytest.raises(UsageError, match="100 tokens"):
            scheduler.submit(WritingJob(prompt_ids=prompt_of(101), choice=GREEDY, max_new_tokens=2), Client())
        model.gate.set()
        for client in clients:
            client.wait()
        clients.append(Client())
        scheduler.submit(job, clients[-1])
        clients[-1].wait()


def test_a_job_past_its_time_fails_whether_it_runs_or_waits() -> None:
    with serving(small_gpt2(), rows=1) as scheduler:
        runs, waits, after = Client(), Client(), Client()
        endless = WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=10**9, deadline_s=0.3)
        scheduler.submit(endless, runs)
        scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=1, deadline_s=0.05), waits)
        scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=3), after)
        for client in (runs, waits, after):
            client.wait()
    assert isinstance(runs.error, Late) and len(runs.ids()) > 0
    assert isinstance(waits.error, Late) and waits.ids() == []
    assert "0.3 s" in str(runs.error)
    assert after.error is None and len(after.ids()) == 3


def test_no_job_is_given_more_time_than_the_limit() -> None:
    with serving(small_gpt2(), deadline_s=0.05) as scheduler:
        client = Client()
        job = WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=10**9, deadline_s=1e6)
        scheduler.submit(job, client)
        client.wait()
    assert isinstance(client.error, Late)


def test_a_cancelled_job_has_no_row_in_the_next_step_and_delivers_nothing_more() -> None:
    model = Watched(small_gpt2())
    handles: list[Handle] = []
    steps_at_cancel: list[int] = []

    def leave(event: Event) -> None:
        assert isinstance(event, Token)
        if event.sample == 1 and len(client.ids(1)) == 4:
            handles[0].cancel()
            steps_at_cancel.append(len(model.rows_at_steps))

    with serving(model, started=False) as scheduler:
        client, stays = Client(leave), Client()
        handles.append(
            scheduler.submit(WritingJob(prompt_ids=[3], choice=Choice(seed=1), max_new_tokens=10**9, samples=3), client)
        )
        scheduler.submit(WritingJob(prompt_ids=[5], choice=GREEDY, max_new_tokens=30), stays)
        scheduler.start()
        stays.wait()
        assert scheduler.figures().rows == 0
    assert set(model.rows_at_steps[steps_at_cancel[0] :]) == {1}
    assert [len(client.ids(sample)) for sample in range(3)] == [4, 4, 3]
    assert client.error is None
    handles[0].cancel()  # over already: nothing happens


def test_one_sample_can_be_let_go_and_the_others_go_on() -> None:
    model = small_gpt2()
    job = WritingJob(prompt_ids=[3, 7], choice=Choice(seed=1), max_new_tokens=12, samples=3)
    handles: list[Handle] = []

    def leave(event: Event) -> None:
        if isinstance(event, Token) and event.sample == 1 and len(client.ids(1)) == 2:
            handles[0].cancel(1)

    with serving(model, started=False) as scheduler:
        client = Client(leave)
        handles.append(scheduler.submit(job, client))
        scheduler.start()
        client.wait(2)
        assert scheduler.close(PATIENCE)
    alone = written_alone(model, job)
    assert [client.ids(sample) for sample in range(3)] == [alone[0], alone[1][:2], alone[2]]


def test_cancelling_while_waiting_or_while_the_prompt_is_scored_frees_everything() -> None:
    model = Watched(small_gpt2(context=2003))
    with serving(model, rows=1, prefill_chunk=2) as scheduler:
        first = scheduler.submit(
            WritingJob(prompt_ids=prompt_of(1500), choice=GREEDY, max_new_tokens=3, score_prompt=True), Client()
        )
        second = scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=3), Client())
        second.cancel()
        first.cancel()
        assert scheduler.figures().prompt_tokens == scheduler.figures().queued == scheduler.figures().running == 0
        third = Client()
        scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=3), third)
        third.wait()


def test_a_failing_step_fails_the_jobs_in_it_and_later_jobs_are_served(caplog: pytest.LogCaptureFixture) -> None:
    model = Watched(small_gpt2())
    job = WritingJob(prompt_ids=[3, 5], choice=GREEDY, max_new_tokens=6, samples=2)
    with serving(model) as scheduler:
        model.fail = RuntimeError("the device is gone")
        failed = Client()
        scheduler.submit(job, failed)
        failed.wait()
        assert isinstance(failed.error, RuntimeError)
        assert len([event for event in failed.events if isinstance(event, Failed)]) == 1
        served = Client()
        scheduler.submit(job, served)
        served.wait(2)
        assert scheduler.figures().prompt_tokens == 0
    assert [served.ids(0), served.ids(1)] == written_alone(small_gpt2(), job)
    assert "a step of the model failed" in caplog.text


def test_a_bias_that_forbids_every_id_fails_its_own_job_alone() -> None:
    nothing = Choice(bias=dict.fromkeys(range(VOCABULARY), float("-inf")))
    model = small_gpt2()
    job = WritingJob(prompt_ids=[3, 5], choice=Choice(seed=2), max_new_tokens=9)
    with serving(model, started=False) as scheduler:
        good, bad, late = Client(), Client(), Client()
        scheduler.submit(job, good)
        scheduler.submit(WritingJob(prompt_ids=[7], choice=nothing, max_new_tokens=9, samples=2), bad)
        overflows = Choice(repetition_penalty=1e-308, temperature=0)  # of the first token written, not of the prompt
        scheduler.submit(WritingJob(prompt_ids=[7], choice=overflows, max_new_tokens=9), late)
        scheduler.start()
        for client in (good, bad, late):
            client.wait()
    assert isinstance(bad.error, ConfigError) and bad.ids() == []
    assert isinstance(late.error, ConfigError)
    assert good.ids() == written_alone(model, job)[0]


def test_a_client_whose_delivery_fails_is_let_go_and_the_others_do_not_notice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(event: Event) -> None:
        raise OSError("gone")

    with serving(small_gpt2()) as scheduler:
        scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=10**9), breaks)
        good = Client()
        scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=9), good)
        good.wait()
        assert scheduler.close(PATIENCE)
    assert "could not be delivered" in caplog.text


def test_closing_lets_jobs_end_within_the_grace_and_takes_on_no_more() -> None:
    model = Watched(small_gpt2())
    model.gate.clear()
    with serving(model, rows=1) as scheduler:
        clients = [Client() for _ in range(5)]
        for client in clients:
            scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=9), client)
        closed: list[bool] = []
        closing = threading.Thread(target=lambda: closed.append(scheduler.close(PATIENCE)))
        closing.start()
        with pytest.raises(Refused, match="closing"):
            while True:  # until the other thread is in close
                scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=1), Client())
        model.gate.set()
        closing.join(PATIENCE)
    assert closed == [True]
    assert all(len(client.ids()) == 9 for client in clients)


def test_what_is_not_done_when_the_grace_is_over_fails_as_cut() -> None:
    with serving(small_gpt2(), rows=1) as scheduler:
        runs, waits = Client(), Client()
        for client in (runs, waits):
            scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=10**9), client)
        runs.wait_until(lambda client: len(client.events) > 2)
        assert not scheduler.close(0.01)
        assert isinstance(runs.error, Cut)
        assert isinstance(waits.error, Cut) and len(waits.events) == 1


def test_closing_what_never_started_cuts_what_waits() -> None:
    scheduler = Scheduler(small_gpt2(), vocabulary=VOCABULARY, limits=Limits())
    client = Client()
    scheduler.submit(WritingJob(prompt_ids=[3], choice=GREEDY, max_new_tokens=9), client)
    assert not scheduler.close(1.0)
    assert isinstance(client.error, Cut)
    assert Scheduler(small_gpt2(), vocabulary=VOCABULARY, limits=Limits()).close(0.0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"prompt_ids": []}, UsageError),
        ({"prompt_ids": [VOCABULARY]}, UsageError),
        ({"choice": Choice(bias={VOCABULARY: 1.0})}, UsageError),
        ({"samples": 5}, UsageError),
        ({"samples": 0}, UsageError),
        ({"max_new_tokens": -1}, UsageError),
        ({"max_new_tokens": -1, "score_prompt": True}, UsageError),
        ({"max_new_tokens": 0}, UsageError),
        ({"logprobs": -1}, UsageError),
        ({"deadline_s": 0.0}, UsageError),
        ({"deadline_s": float("nan")}, UsageError),
        ({"prompt_ids": prompt_of(84), "score_prompt": True}, ContextError),
    ],
)
def test_what_can_never_be_is_refused_at_once(changes: dict[str, Any], error: type[Exception]) -> None:
    sound: dict[str, Any] = {"prompt_ids": [3], "choice": GREEDY, "max_new_tokens": 3}
    with serving(small_gpt2(), rows=4) as scheduler:
        with pytest.raises(error):
            scheduler.submit(WritingJob(**{**sound, **changes}), Client())
        assert scheduler.figures().queued == scheduler.figures().prompt_tokens == 0


@pytest.mark.parametrize("name", ["rows", "queue", "prompt_tokens", "prefill_chunk", "deadline_s"])
@pytest.mark.parametrize("value", [0, -1, True, "3", float("nan")])
def test_limits_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        Limits(**{name: value})


def test_every_step_is_told_of() -> None:
    seen: list[StepFigures] = []
    scheduler = Scheduler(small_gpt2(), vocabulary=VOCABULARY, limits=Limits(rows=2), on_step=seen.append)
    clients = [Client() for _ in range(3)]
    for client in clients:
        scheduler.submit(WritingJob(prompt_ids=[3, 5], choice=GREEDY, max_new_tokens=4), client)
    scheduler.start()
    for client in clients:
        client.wait()
    assert scheduler.close(PATIENCE)
    assert sum(figures.tokens for figures in seen) == 12
    assert max(figures.rows for figures in seen) == 2
    assert seen[0].queued == 1
    assert all(figures.seconds >= 0 for figures in seen)


def test_an_observer_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def observe(figures: StepFigures) -> None:
        raise OSError("full")

    scheduler = Scheduler(small_gpt2(), vocabulary=VOCABULARY, limits=Limits(), on_step=observe)
    scheduler.start()
    client = Client()
    scheduler.submit(WritingJob(prompt_ids=[3, 5], choice=GREEDY, max_new_tokens=4), client)
    client.wait()
    assert scheduler.close(PATIENCE)
    assert len(client.ids()) == 4
    assert "an observer of the steps failed" in caplog.text


def test_a_served_text_is_that_of_a_writer() -> None:
    tokenizer = Tokenizer.load("gpt2")
    model = small_gpt2(vocabulary=tokenizer.size)
    settings: dict[str, Any] = {"temperature": 0.9, "top_k": 40, "seed": 11}
    results = Writer.of(model, tokenizer).write("Once upon", max_new_tokens=20, samples=2, **settings)
    scheduler = Scheduler(model, vocabulary=tokenizer.size, limits=Limits())
    scheduler.start()
    client = Client()
    job = WritingJob(
        prompt_ids=tokenizer.encode("Once upon"),
        choice=Choice(**settings),
        max_new_tokens=20,
        samples=2,
        stop_ids=frozenset([tokenizer.end_of_text or 0]),
    )
    scheduler.submit(job, client)
    client.wait(2)
    assert scheduler.close(PATIENCE)
    for sample, result in enumerate(results):
        continuation = Continuation(tokenizer, (), 11)
        pieces = [continuation.push(token.emitted()) for token in client.tokens[sample]]
        assert "".join(piece.text for piece in pieces) == result.text
        assert [token for piece in pieces for token in piece.ids] == result.ids


@pytest.mark.parametrize("cache", [0, 512])
def test_two_thousand_steps_leave_no_more_pages_behind_than_the_cache_may_hold(cache: int) -> None:
    model = small_writer("engine")
    chance = random.Random(3)
    steps = 0
    most = 0

    def counted(figures: StepFigures) -> None:
        nonlocal steps, most
        steps += 1
        most = max(most, model.start(rows=0).pages_out)

    limits = Limits(rows=3, prefix_cache_tokens=cache, prefill_chunk=16)
    scheduler = Scheduler(model, vocabulary=VOCABULARY, limits=limits, on_step=counted)
    scheduler.start()
    while steps < 2000:
        clients = [Client() for _ in range(12)]
        for client in clients:
            job = random_job(chance)
            scheduler.submit(job, client)
        for client in clients:
            client.wait_until(lambda client: client.n_ended() > 0)
        assert scheduler.figures().cache_tokens <= cache
    assert scheduler.close(PATIENCE)
    pages_of_rows = 2 * 3 * (83 // 16 + 1)  # reading and writing
    assert 0 < most <= pages_of_rows + cache // 16 * 2
    assert model.start(rows=0).pages_out == 0


def test_room_is_refused_for_as_long_as_the_queue_is_full() -> None:
    model = Watched(small_gpt2())
    with serving(model, rows=1, queue=2) as scheduler:
        scheduler.require_room()
        model.gate.clear()
        job = WritingJob(prompt_ids=prompt_of(3), choice=GREEDY, max_new_tokens=2)
        clients = [Client() for _ in range(3)]
        scheduler.submit(job, clients[0])
        while scheduler.figures().queued:  # until the first has its row
            pass
        for client in clients[1:]:
            scheduler.submit(job, client)
        with pytest.raises(Refused) as refused:
            scheduler.require_room()
        assert refused.value.retry_after_s >= 1.0
        model.gate.set()
        for client in clients:
            client.wait()
        scheduler.require_room()
