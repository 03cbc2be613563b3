"""The newest rows of a list, read from indexes that end in (…, status, id).

What has another status or belongs to another model is never looked at, however much of it there is: each
status, and each model where models are asked for, is a walk of its own along an index, of a page's length.
The comparisons of pairs say the same as `status = … AND id < …`, and leave the planner no choice: of an
equation it believes that any index in the order of ids would find enough rows soon, which is true of most
statuses and ruinous for the one that no row has.
"""

import uuid

NO_BOUND = uuid.UUID(int=2**128 - 1)
"""For `:before`, where a list begins with its newest row."""


def newest(table: str, conditions: str = "", *, of_models: bool = False) -> str:
    """SQL: ids of `:tenant_id`, in no order, among them the newest `:limit` before `:before` of `:statuses`
    and, if so asked, of `:models`. `conditions` begin with AND and call the table `r`."""
    models = "unnest(CAST(:models AS uuid[])) AS model(id) CROSS JOIN " if of_models else ""
    of_model = " AND r.registered_model_id = model.id" if of_models else ""
    return f"""
SELECT newest.id FROM {models}unnest(CAST(:statuses AS text[])) AS own(status) CROSS JOIN LATERAL (
  SELECT r.id FROM {table} r
  WHERE r.tenant_id = :tenant_id{of_model} AND {walk("r.status", "r.id")}{conditions}
  ORDER BY r.status DESC, r.id DESC LIMIT :limit
) newest
"""  # noqa: S608


def walk(status: str, column: str) -> str:
    """SQL: the column `status` is `own.status`, and `column` is less than `:before`."""
    return f"({status}, {column}) < (own.status, CAST(:before AS uuid)) AND {status} >= own.status"
