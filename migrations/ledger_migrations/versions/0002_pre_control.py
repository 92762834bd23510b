"""Schedules, pauses, keys, notes, audit."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Straight to the driver: the file holds several statements, and its % and : are its own.
    script = Path(__file__).with_suffix(".sql").read_bytes()
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(script)


def downgrade() -> None:
    raise RuntimeError("what operators set up is never removed by a migration; drop the tables by hand if you mean it")
