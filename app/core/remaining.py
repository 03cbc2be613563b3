"""How much supervision a model has left: labels in its data that no version has forgotten."""

from sqlalchemy import text

# Of what was forgotten only that counts which is in the data: rows may be gone at the source since.
COUNT_REMAINING = text("""
UPDATE model_tasks AS task
SET remaining = target.supervised - (
  SELECT count(*) FROM forgotten_supervision AS ledger
  JOIN dataset_instances AS instance
    ON instance.dataset_id = :dataset_id AND instance.instance_hash = ledger.instance_hash
  WHERE ledger.registered_model_id = task.registered_model_id AND ledger.task = task.name
    AND ledger.version_id IS NOT NULL
)
FROM (
  SELECT entry ->> 'name' AS name, CAST(entry ->> 'supervised' AS bigint) AS supervised
  FROM datasets, jsonb_array_elements(datasets.targets) AS entry
  WHERE datasets.id = :dataset_id
) AS target
WHERE task.registered_model_id = :model_id AND task.name = target.name
""")
