"""The record of truth: tables, named queries, migrations, the clock."""
