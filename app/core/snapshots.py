"""Snapshots of the same data: a data set, what it refreshes, and what refreshes any of them, in SQL.

All of them are indexed under one hash key, so that an instance has the same hash in each.
"""

FAMILY = """
older AS (
  SELECT id, refreshes_id FROM datasets WHERE tenant_id = :tenant_id AND id = :dataset_id
  UNION
  SELECT d.id, d.refreshes_id FROM datasets d JOIN older ON d.id = older.refreshes_id
), family AS (
  SELECT id FROM older
  UNION
  SELECT d.id FROM datasets d JOIN family ON d.refreshes_id = family.id
)
"""
"""Terms of a WITH RECURSIVE: `family` has the ids of all snapshots of the data of `:dataset_id`."""

LEARNED_FROM = """
SELECT learner.dataset_id, now() AS left_at FROM registered_models AS learner WHERE learner.id = {model}
UNION ALL
SELECT former.dataset_id, former.left_at FROM former_datasets AS former
WHERE former.registered_model_id = {model}
"""
"""The snapshots that a model learned from; the newest has the latest `left_at`."""
