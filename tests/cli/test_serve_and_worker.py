"""`serve` and `worker` as processes: where jobs are, who works on them, and how they stop."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli.processes import SCRIPTED, SLOW, Process, address, running
from typer.testing import CliRunner

from pi_integrations import PiClient, PiStatusError, PiUsageError, RetryPolicy
from pi_integrations.cli.app import app
from pi_integrations.cli.engine_options import EngineOptions, where_jobs_are
from pi_integrations.models import JobState


def client_of(serve: Process) -> PiClient:
    return PiClient(base_url=address(serve), retry=RetryPolicy(attempts=1))


def test_serve_runs_jobs_and_stops_at_once_while_they_are_followed(tmp_path: Path) -> None:
    """It says where jobs are kept; SIGTERM ends the streams, and the next engine goes on with the job."""
    options = ("serve", "--port", "0", "--data-dir", str(tmp_path))
    with running(*options, "--generator", SLOW) as serve:
        client = client_of(serve)
        serve.says(rf"keeps jobs in {tmp_path}, for 30 days.*generator {SLOW}")
        job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=60, seeds=[])
        assert next(iter(job.data())).llm_input
        with_stream = job.messages()
        assert next(with_stream) == "LAUNCHING"
        status, seconds = serve.stop(signal.SIGTERM)
    assert status == 0
    assert seconds < 10
    with running(*options, "--generator", SCRIPTED, "--judge", "object:embedded_objects:judge") as again:
        rows = client_of(again).data.generate_input_response_pairs.job(job.job_id).result().data
        assert rows is not None
        assert len({row.llm_input for row in rows}) == 60
        assert again.stop(signal.SIGINT)[0] == 0


def test_a_stopped_engine_answers_what_it_took() -> None:
    """SIGTERM while a request is in flight: it is answered, then the process ends."""
    options = ("--port", "0", "--judge", "object:embedded_objects:slow_judge", "--api-key", "k", "--no-jobs")
    with running("serve", *options) as serve, ThreadPoolExecutor() as pool:
        client = PiClient(base_url=address(serve), api_key="k", retry=RetryPolicy(attempts=1))
        asked = {"llm_input": "", "llm_output": "Hi", "scoring_spec": [{"question": "q"}]}
        with pytest.raises(PiStatusError, match="no jobs"):
            client.data.generate.list()
        answer = pool.submit(client.scoring_system.score, **asked)
        time.sleep(0.3)
        status, _ = serve.stop(signal.SIGTERM)
        assert answer.result().total_score == 0.5
    assert status == 0


def test_a_worker_does_what_an_engine_without_a_generator_takes(tmp_path: Path) -> None:
    """It joins by the data directory, has no port, and stops on SIGINT."""
    folder = ("--data-dir", str(tmp_path))
    with (
        running("worker", *folder, "--generator", SCRIPTED) as worker,
        running("serve", "--port", "0", *folder) as serve,
    ):
        worker.says(r"/data/generate_input_response_pairs, /data/generate, /scoring_system/calibrate; judge baseline")
        client = client_of(serve)
        serve.says("it has no generator")
        job = client.data.generate.start_job(num_inputs_to_generate=5, seeds=["Where is my order?"])
        assert len(list(job.data())) == 5
        assert job.status().state is JobState.DONE
        assert worker.stop(signal.SIGINT)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve", "--host", "no.such.host.invalid", "--api-key", "k"), "cannot listen on no.such.host.invalid"),
        (("serve", "--generator-price", "1"), "INPUT,OUTPUT"),
        (("serve", "--database-url", "mysql://u:hush@h/d"), "postgresql://"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_wrong_options_are_told_with_the_remedy(arguments: tuple[str, ...], says: str) -> None:
    """Before anything is bound or kept; no password in it."""
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, PiUsageError)
    assert says in str(result.exception)
    assert "hush" not in str(result.exception)


def test_options_win_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given comes from PI_ENGINE_*; secrets have no option."""
    monkeypatch.setenv("PI_ENGINE_RETENTION_DAYS", "3")
    monkeypatch.setenv("PI_ENGINE_GENERATOR", "chat:environment:model")
    monkeypatch.setenv("PI_ENGINE_WEBHOOK_SECRET", "hush")
    given = EngineOptions(
        data_dir=tmp_path, generator="chat:option:model", generator_price="0.4,1.6", webhook_hosts=("hooks.example",)
    )
    settings = given.settings()
    assert settings.jobs is not None
    assert (settings.jobs.data_dir, settings.jobs.retention_days) == (tmp_path, 3.0)
    assert settings.jobs.webhook_hosts == ("hooks.example",)
    assert settings.generator == "chat:option:model"
    assert settings.generator_prices == {"input_per_million": 0.4, "output_per_million": 1.6}
    assert EngineOptions().settings().generator == "chat:environment:model"


def test_where_jobs_are_is_said_without_a_password() -> None:
    """As `serve` and `worker` print it."""
    options = EngineOptions(database_url="postgresql://pi:hush@db/jobs", retention_days=0)
    assert where_jobs_are(options.settings()) == "keeps jobs in postgresql://pi:***@db/jobs, for ever"


def test_no_jobs_contradicts_what_is_for_jobs(tmp_path: Path) -> None:
    """Instead of dropping the one or the other."""
    assert EngineOptions(jobs=False).settings().jobs is None
    with pytest.raises(PiUsageError, match="--data-dir, --generator and --no-jobs"):
        EngineOptions(jobs=False, data_dir=tmp_path, generator=SCRIPTED).settings()
    with pytest.raises(PiUsageError, match="--retention-days, --webhook-host and --no-jobs"):
        EngineOptions(jobs=False, retention_days=3, webhook_hosts=("hooks.example",)).settings()
