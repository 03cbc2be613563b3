"""A hundred thousand requests in the queue, made by a few statements."""

from benchmarks.http.stage import Stage

COUNTER = "benchmark.done"
"""In Redis: how many plain Celery tasks have run."""

_MODELS = """
WITH reader AS (SELECT * FROM registered_models WHERE name = 'reader'), made AS (
  INSERT INTO registered_models (id, tenant_id, name, dataset_id, network, recipe, policy, status)
  SELECT gen_random_uuid(), tenant_id, 'model-' || n, dataset_id, network, recipe, policy, 'validating'
  FROM reader, generate_series(1, :models) AS n RETURNING id, tenant_id
), tasks AS (
  INSERT INTO model_tasks (registered_model_id, name, tenant_id, position, kind, outputs, remaining)
  SELECT made.id, task.name, made.tenant_id, task.position, task.kind, task.outputs, task.remaining
  FROM made, model_tasks AS task JOIN reader ON reader.id = task.registered_model_id
)
INSERT INTO model_versions (id, tenant_id, registered_model_id, number, artifact_id, state)
SELECT gen_random_uuid(), made.tenant_id, made.id, 1, version.artifact_id, 'published'
FROM made, reader JOIN model_versions AS version ON version.id = reader.head_version_id
"""
_READY = """
UPDATE registered_models AS model SET status = 'ready', head_version_id = version.id
FROM model_versions AS version WHERE version.registered_model_id = model.id AND model.head_version_id IS NULL
"""
_JOBS = """
INSERT INTO jobs (id, tenant_id, kind, registered_model_id, method, accepts_requests, due_at)
SELECT gen_random_uuid(), tenant_id, 'unlearn', id, 'interference_aware', :open,
  now() + make_interval(days => 5 + CAST(random() * 40 AS int))
FROM registered_models, generate_series(1, :each) WHERE name LIKE 'model-%'
"""
_REQUESTS = """
WITH made AS (
  INSERT INTO deletion_requests (id, tenant_id, dataset_id, registered_model_id, job_id, tasks, scope, method,
    instance_count, hash_key_id, due_at, status)
  SELECT gen_random_uuid(), job.tenant_id, model.dataset_id, model.id, job.id, '{digit}', 'partial',
    job.method, 1, 'k1', job.due_at, 'queued'
  FROM jobs AS job JOIN registered_models AS model ON model.id = job.registered_model_id,
    generate_series(1, :each)
  WHERE job.status = 'queued' AND job.kind = 'unlearn' RETURNING id, tenant_id
)
INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)
SELECT id, sha256(CAST(CAST(id AS text) AS bytea)), tenant_id FROM made
"""


def make_models(stage: Stage, models: int) -> None:
    """Copies of the model `reader`."""
    stage.world.run(_MODELS, models=models)
    stage.world.run(_READY)


def queue_jobs(stage: Stage, each: int, requests: int) -> None:
    """`each` jobs per model, `requests` requests in each."""
    stage.world.run(_JOBS, open=each == 1, each=each)
    stage.world.run(_REQUESTS, each=requests)


def wake_all(stage: Stage) -> int:
    """Put a wake-up for every queued job into the outbox; how many."""
    done: int = stage.world.run(
        "INSERT INTO outbox (tenant_id, topic, job_id)"
        " SELECT tenant_id, 'wake', id FROM jobs WHERE status = 'queued'"
    )
    return done
