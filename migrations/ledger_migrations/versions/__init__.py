"""Migrations, in order: `NNNN_pre_…` runs before the new code starts, `NNNN_post_…` when no old code is left."""
