"""The version of schema.sql, and the statements that migrate the history of an earlier version."""

from __future__ import annotations

VERSION = 4  # version of schema.sql, stored as PRAGMA user_version
# Version -> the statements that migrate a file of the previous version to it. `add_functions` of value_index.py adds
# the functions `run_hashes` and `workflow_hashes`.
MIGRATIONS = {
    2: """
        ALTER TABLE runs ADD COLUMN started_at REAL;
        CREATE INDEX runs_by_workflow ON runs (identity, coalesce(workflow_id, workflow), number)
        WHERE status = 'success';
        DELETE FROM samples WHERE workflow_key LIKE '% each';
        CREATE TABLE removals (
            run TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (run, position)
        ) WITHOUT ROWID;
    """,
    3: """
        CREATE TABLE defaults (sha256 TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
        ALTER TABLE runs ADD COLUMN defaults TEXT REFERENCES defaults (sha256);
        ALTER TABLE runs ADD COLUMN imported TEXT;
        ALTER TABLE sweeps ADD COLUMN imported TEXT;
        CREATE TABLE ratings (
            run TEXT NOT NULL, position INTEGER NOT NULL, source TEXT NOT NULL, rating INTEGER,
            rejected INTEGER NOT NULL, note TEXT, rated_at REAL NOT NULL, PRIMARY KEY (run, position, source)
        ) WITHOUT ROWID;
        CREATE TABLE scores (
            run TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, value REAL, error TEXT,
            PRIMARY KEY (run, position, name)
        ) WITHOUT ROWID;
    """,
    4: """
        CREATE TABLE run_values (hash INTEGER NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (hash, run)) WITHOUT ROWID;
        INSERT OR IGNORE INTO run_values SELECT each.value, number
        FROM runs, json_each(run_hashes(params, graph, defaults)) AS each ORDER BY each.value, number;
        CREATE TABLE workflow_values (
            hash INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (hash, sha256)
        ) WITHOUT ROWID;
        INSERT OR IGNORE INTO workflow_values SELECT each.value, sha256
        FROM graphs, json_each(workflow_hashes('graphs', content)) AS each;
        INSERT OR IGNORE INTO workflow_values SELECT each.value, sha256
        FROM defaults, json_each(workflow_hashes('defaults', content)) AS each;
    """,
}
