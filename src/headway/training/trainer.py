"""The one training loop. It knows no family and no data: a model, an objective, a budget, a folder.

Whatever moves numbers is a function of the recipe and the step: the batch, the dropout (torch is seeded anew at every
step), the learning rate. So a run that is killed and resumed ends bit for bit where it would have ended (on a CPU).
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from headway.errors import Interrupted, TrainingError
from headway.training.averaging import averaged, remember_weights
from headway.training.checkpoint import RunState, save_checkpoint
from headway.training.interruption import StopRequest, stop_requests
from headway.training.memory import memory_in_use
from headway.training.objectives import Objective
from headway.training.optimizer import Optimizers
from headway.training.pace import Pace
from headway.training.recipe import TrainSettings
from headway.training.report import Evaluation, Metrics, Progress, Reporter
from headway.training.schedule import Budget, learning_rate
from headway.training.spikes import remember, stands_out

_SAVE_SECONDS = 60.0
_REPORT_SECONDS = 15.0  # steps of a large model are slow: a line at least so often


@dataclass(frozen=True, kw_only=True)
class Outlets:
    """Where a run leaves things: its training folder, its reporter, the best weights, the sample of now."""

    training: Path
    reporter: Reporter
    keep_best: Callable[[nn.Module], None]
    sample: Callable[[nn.Module], str | None]


class Trainer:
    """Trains a model until the budget is spent, and leaves a checkpoint whatever happens."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizers,
        objective: Objective,
        settings: TrainSettings,
        budget: Budget,
        outlets: Outlets,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._objective = objective
        self._settings = settings
        self._budget = budget
        self._outlets = outlets
        assert settings.evaluations is not None
        self._evaluations = settings.evaluations
        self._device = next(model.parameters()).device

    def run(self, state: RunState, *, began: float) -> RunState:
        """Go on from `state` to the end of the budget; `began` is the time.monotonic() from which seconds count.

        Raises Interrupted after a signal and TrainingError where loss or gradient is not finite; either way the last
        checkpoint is whole, and after a signal it is of the step the run was in.
        """
        self._began = began - state.seconds
        self._metrics = Metrics(self._outlets.training / "metrics.jsonl", up_to=state.step)
        self._saved_at = self._reported_at = time.monotonic()
        self._pace = Pace()
        self._evaluated_at: int | None = None
        with stop_requests() as request:
            while self._budget.progress(state.step, self._seconds(state)) < 1.0 and not self._stale(state):
                state = self._advance(state)
                state = self._evaluate_if_due(state)
                self._save_if_due(state, request)
            if self._stale(state):
                self._outlets.reporter.note(
                    f"stops early at step {state.step}: the last {state.stale} evaluations were no better than that of "
                    f"step {state.best_step}, whose weights are kept; --set train.patience=0 goes on to the end"
                )
            if self._evaluated_at != state.step:  # a budget in minutes can end between two evaluations
                state = self._evaluate(state)
            state = self._try_mean(state)
            state = replace(state, seconds=self._seconds(state), finished=True)
            self._save(state)
        return state

    def _stale(self, state: RunState) -> bool:
        return bool(self._settings.patience) and state.stale >= (self._settings.patience or 0)

    def _seconds(self, state: RunState) -> float:
        return time.monotonic() - self._began

    def _advance(self, state: RunState) -> RunState:
        """One optimiser step."""
        started = time.monotonic()
        progress = self._budget.progress_of_steps(state.step, self._seconds(state), state.prepared)
        rate = learning_rate(self._settings, progress)
        self._optimizer.set_rate(rate)
        torch.manual_seed((self._settings.seed * 1_000_003 + state.step) % 2**63)
        self._model.train()
        self._model.zero_grad(set_to_none=True)
        parts = self._objective.parts(state.step)
        count = sum(part.count for part in parts)
        total = torch.zeros((), device=self._device)
        for part in parts:
            with self._precision():
                loss = self._objective.loss(self._model, part.to(self._device))
            (loss / max(count, 1)).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        learning = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        norm = nn.utils.clip_grad_norm_(learning, self._settings.clip)
        mean, norm_value = float(total) / max(count, 1), float(norm)
        if not (math.isfinite(mean) and math.isfinite(norm_value)):
            raise TrainingError(
                f"loss {mean} with gradient norm {norm_value} at step {state.step + 1}: nothing was updated,\n"
                f"and the last checkpoint in {self._outlets.training} is whole.\n"
                f"Train into another folder with a lower --set train.learning_rate, "
                f"now {self._settings.learning_rate:g}."
            )
        if self._is_spike(state, mean, norm_value):
            self._outlets.reporter.note(
                f"step {state.step + 1} updates nothing: loss {mean:.3f}, gradient norm {norm_value:.3g} are far above "
                f"the latest ones"
            )
        else:
            self._optimizer.step()
        self._pace.add_step(time.monotonic() - started)
        state = replace(
            state,
            step=state.step + 1,
            seconds=self._seconds(state),
            losses=remember(mean, state.losses),
            norms=remember(norm_value, state.norms),
        )
        if state.step % self._settings.log_every == 0 or time.monotonic() - self._reported_at > _REPORT_SECONDS:
            self._report(state, mean, norm_value, rate)
        return state

    def _is_spike(self, state: RunState, loss: float, norm: float) -> bool:
        allowed = self._settings.spike_deviations
        return stands_out(loss, state.losses, allowed) or stands_out(norm, state.norms, allowed)

    def _seconds_left(self, state: RunState) -> float:
        steps = self._budget.steps_left(state.step)
        if steps is None:
            return self._budget.clock_left(state.seconds)
        return self._pace.seconds_left(
            steps=steps,
            evaluations=self._evaluations - state.evaluations,
            save_steps=self._settings.save_every,
            save_seconds=_SAVE_SECONDS,
        )

    def _report(self, state: RunState, loss: float, norm: float, rate: float) -> None:
        progress = Progress(
            step=state.step,
            share=min(self._budget.progress(state.step, state.seconds), 1.0),
            loss=loss,
            bits_per_byte=self._objective.bits_per_byte(loss, training=True),
            learning_rate=rate,
            gradient_norm=norm,
            tokens=state.step * self._objective.tokens_per_step,
            tokens_per_second=self._objective.tokens_per_step / self._pace.seconds_per_step,
            memory=memory_in_use(self._device),
            seconds=state.seconds,
            seconds_left=self._seconds_left(state),
        )
        self._reported_at = time.monotonic()
        self._metrics.add("progress", progress)
        self._outlets.reporter.progress(progress)

    def _evaluate_if_due(self, state: RunState) -> RunState:
        share = min(self._budget.progress(state.step, state.seconds), 1.0)
        return self._evaluate(state) if int(share * self._evaluations) > state.evaluations else state

    def _evaluate(self, state: RunState) -> RunState:
        """Measure the validation text, keep the weights if they are the best so far, write a sample."""
        started = time.monotonic()
        self._evaluated_at = state.step
        loss = self._validation_loss(self._model)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the validation loss is {loss} after step {state.step}: lower --set train.learning_rate "
                f"and train into another folder"
            )
        bits = self._objective.bits_per_byte(loss, training=False)
        scores = self._scores(self._model)
        best = is_best(self._objective.kept_by, loss, scores, state)
        if best:
            self._outlets.keep_best(self._model)
        share = min(self._budget.progress(state.step, state.seconds), 1.0)
        state = replace(state, evaluations=int(share * self._evaluations), stale=state.stale + 1)
        if best:
            state = replace(
                state, best=loss, best_bits_per_byte=bits, best_scores=dict(scores), best_step=state.step, stale=0
            )
        if self._settings.average:
            remember_weights(self._outlets.training, self._model, state.evaluations, self._settings.average)
        evaluation = Evaluation(
            step=state.step,
            validation_loss=loss,
            validation_bits_per_byte=bits,
            best=best,
            seconds=self._seconds(state),
            scores=scores,
        )
        self._metrics.add("evaluation", evaluation)
        self._outlets.reporter.evaluation(evaluation)
        text = self._outlets.sample(self._model)
        if text is not None:
            self._metrics.add_sample(state.step, text)
            self._outlets.reporter.sample(text)
        self._pace.add_evaluation(time.monotonic() - started)
        return state

    def _validation_loss(self, model: nn.Module) -> float:
        """Nats per token of the validation text."""
        model.eval()
        total, count = 0.0, 0
        with torch.no_grad(), self._precision():
            for part in self._objective.validation():
                total += float(self._objective.loss(model, part.to(self._device)))
                count += part.count
        return total / count

    def _scores(self, model: nn.Module) -> Mapping[str, float]:
        """What else the validation data says; the model is in evaluation mode."""
        with torch.no_grad(), self._precision():
            return self._objective.scores(model)

    def _try_mean(self, state: RunState) -> RunState:
        """Keep the mean of the last evaluations' weights where it measures better than any single one."""
        mean = averaged(self._outlets.training, self._model) if self._settings.average else None
        if mean is None:
            return state
        loss, scores = self._validation_loss(mean), dict(self._scores(mean))
        better = is_best(self._objective.kept_by, loss, scores, state)
        self._outlets.reporter.note(
            f"the mean of the last {self._settings.average} evaluations' weights has validation loss {loss:.3f}: "
            f"{'kept' if better else 'no better, so the best single one is kept'}"
        )
        if not better:
            return state
        self._outlets.keep_best(mean)
        bits = self._objective.bits_per_byte(loss, training=False)
        return replace(state, best=loss, best_bits_per_byte=bits, best_scores=scores, best_step=state.step)

    def _save_if_due(self, state: RunState, request: StopRequest) -> None:
        every = self._settings.save_every
        due = state.step % every == 0 if every else time.monotonic() - self._saved_at > _SAVE_SECONDS
        if due or request.signal_number is not None:
            self._save(replace(state, seconds=self._seconds(state)))
        if request.signal_number is not None:
            raise Interrupted(
                f"stopped after step {state.step}; the run is saved, and the same command goes on from there",
                request.signal_number,
            )

    def _save(self, state: RunState) -> None:
        started = time.monotonic()
        save_checkpoint(self._outlets.training, state, self._model, self._optimizer, keep=self._settings.keep)
        self._saved_at = time.monotonic()
        self._pace.add_save(self._saved_at - started)

    def _precision(self) -> AbstractContextManager[None]:
        enabled = self._settings.precision == "bfloat16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=enabled)


def is_best(kept_by: str | None, loss: float, scores: Mapping[str, float], state: RunState) -> bool:
    """Whether weights are better than those kept: by that score, or the loss where it is equal or there is none."""
    if state.best is None:
        return True
    if kept_by is None:
        return loss < state.best
    return (scores[kept_by], -loss) > (state.best_scores[kept_by], -state.best)
