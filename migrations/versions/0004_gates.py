"""What a job tried before it was published, who decided on it, how far a version is from training.

Only columns with constant defaults, which rewrite no table; the count of steps is made up for the versions
that there are.

Revision: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = (
    ("jobs", "rungs", "jsonb NOT NULL DEFAULT '[]'"),
    ("jobs", "decision", "jsonb"),
    ("attempts", "rungs", "jsonb NOT NULL DEFAULT '[]'"),
    ("model_versions", "empirical_steps", "integer NOT NULL DEFAULT 0"),
    ("deletion_requests", "guarantee", "text NOT NULL DEFAULT 'empirical'"),
)
COUNT_STEPS = """
WITH RECURSIVE line AS (
  SELECT id, 0 AS steps FROM model_versions WHERE guarantee IS DISTINCT FROM 'empirical'
  UNION ALL
  SELECT version.id, line.steps + 1 FROM model_versions AS version
  JOIN line ON line.id = version.parent_id WHERE version.guarantee = 'empirical'
)
UPDATE model_versions AS version SET empirical_steps = line.steps
FROM line WHERE line.id = version.id AND line.steps > 0
"""


def upgrade() -> None:
    for table, column, kind in COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    op.execute(COUNT_STEPS)


def downgrade() -> None:
    for table, column, _ in COLUMNS:
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
