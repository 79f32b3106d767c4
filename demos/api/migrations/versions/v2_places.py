"""Where it was seen."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    op.add_column("sightings", sa.Column("latitude", sa.Double, nullable=True))
    op.add_column("sightings", sa.Column("longitude", sa.Double, nullable=True))


def downgrade() -> None:
    op.drop_column("sightings", "longitude")
    op.drop_column("sightings", "latitude")
